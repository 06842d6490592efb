//! A site's updates: charged to the privacy ledger, trained, encoded, signed and kept until the coordinator's receipt is
//! there.
//!
//! The order is what promises P1 and R1 rest on. First the debit is durable, then noise is drawn; the signed update is
//! durable before its first byte is sent, so that a restart in mid-round sends the very same bytes again. A crash in
//! between costs a second debit: what was charged is never given back, and since noise that was drawn may have been
//! seen, it is not used for another update either.
//!
//! What a site carries from round to round (what its encoding left out, what corrects its steps) changes in the one
//! batch that keeps the receipt: an update that never counts has changed nothing.

mod files;
mod outgoing;

use std::sync::{Arc, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::encoding::{self, Encoding, Residual};
use shared::store::{Batch, Key};
use shared::task::{NoiseShare, Task};
use shared::update::{UpdateHeader, UpdateReceipt};
use shared::{Digest, ParamVector, RoundId, RoundNumber, TaskId, canonical};
use shared_crypto::masking::RoundKey;
use shared_crypto::{ChunkDigests, PublicKey};
use shared_model::Model;
use shared_wire::{Bytes, UpdateOpen};

use crate::admit::{Refusal, admit_trust};
use crate::error::SiteError;
use crate::ledger::Purpose;
use crate::masking::{MaskedUpdate, MaskingError, Member, Plan};
use crate::records::Records;
use crate::site::Site;
use crate::train::LocalRound;
use crate::train::correction::{self, Closed};
use crate::train::distributed::noised;
use files::{Files, Part};
use outgoing::{Outgoing, encode};

const HEADERS: &str = "update-header";
const PREPARED: &str = "update-prepared";
const CARRIED: &str = "update-carried";
const RECEIPTS: &str = "update-receipt";
const DEALINGS: &str = "update-dealing";

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
    pub checkpoint: Arc<ParamVector>,
    /// The federation's control variate, where the task's server keeps one.
    pub control: Option<Arc<ParamVector>>,
    /// What the update is masked with, where the task's updates are.
    pub masking: Option<Masking>,
}

/// What an update is masked with.
pub struct Masking {
    /// The round's plan, checked.
    pub plan: Plan,
    /// The key that this site joined with.
    pub key: RoundKey,
    /// Checks what the coordinator signs.
    pub coordinator: PublicKey,
}

/// The updates of a site.
#[derive(Clone)]
pub struct Updates {
    site: Arc<Site>,
}

impl Updates {
    /// The updates kept in `site`'s store and folder.
    pub fn new(site: Arc<Site>) -> Self {
        Self { site }
    }

    /// The round of the task's update that is prepared and has no receipt yet.
    pub fn prepared(&self, task_id: &TaskId) -> Result<Option<RoundNumber>, SiteError> {
        let prepared: Option<Carried> = self.read(PREPARED, task_id.as_str())?;
        Ok(prepared.map(|prepared| prepared.round))
    }

    /// The prepared update of a round: what is signed of it, and the bytes to send. Refuses bytes that are not the ones
    /// that were signed.
    pub fn load(&self, round_id: &RoundId) -> Result<Option<(UpdateOpen, Bytes)>, SiteError> {
        if self.prepared(&round_id.task_id)? != Some(round_id.number) {
            return Ok(None);
        }
        let Some(signed) = self.read::<SignedDocument>(HEADERS, &round_id.to_string())? else { return Ok(None) };
        let header: UpdateHeader = self.site.identity.public().open(&signed)?;
        let damaged = || SiteError::DamagedUpdate(round_id.clone());
        let payload = self.files(&round_id.task_id).read_payload(round_id.number, header.byte_count)?;
        let payload = payload.ok_or_else(damaged)?;
        let digests = ChunkDigests::of(&payload);
        if digests.payload() != header.payload {
            return Err(damaged());
        }
        let dealing = self.site.store.get(&Key::new(DEALINGS, round_id.to_string()))?.unwrap_or_default();
        let chunk_digests = digests.as_slice().to_vec();
        let open = UpdateOpen { header: signed, chunk_digests, dealing: Bytes::from(dealing) };
        Ok(Some((open, Bytes::from(payload))))
    }

