//! A site's updates: charged to the privacy ledger, trained, signed and kept until the coordinator's receipt is there.
//!
//! The order is what promises P1 and R1 rest on. First the debit is durable, then noise is drawn; the signed update is
//! durable before it is sent, so that a restart in mid-round sends the very same bytes again. A crash in between costs a
//! second debit: what was charged is never given back.

use std::sync::Arc;

use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::store::{Batch, Key};
use shared::task::Task;
use shared::update::{UpdateHeader, UpdateReceipt};
use shared::{Digest, ParamVector, RoundId, canonical};
use shared_crypto::{PublicKey, digest};
use shared_model::Model;

use crate::admit::Refusal;
use crate::error::SiteError;
use crate::ledger::Purpose;
use crate::records::Records;
use crate::site::Site;
use crate::train::train_round;

const HEADERS: &str = "update-header";
const PAYLOADS: &str = "update-payload";
const RECEIPTS: &str = "update-receipt";
/// Undelivered updates that are forgotten at once; a task has one at a time.
const MAX_PAST: usize = 16;

/// What a round asks of a site.
pub struct Assignment {
    /// Which round.
    pub round_id: RoundId,
    /// The task.
    pub task: Arc<Task>,
    /// Digest of the signed task.
    pub task_digest: Digest,
    /// Digest of the checkpoint.
    pub checkpoint_digest: Digest,
    /// The parameters to start from.
    pub checkpoint: ParamVector,
}

/// A signed update, ready to be sent as often as needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The signed header.
    pub header: SignedDocument,
    /// The parameters' change, little-endian f32.
    pub payload: Vec<u8>,
}

/// The updates of a site.
#[derive(Clone)]
pub struct Updates {
    site: Arc<Site>,
}

impl Updates {
    /// The updates kept in `site`'s store.
    pub fn new(site: Arc<Site>) -> Self {
        Self { site }
    }

    /// The update that was prepared for a round and has no receipt yet.
    pub fn load(&self, round_id: &RoundId) -> Result<Option<Prepared>, SiteError> {
        let Some(payload) = self.site.store.get(&key(PAYLOADS, round_id))? else { return Ok(None) };
        let Some(header) = self.site.store.get(&key(HEADERS, round_id))? else { return Ok(None) };
        Ok(Some(Prepared { header: canonical::decode(&header)?, payload }))
    }

    /// Charges, trains, signs and keeps the update for a round. Asked again, it answers the very same bytes.
    pub fn prepare(&self, assignment: &Assignment, records: &Records) -> Result<Prepared, SiteError> {
        let round_id = &assignment.round_id;
        if let Some(prepared) = self.load(round_id)? {
            return Ok(prepared);
        }
        let recipe = &assignment.task.recipe;
        // Whatever can be refused is refused before the debit.
        let checkpoint = Model::new(&assignment.task.model, &assignment.checkpoint)?;
        let cost = recipe.cost_per_round().ok_or(Refusal::NoNoise)?;
        self.site.charge(&assignment.task, cost, Purpose::Training(round_id))?;
        let (mut sampling, mut noise) = self.site.draws(round_id)?;
        let change = train_round(&checkpoint, &records.train, recipe, &mut sampling, &mut noise)?;
        let prepared = self.sign(assignment, &change)?;
        self.keep(round_id, &prepared)?;
        Ok(prepared)
    }

    /// Keeps an update, unless there is one for the round. Those of the task's earlier rounds are past being delivered.
    fn keep(&self, round_id: &RoundId, prepared: &Prepared) -> Result<(), SiteError> {
        let task = format!("{}/", round_id.task_id);
        let past = self.site.store.scan(PAYLOADS, task.as_bytes(), MAX_PAST)?;
        let forget = |batch: Batch, (key, _)| batch.delete(Key::new(PAYLOADS, key));
        let batch = past
            .into_iter()
            .fold(Batch::new(), forget)
            .expect_absent(key(HEADERS, round_id))
            .put(key(HEADERS, round_id), canonical::encode(&prepared.header)?)
            .put(key(PAYLOADS, round_id), prepared.payload.clone());
        Ok(self.site.store.apply(batch)?)
    }

    fn sign(&self, assignment: &Assignment, change: &ParamVector) -> Result<Prepared, SiteError> {
        let payload = change.to_le_bytes();
        let header = UpdateHeader {
            round_id: assignment.round_id.clone(),
            participant_id: self.site.participant_id.clone(),
            task_digest: assignment.task_digest,
            checkpoint: assignment.checkpoint_digest,
            param_count: u64::try_from(change.len()).unwrap_or(u64::MAX),
            payload: digest(&payload),
        };
        Ok(Prepared { header: self.site.identity.sign(&header)?, payload })
    }

    /// Keeps the coordinator's signed word that `prepared` is durable there; refuses its word about anything else. The
    /// parameters need not be kept any longer.
    pub fn keep_receipt(
        &self,
        prepared: &Prepared,
        signed: &SignedDocument,
        coordinator: &PublicKey,
    ) -> Result<(), SiteError> {
        let header: UpdateHeader = self.site.identity.public().open(&prepared.header)?;
        let receipt: UpdateReceipt = coordinator.open(signed)?;
        let acknowledged = (&receipt.round_id, &receipt.participant_id, receipt.payload);
        if acknowledged != (&header.round_id, &header.participant_id, header.payload) {
            return Err(SiteError::OtherReceipt(header.round_id));
        }
        self.site.journal.write(AuditKind::Round, &receipt)?;
        let (kept, round_id) = (canonical::encode(signed)?, &receipt.round_id);
        Ok(self.site.store.apply(Batch::new().put(key(RECEIPTS, round_id), kept).delete(key(PAYLOADS, round_id)))?)
    }

    /// The receipt for a round's update, once there is one. It was verified when it was kept.
    pub fn receipt(&self, round_id: &RoundId) -> Result<Option<UpdateReceipt>, SiteError> {
        let Some(bytes) = self.site.store.get(&key(RECEIPTS, round_id))? else { return Ok(None) };
        let signed: SignedDocument = canonical::decode(&bytes)?;
        Ok(Some(canonical::decode(signed.body.as_bytes())?))
    }
}

fn key(tree: &'static str, round_id: &RoundId) -> Key {
    Key::new(tree, round_id.to_string())
}

#[cfg(test)]
mod tests;
