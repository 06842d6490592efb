//! An update on its way in: its header is checked before a byte is taken, and no byte more than the model has is taken.

use shared::aggregate::{AggregateError, MAX_MAGNITUDE};
use shared::document::SignedDocument;
use shared::params::ParamError;
use shared::round::{IllegalTransition, RoundEvent, RoundState};
use shared::update::{UpdateHeader, UpdateReceipt};
use shared::{ParamVector, Timestamp};
use shared_crypto::{DigestWriter, SigningKey};

use super::{IntakeError, same};
use crate::Error;
use crate::durable::{self, Evidence};
use crate::round::Snapshot;
use crate::round::driver::Proposal;
use crate::task::SignedTask;

/// The event's name in refusals.
const UPDATE: &str = "update_accepted";
const BYTES_PER_PARAM: usize = 4;

/// The part of an update that has come.
pub(crate) struct Incoming {
    document: SignedDocument,
    header: UpdateHeader,
    params: usize,
    digest: DigestWriter,
    bytes: Vec<u8>,
}

impl Incoming {
    /// Checks an update's header against the task and the round as it stands.
    pub(crate) fn open(
        document: SignedDocument,
        header: UpdateHeader,
        task: &SignedTask,
        snapshot: &Snapshot,
        at: Timestamp,
    ) -> Result<Self, Error> {
        let plan = snapshot.state.plan();
        same("task", &task.digest, &header.task_digest)?;
        same("round", &plan.round_id, &header.round_id)?;
        same("checkpoint", &plan.checkpoint, &header.checkpoint)?;
        let params = task.task.model.param_count();
        let found = usize::try_from(header.param_count).unwrap_or(usize::MAX);
        if found != params {
            return Err(ParamError::WrongLength { expected: params, found }.into());
        }
        snapshot.state.apply(&accepted(&header, at))?;
        Ok(Self { document, header, params, digest: DigestWriter::new(), bytes: Vec::new() })
    }

    /// Whether the round would still take the update, which may be long on its way.
    pub(crate) fn still_fits(&self, snapshot: &Snapshot) -> Result<(), Error> {
        same("round", &snapshot.state.plan().round_id, &self.header.round_id)?;
        match *snapshot.state {
            RoundState::Collecting(_) => Ok(()),
            _ => Err(IllegalTransition::WrongPhase { phase: snapshot.state.phase(), event: UPDATE }.into()),
        }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, offset: u64, data: &[u8]) -> Result<(), IntakeError> {
        let expected = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        if offset != expected {
            return Err(IntakeError::OutOfOrder { expected, found: offset });
        }
        let limit = self.params.saturating_mul(BYTES_PER_PARAM);
        if self.bytes.len().saturating_add(data.len()) > limit {
            return Err(IntakeError::Oversize(limit));
        }
        self.digest.update(data);
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Checks the parameters and signs the receipt that becomes durable together with them.
    pub(crate) fn finish(self, signer: &SigningKey, at: Timestamp) -> Result<Proposal, Error> {
        let Self { document, header, params, digest, bytes } = self;
        let update = ParamVector::from_le_bytes(&bytes, params)?;
        let found = digest.finish();
        if found != header.payload {
            return Err(IntakeError::OtherPayload { signed: header.payload, found }.into());
        }
        in_exact_range(&update)?;
        let UpdateHeader { round_id, participant_id, payload, .. } = &header;
        let receipt = signer.sign(&UpdateReceipt {
            round_id: round_id.clone(),
            participant_id: participant_id.clone(),
            payload: *payload,
            accepted_at: at,
        })?;
        let writes = vec![
            (durable::payload(round_id, participant_id), bytes),
            (durable::evidence(round_id, Evidence::Update, participant_id), durable::encode(&document)?),
            (durable::evidence(round_id, Evidence::Receipt, participant_id), durable::encode(&receipt)?),
        ];
        Ok(Proposal { round_id: round_id.clone(), event: accepted(&header, at), writes })
    }
}

fn accepted(header: &UpdateHeader, at: Timestamp) -> RoundEvent {
    RoundEvent::UpdateAccepted { participant_id: header.participant_id.clone(), payload: header.payload, at }
}

/// Refuses here what would make the whole round's sum impossible later.
fn in_exact_range(update: &ParamVector) -> Result<(), AggregateError> {
    let outside = update.as_slice().iter().copied().enumerate().find(|(_, value)| value.abs() > MAX_MAGNITUDE);
    match outside {
        Some((index, value)) => Err(AggregateError::OutOfRange { index, value }),
        None => Ok(()),
    }
}