    /// Charges, trains, encodes, signs and keeps the update for a round; once it is prepared, nothing is done again.
    /// `going_on` is told how many steps are done, and ends the training by answering `false`: nothing is kept then, and
    /// the debit stays.
    pub fn prepare(
        &self,
        assignment: &Assignment,
        records: &Records,
        going_on: &mut dyn FnMut(u32) -> bool,
    ) -> Result<(), SiteError> {
        // Whoever comes while another thread trains waits for it, and finds what it prepared.
        let _turn = self.turn();
        let round_id = &assignment.round_id;
        if self.prepared(&round_id.task_id)? == Some(round_id.number) {
            return Ok(());
        }
        let (task, recipe) = (&assignment.task, &assignment.task.recipe);
        // Whatever can be refused is refused before the debit.
        let encoding = self.encoding(task)?;
        let carried = self.carried(task, encoding)?;
        let control = assignment.control.as_deref();
        let linear = correction::linear(recipe.local, carried.correction.as_ref(), control)?;
        let checkpoint = Model::new(&task.model, &assignment.checkpoint)?;
        let distributed = self.distributed(assignment)?;
        let cost = recipe.cost_per_round().ok_or(Refusal::NoNoise)?;
        self.site.charge(task, cost, Purpose::Training(round_id))?;
        let mut draws = self.site.draws(round_id)?;
        let (dataset, unit) = (&records.train, task.privacy.unit);
        let round = LocalRound { checkpoint: &checkpoint, dataset, recipe, unit, linear };
        if let Some((masking, share)) = distributed {
            let Some(values) = round.on_grid(&share, &mut draws.sampling, going_on)? else { return Ok(()) };
            let member = self.member(assignment, masking);
            let masked = member.mask_values(&masking.plan, &masking.key, noised(&values, &share)?)?;
            return self.keep(assignment, encoding, masked.into(), None);
        }
        let Some(change) = round.run(&mut draws.sampling, &mut draws.noise, going_on)? else { return Ok(()) };
        drop(checkpoint);
        let Closed { update, kept } = correction::close(recipe, change, carried.correction.as_ref(), control)?;
        let outgoing = match &assignment.masking {
            // It is clipped and put on a grid first: post-processing of what is private already.
            Some(masking) => {
                let member = self.member(assignment, masking);
                member.mask(&masking.plan, &masking.key, &update, &mut draws.rounding)?.into()
            }
            None => encode(encoding, update, carried.residual, &mut draws)?,
        };
        self.keep(assignment, encoding, outgoing, kept)
    }

