//! What participants send in a round: each document is checked against who sent it, the task and the round, before
//! anything is stored. A hostile sender can waste its own slot and nothing more.

mod equivocation;
mod rolled_back;
mod senders;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use equivocation::convict;
pub(crate) use rolled_back::check_ledger;
pub(crate) use senders::{Place, Senders};
pub(crate) use upload::{Open, Opened, UPLOAD_BYTES, Upload, open_upload, receipt};

use shared::document::{Document, SignedDocument};
use shared::privacy::LedgerShown;
use shared::round::RoundEvent;
use shared::update::{Evaluation, Join, UpdateHeader};
use shared::{Digest, Explain, ParticipantId, Timestamp};
use shared_wire::JoinRequest;

use crate::context::Context;
use crate::durable::{self, Evidence};
use crate::enrol::Participant;
use crate::error::Class;
use crate::round::Snapshot;
use crate::round::driver::Proposal;
use crate::task::SignedTask;
use crate::{Error, masking};

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
    /// The task does not offer the encoding.
    #[error("the task does not offer this encoding")]
    Encoding,
    /// The bytes are not as many as the encoding gives the model.
    #[error("{found} bytes where the model has {expected} in this encoding")]
    Length {
        /// What the model has.
        expected: u64,
        /// What the header says.
        found: u64,
    },
    /// The header says that more steps were taken than the task allows, or none.
    #[error("{found} local steps, not 1 to {allowed}")]
    LocalSteps {
        /// What the task's recipe says.
        allowed: u32,
        /// What the header says.
        found: u32,
    },
    /// The chunks' digests are not those that were signed for.
    #[error("the chunk digests make {found}, not {signed}")]
    OtherPayload {
        /// What the header says.
        signed: Digest,
        /// What came.
        found: Digest,
    },
    /// Something else than the next chunk.
    #[error("a piece at {found} where the whole chunk at {expected} was due")]
    OutOfOrder {
        /// Where the next chunk begins.
        expected: u64,
        /// Where the piece begins.
        found: u64,
    },
    /// The sender stopped before the end.
    #[error("the update ended at {found} of {expected} bytes")]
    Incomplete {
        /// How many bytes there are.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// The next chunk did not come in time.
    #[error("the update came too slowly")]
    TooSlow,
    /// The sender had its turn, and others wait for the place.
    #[error("the update took longer than a turn, and others wait")]
    TurnOver,
    /// The sender has another update on its way.
    #[error("another update of `{0}` is on its way")]
    Sending(ParticipantId),
    /// The sender's privacy ledger is not the newest that it has shown.
    #[error("this site's ledger ends at debit {shown}, and it has shown {}", seen(*.known, *.shown))]
    LedgerRolledBack {
        /// The last debit that was seen.
        known: u64,
        /// The last debit that is shown now.
        shown: u64,
    },
    /// The sender has begun too many different updates in this round.
    #[error("`{0}` began too many different updates in this round")]
    TooManyBegun(ParticipantId),
    /// The task's updates are masked, and the document has nothing for that.
    #[error("the task's updates are masked, and this brings nothing for it")]
    NotMasked,
    /// The task's updates are not masked, and the document is for one whose are.
    #[error("the task's updates are not masked, and this is for one whose are")]
    Masked,
    /// The document is signed with another key than the task's roster has.
    #[error("`{0}` signed with another key than the task's roster has of it")]
    NotInRoster(ParticipantId),
    /// Not one share of each dealer whose secret is to be revealed.
    #[error("shares of {found} dealers, not of just the {expected} whose secrets are needed")]
    Shares {
        /// How many dealers' secrets are needed.
        expected: usize,
        /// Of how many there is something.
        found: usize,
    },
}

