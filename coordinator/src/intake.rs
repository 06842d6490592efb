//! What participants send in a round: each document is checked against who sent it, the task and the round, before
//! anything is stored. A hostile sender can waste its own slot and nothing more.

mod payload;
#[cfg(test)]
mod tests;

pub(crate) use payload::Incoming;

use shared::document::{Document, SignedDocument};
use shared::round::RoundEvent;
use shared::store::Store;
use shared::update::{Evaluation, Join, UpdateHeader};
use shared::{Digest, Explain, ParticipantId, Timestamp};

use crate::durable::{self, Evidence};
use crate::enrol::Participant;
use crate::error::Class;
use crate::round::Snapshot;
use crate::round::driver::Proposal;
use crate::task::SignedTask;
use crate::{Error, round};

/// Why something that a participant sent is refused.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The document names another participant than the certificate.
    #[error("the certificate is of `{certificate}`, the document of `{document}`")]
    OtherSender {
        /// Whose certificate it is.
        certificate: ParticipantId,
        /// Whom the document names.
        document: ParticipantId,
    },
    /// The document is about something older or other than what goes on now.
    #[error("the {what} is `{found}`, and now it is `{expected}`")]
    Stale {
        /// What differs.
        what: &'static str,
        /// What goes on now.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// More bytes than the header says.
    #[error("more than the {0} bytes that the model has")]
    Oversize(usize),
    /// The parts do not follow one another.
    #[error("a part at {found} where {expected} was due")]
    OutOfOrder {
        /// Where the next part had to begin.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// The parameters are not those that were signed.
    #[error("the parameters' digest is {found}, not {signed}")]
    OtherPayload {
        /// What the header says.
        signed: Digest,
        /// What came.
        found: Digest,
    },
    /// An update does not begin with one header, or has a second one.
    #[error("an update is one header and then parameters")]
    Header,
    /// The sender was silent for too long.
    #[error("the update came too slowly")]
    TooSlow,
}

impl Explain for IntakeError {
    fn code(&self) -> &'static str {
        match self {
            Self::OtherSender { .. } => "sender-mismatch",
            Self::Stale { .. } => "update-stale",
            Self::Oversize(_) => "update-oversize",
            Self::OutOfOrder { .. } => "update-out-of-order",
            Self::OtherPayload { .. } => "update-digest",
            Self::Header => "update-header",
            Self::TooSlow => "update-too-slow",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::OtherSender { .. } => "send documents under the certificate of the participant that signed them",
            Self::Stale { .. } => "look at the round's present view and begin from its task and checkpoint",
            Self::Oversize(_) => "send four bytes for each parameter of the task's model",
            Self::OutOfOrder { .. } => "send the parts in order and without gaps",
            Self::OtherPayload { .. } => "send the bytes that the header was signed for",
            Self::Header => "send the signed header first, and only once",
            Self::TooSlow => "send the update again; it is safe to repeat",
        }
    }
}

impl IntakeError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::OtherSender { .. } => Class::Denied,
            Self::Stale { .. } => Class::Conflict,
            Self::TooSlow => Class::Unavailable,
            _ => Class::Invalid,
        }
    }
}

/// A participant's document about a round.
pub(crate) trait RoundDocument: Document {
    fn participant_id(&self) -> &ParticipantId;
}

impl RoundDocument for Join {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

impl RoundDocument for UpdateHeader {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

impl RoundDocument for Evaluation {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

/// Reads a document that `sender` signed about itself.
pub(crate) fn open<T: RoundDocument>(document: &SignedDocument, sender: &Participant) -> Result<T, Error> {
    let opened: T = sender.identity_key.open(document)?;
    if *opened.participant_id() != sender.participant_id {
        let (certificate, document) = (sender.participant_id.clone(), opened.participant_id().clone());
        return Err(IntakeError::OtherSender { certificate, document }.into());
    }
    Ok(opened)
}

fn same<T: PartialEq + ToString>(what: &'static str, expected: &T, found: &T) -> Result<(), IntakeError> {
    if expected == found {
        return Ok(());
    }
    Err(IntakeError::Stale { what, expected: expected.to_string(), found: found.to_string() })
}

/// What joining makes of the round.
pub(crate) fn join(
    document: &SignedDocument,
    join: &Join,
    task: &SignedTask,
    snapshot: &Snapshot,
    at: Timestamp,
) -> Result<Proposal, Error> {
    same("task", &task.digest, &join.task_digest)?;
    same("round", &snapshot.state.plan().round_id, &join.round_id)?;
    let event = RoundEvent::Joined { participant_id: join.participant_id.clone(), at };
    snapshot.state.apply(&event)?;
    let key = durable::evidence(&join.round_id, Evidence::Join, &join.participant_id);
    Ok(Proposal { round_id: join.round_id.clone(), event, writes: vec![(key, durable::encode(document)?)] })
}

/// What an evaluation makes of the round.
pub(crate) fn evaluation(
    document: &SignedDocument,
    evaluation: Evaluation,
    snapshot: &Snapshot,
    at: Timestamp,
) -> Result<Proposal, Error> {
    let round_id = evaluation.round_id.clone();
    same("round", &snapshot.state.plan().round_id, &round_id)?;
    let key = durable::evidence(&round_id, Evidence::Evaluation, &evaluation.participant_id);
    let event = RoundEvent::EvaluationAccepted { evaluation, at };
    snapshot.state.apply(&event)?;
    Ok(Proposal { round_id, event, writes: vec![(key, durable::encode(document)?)] })
}

/// The receipt for an update that was accepted before, in this round or an earlier one.
///
/// While the round collects, only what the round's state shows is durable; the store may be ahead of the disk.
pub(crate) fn known(
    store: &dyn Store,
    header: &UpdateHeader,
    snapshot: &Snapshot,
) -> Result<Option<SignedDocument>, Error> {
    let UpdateHeader { round_id, participant_id, payload, .. } = header;
    let present = snapshot.state.plan().round_id == *round_id;
    let accepted = round::accepted(&snapshot.state).and_then(|accepted| accepted.get(participant_id));
    if present && accepted.is_none() && !snapshot.state.is_closed() {
        return Ok(None);
    }
    let receipt = durable::evidence(round_id, Evidence::Receipt, participant_id);
    let Some(document) = durable::read::<SignedDocument>(store, &receipt)? else { return Ok(None) };
    let accepted: shared::update::UpdateReceipt = shared::canonical::decode(document.body.as_bytes())?;
    if accepted.payload == *payload {
        return Ok(Some(document));
    }
    let (participant_id, first, second) = (participant_id.clone(), accepted.payload, *payload);
    Err(shared::round::IllegalTransition::Equivocation { participant_id, first, second }.into())
}