    /// What the noise of a task whose sites share it needs; refused where this site does not agree to that, or where nothing
    /// masks the update.
    fn distributed<'a>(&self, assignment: &'a Assignment) -> Result<Option<(&'a Masking, NoiseShare)>, SiteError> {
        let Some(share) = assignment.task.noise_share()? else { return Ok(None) };
        admit_trust(&assignment.task, &self.site.config.privacy)?;
        let masking = assignment.masking.as_ref().ok_or(MaskingError::NotMasked)?;
        Ok(Some((masking, share)))
    }

    /// This site in a round whose updates are masked.
    fn member<'a>(&'a self, assignment: &'a Assignment, masking: &Masking) -> Member<'a> {
        let site = &self.site;
        Member {
            task: &assignment.task,
            task_digest: assignment.task_digest,
            participant_id: &site.participant_id,
            identity: &site.identity,
            agreement: &site.agreement,
            coordinator: masking.coordinator,
        }
    }

    /// The task's encoding that this site takes.
    fn encoding(&self, task: &Task) -> Result<Encoding, SiteError> {
        let supported = &self.site.config.federation.encodings;
        Ok(encoding::choose(&task.encodings, supported).ok_or(Refusal::NoEncoding)?)
    }

    /// What the site carries from the last round that counted.
    fn carried(&self, task: &Task, encoding: Encoding) -> Result<CarriedParams, SiteError> {
        let Some(carried) = self.read::<Carried>(CARRIED, task.task_id.as_str())? else {
            return Ok(CarriedParams::default());
        };
        let (files, round) = (self.files(&task.task_id), carried.round);
        let read = |part, len, digest: Option<Digest>| {
            digest.map(|digest| files.read_params(round, part, len, digest)).transpose()
        };
        let residual = carried.residual.filter(|_| encoding.needs_residual());
        Ok(CarriedParams {
            residual: read(Part::Residual, task.update_len(), residual)?,
            correction: read(Part::Correction, task.model.param_count(), carried.correction)?,
        })
    }

    /// Keeps an update, first its files, then the word that they count. One of an earlier round is past being delivered.
    fn keep(
        &self,
        assignment: &Assignment,
        encoding: Encoding,
        outgoing: Outgoing,
        correction: Option<ParamVector>,
    ) -> Result<(), SiteError> {
        let Outgoing { payload, residual, masked } = outgoing;
        let RoundId { task_id, number } = &assignment.round_id;
        let files = self.files(task_id);
        let digests = ChunkDigests::of(&payload);
        files.write_payload(*number, &payload)?;
        let header = UpdateHeader {
            round_id: assignment.round_id.clone(),
            participant_id: self.site.participant_id.clone(),
            task_digest: assignment.task_digest,
            checkpoint: assignment.checkpoint_digest,
            encoding,
            byte_count: digests.byte_count(),
            payload: digests.payload(),
            local_steps: assignment.task.recipe.local_steps,
            masked: masked.as_ref().map(|masked| masked.said.clone()),
        };
        drop(payload);
        let write = |part, params: Option<&ParamVector>| {
            params.map(|params| files.write_params(*number, part, params.as_slice())).transpose()
        };
        let prepared = Carried {
            round: *number,
            residual: write(Part::Residual, residual.as_ref().map(Residual::as_params))?,
            correction: write(Part::Correction, correction.as_ref())?,
        };
        let signed = self.site.identity.sign(&header)?;
        let mut batch = Batch::new()
            .put(Key::new(HEADERS, assignment.round_id.to_string()), canonical::encode(&signed)?)
            .put(Key::new(PREPARED, task_id.as_str()), canonical::encode(&prepared)?);
        if let Some(MaskedUpdate { dealing, secrets, .. }) = masked {
            let shown = Some(&secrets).filter(|_| assignment.task.assurance().asks());
            let (used_up, round) = self.site.masked.used_up(&assignment.round_id, shown)?;
            batch = batch.put(Key::new(DEALINGS, assignment.round_id.to_string()), dealing).put(used_up, round);
        }
        self.site.store.apply(batch)?;
        self.sweep(task_id)
    }

    /// Keeps the coordinator's signed word that the prepared update of `round_id` is durable there; refuses its word
    /// about anything else. What is left to carry is carried from now on, and the payload need not be kept any longer.
    pub fn keep_receipt(
        &self,
        round_id: &RoundId,
        signed: &SignedDocument,
        coordinator: &PublicKey,
    ) -> Result<UpdateReceipt, SiteError> {
        let receipt: UpdateReceipt = coordinator.open(signed)?;
        let other = || SiteError::OtherReceipt(round_id.clone());
        let header: SignedDocument = self.read(HEADERS, &round_id.to_string())?.ok_or_else(other)?;
        let header: UpdateHeader = self.site.identity.public().open(&header)?;
        // A late update counts in a later round than it was trained in.
        let is_ours = receipt.round_id.task_id == round_id.task_id
            && receipt.round_id.number >= round_id.number
            && (&receipt.participant_id, receipt.payload) == (&header.participant_id, header.payload);
        if !is_ours {
            return Err(other());
        }
        self.site.journal.write(AuditKind::Round, &receipt)?;
        let receipts = Key::new(RECEIPTS, receipt.round_id.to_string());
        let mut batch = Batch::new().put(receipts, canonical::encode(signed)?);
        let task_id = round_id.task_id.as_str();
        let prepared: Option<Carried> = self.read(PREPARED, task_id)?;
        if let Some(prepared) = prepared.filter(|prepared| prepared.round == round_id.number) {
            let carried = canonical::encode(&prepared)?;
            batch = batch.put(Key::new(CARRIED, task_id), carried).delete(Key::new(PREPARED, task_id));
        }
        self.site.store.apply(batch)?;
        self.sweep(&round_id.task_id)?;
        Ok(receipt)
    }

    /// Forgets the prepared update of a round that no round will count any more. What it cost stays spent.
    pub fn forget(&self, round_id: &RoundId) -> Result<(), SiteError> {
        if self.prepared(&round_id.task_id)? == Some(round_id.number) {
            let batch = Batch::new()
                .delete(Key::new(PREPARED, round_id.task_id.as_str()))
                .delete(Key::new(HEADERS, round_id.to_string()));
            self.site.store.apply(batch)?;
        }
        self.sweep(&round_id.task_id)
    }

    /// Ends a task: nothing of it is delivered or carried any more. Headers and receipts stay.
    pub fn end(&self, task_id: &TaskId) -> Result<(), SiteError> {
        let keys = [PREPARED, CARRIED].map(|tree| Key::new(tree, task_id.as_str()));
        self.site.store.apply(keys.into_iter().fold(Batch::new(), Batch::delete))?;
        self.sweep(task_id)
    }

    /// The signed header of the update that this site prepared in a round.
    pub fn header(&self, round_id: &RoundId) -> Result<Option<SignedDocument>, SiteError> {
        self.read(HEADERS, &round_id.to_string())
    }

    /// The masked words of the update that this site delivered in a round, as long as it may be asked what they hide.
    pub fn masked_payload(&self, round_id: &RoundId) -> Result<Vec<u8>, SiteError> {
        let damaged = || SiteError::DamagedUpdate(round_id.clone());
        let signed = self.header(round_id)?.ok_or_else(damaged)?;
        let header: UpdateHeader = self.site.identity.public().open(&signed)?;
        let payload = self.files(&round_id.task_id).read_payload(round_id.number, header.byte_count)?;
        payload.filter(|payload| ChunkDigests::of(payload).payload() == header.payload).ok_or_else(damaged)
    }

    /// The receipt for the update that counts in a round, once there is one. It was verified when it was kept.
    pub fn receipt(&self, round_id: &RoundId) -> Result<Option<UpdateReceipt>, SiteError> {
        let Some(signed) = self.read::<SignedDocument>(RECEIPTS, &round_id.to_string())? else { return Ok(None) };
        Ok(Some(canonical::decode(signed.body.as_bytes())?))
    }

    /// Removes the files that neither the prepared update nor what is carried needs.
    fn sweep(&self, task_id: &TaskId) -> Result<(), SiteError> {
        const ALL: [Part; 3] = [Part::Payload, Part::Residual, Part::Correction];
        let prepared = self.prepared(task_id)?.map(|round| (round, ALL.as_slice()));
        let carried: Option<Carried> = self.read(CARRIED, task_id.as_str())?;
        let carried = carried.map(|carried| -> Result<_, SiteError> {
            // A site that may be asked what its masked update is looks it up there.
            let round_id = RoundId { task_id: task_id.clone(), number: carried.round };
            let is_asked = self.site.masked.has_masks(&round_id)?;
            Ok((carried.round, if is_asked { ALL.as_slice() } else { [Part::Residual, Part::Correction].as_slice() }))
        });
        let carried = carried.transpose()?;
        self.files(task_id).sweep(&prepared.into_iter().chain(carried).collect::<Vec<_>>());
        Ok(())
    }

    fn read<T: Serialize + DeserializeOwned>(&self, tree: &'static str, key: &str) -> Result<Option<T>, SiteError> {
        let bytes = self.site.store.get(&Key::new(tree, key))?;
        Ok(bytes.map(|bytes| canonical::decode(&bytes)).transpose()?)
    }

    fn files(&self, task_id: &TaskId) -> Files {
        Files::new(self.site.folder(), task_id)
    }

    // A panic while training leaves nothing half-changed: what counts is written in one batch at the end.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.site.training.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is carried from a round to the next ones, by the digests of the files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Carried {
    /// The round whose update it follows from.
    round: RoundNumber,
    /// What the encoding left out.
    residual: Option<Digest>,
    /// What corrects the site's steps.
    correction: Option<Digest>,
}

/// What a site carries, read.
#[derive(Default)]
struct CarriedParams {
    residual: Option<ParamVector>,
    correction: Option<ParamVector>,
}

#[cfg(test)]
mod tests;