impl Explain for IntakeError {
    fn code(&self) -> &'static str {
        match self {
            Self::OtherSender { .. } => "sender-mismatch",
            Self::Stale { .. } => "update-stale",
            Self::Encoding => "update-encoding",
            Self::Length { .. } => "update-length",
            Self::LocalSteps { .. } => "update-local-steps",
            Self::OtherPayload { .. } => "update-digest",
            Self::OutOfOrder { .. } => "update-out-of-order",
            Self::Incomplete { .. } => "update-incomplete",
            Self::TooSlow => "update-too-slow",
            Self::TurnOver => "update-turn-over",
            Self::Sending(_) => "update-sending",
            Self::TooManyBegun(_) => "update-too-many-begun",
            Self::NotMasked => "masking-missing",
            Self::Masked => "masking-unasked",
            Self::NotInRoster(_) => "masking-not-in-roster",
            Self::Shares { .. } => "masking-shares",
            Self::LedgerRolledBack { .. } => "ledger-rolled-back",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::OtherSender { .. } => "send documents under the certificate of the participant that signed them",
            Self::Stale { .. } => "look at the round's present view and begin from its task and checkpoint",
            Self::Encoding => "choose one of the encodings that the task offers",
            Self::Length { .. } => "encode the whole model that the task names, and nothing else",
            Self::LocalSteps { .. } => "train by the task's recipe",
            Self::OtherPayload { .. } => "sign the digest over the digests of the chunks that you send",
            Self::OutOfOrder { .. } => "send whole chunks in order, from where the coordinator said that it has them",
            Self::Incomplete { .. } | Self::TooSlow | Self::TurnOver => {
                "open the update again; it goes on where it stopped"
            }
            Self::Sending(_) => "wait until the other one has ended",
            Self::LedgerRolledBack { .. } => {
                "bring the site's newest ledger back or, where it is lost, record what is lost as spent: \
                 `ringfence-participant ledger adopt --help`"
            }
            Self::TooManyBegun(_) => "send the update that you sent first, or wait for the next round",
            Self::NotMasked | Self::Masked => "take part in the task as its `secure_aggregation` says",
            Self::NotInRoster(_) => "have the operator make the task anew, with the key that the site has now",
            Self::Shares { .. } => {
                "reveal the own mask of each who delivered and the round key of each who dropped, never both"
            }
        }
    }
}

impl IntakeError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::OtherSender { .. } => Class::Denied,
            Self::Stale { .. } | Self::LedgerRolledBack { .. } => Class::Conflict,
            Self::TooSlow | Self::TurnOver | Self::Incomplete { .. } => Class::Unavailable,
            Self::Sending(_) | Self::TooManyBegun(_) => Class::Busy,
            _ => Class::Invalid,
        }
    }
}

fn seen(known: u64, shown: u64) -> String {
    if known > shown { format!("debit {known} before") } else { "another one of this number".to_owned() }
}

/// A participant's document about itself.
pub(crate) trait OwnDocument: Document {
    fn participant_id(&self) -> &ParticipantId;
}

impl OwnDocument for Join {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

impl OwnDocument for UpdateHeader {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

impl OwnDocument for Evaluation {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

impl OwnDocument for LedgerShown {
    fn participant_id(&self) -> &ParticipantId {
        &self.participant_id
    }
}

/// Reads a document that `sender` signed about itself.
pub(crate) fn open<T: OwnDocument>(document: &SignedDocument, sender: &Participant) -> Result<T, Error> {
    let opened: T = sender.identity_key.open(document)?;
    if *opened.participant_id() != sender.participant_id {
        let (certificate, document) = (sender.participant_id.clone(), opened.participant_id().clone());
        return Err(IntakeError::OtherSender { certificate, document }.into());
    }
    Ok(opened)
}

/// Refuses what is about something else than what goes on now.
pub(crate) fn same<T: PartialEq + ToString>(what: &'static str, expected: &T, found: &T) -> Result<(), IntakeError> {
    if expected == found {
        return Ok(());
    }
    Err(IntakeError::Stale { what, expected: expected.to_string(), found: found.to_string() })
}

/// What joining asks of the round.
pub(crate) fn join(
    context: &Context,
    request: &JoinRequest,
    join: &Join,
    task: &SignedTask,
    snapshot: &Snapshot,
) -> Result<Proposal, Error> {
    same("task", &task.digest, &join.task_digest)?;
    same("round", &snapshot.state.plan().round_id, &join.round_id)?;
    let JoinRequest { join: document, dealing } = request;
    let mut writes = masking::check_join(context, &task.task, document, join, dealing)?;
    let event = RoundEvent::Joined { participant_id: join.participant_id.clone(), at: context.clock.now() };
    let key = durable::evidence(&join.round_id, Evidence::Join, &join.participant_id);
    writes.push((key, durable::encode(document)?));
    Ok(Proposal::new(join.round_id.clone(), event, writes))
}

/// What an evaluation asks of the round.
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
    Ok(Proposal::new(round_id, event, vec![(key, durable::encode(document)?)]))
}
