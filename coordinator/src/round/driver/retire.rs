//! Removes the files of rounds that are too long ago, so that the disk does not fill. What cannot be removed now is
//! removed after the next round, or with all that its own round leaves behind; a round never waits for it.

use shared::document::SignedDocument;
use shared::masking::MaskedSum;
use shared::round::RoundState;
use shared::store::{Batch, Store};
use shared::update::UpdateReceipt;
use shared::{Digest, RoundId, RoundNumber};

use super::Driver;
use crate::Error;
use crate::durable::{self, Evidence, MaskingWord, ParamsRole};
use crate::masking;
use crate::round::log::{Round, replay};
use crate::task::TaskEntry;

impl Driver {
    /// Removes what the rounds before the one that was just announced leave behind.
    pub(super) fn retire(&mut self) {
        self.sweep();
        while let Some(round) = self.expendable() {
            if let Err(error) = self.remove(&round) {
                return tracing::warn!(%error, "the files of an old round could not be removed; they are tried again after the next round");
            }
        }
    }

    /// Removes updates that were begun for a round into which none can come any more, and never counted.
    pub(super) fn sweep(&self) {
        let behind = self.task.task.participation.late.max_staleness().saturating_add(1);
        let Some(number) = self.entry.round.0.checked_sub(behind).filter(|number| *number > 0) else { return };
        let round_id = self.round_id(RoundNumber(number));
        self.context.senders.forget(&round_id);
        if let Err(error) = self.remove_uncounted(&round_id) {
            tracing::warn!(%round_id, %error, "updates that do not count could not be removed; they go with the other files of their round");
        }
    }

    fn remove_uncounted(&self, round_id: &RoundId) -> Result<(), Error> {
        let (store, blobs) = (&*self.context.store, &self.context.blobs);
        for (participant_id, payload) in blobs.updates(round_id)? {
            let key = durable::evidence(round_id, Evidence::Receipt, &participant_id);
            let receipt: Option<shared::document::SignedDocument> = durable::read(store, &key)?;
            let receipt = receipt.map(|receipt| self.context.signer.public().open::<UpdateReceipt>(&receipt));
            if receipt.transpose()?.is_none_or(|receipt| receipt.payload != payload) {
                blobs.remove_update(round_id, &participant_id, payload)?;
            }
        }
        Ok(())
    }

    /// The oldest round that still has files, if enough committed rounds followed it.
    fn expendable(&self) -> Option<Round> {
        let oldest = self.round_id(self.entry.retired.next());
        let kept_from = self.round.committed().saturating_sub(self.context.transcript_rounds);
        let round = replay(&*self.context.store, &oldest).ok()?;
        let old = round.state.is_closed() && round.entry.committed_before < kept_from;
        (old && oldest.number < self.entry.round).then_some(round)
    }

    /// Whatever fails leaves the round the oldest that still has files.
    fn remove(&mut self, round: &Round) -> Result<(), Error> {
        let (plan, user) = (&round.entry.plan, &round.entry.plan.round_id);
        let mut named = vec![(plan.checkpoint, ParamsRole::Shared)];
        named.extend(plan.server_state.map(|state| (state, self.task.state_role())));
        if let RoundState::Committed(committed) = &*round.state {
            named.push((committed.candidate, ParamsRole::Shared));
            named.extend(committed.server_state.map(|state| (state, self.task.state_role())));
        }
        let of_masked = [self.unmasked(user)?, masking::asked_direction(&self.context, user)?];
        named.extend(of_masked.into_iter().flatten().map(|params| (params, ParamsRole::Shared)));
        let without = |batch: Batch, (params, role): &(Digest, ParamsRole)| {
            batch.delete(durable::params_use(*params, *role, user))
        };
        self.context.store.apply(named.iter().fold(Batch::new(), without))?;
        let store: &dyn Store = &*self.context.store;
        for (params, _) in named {
            self.context.blobs.remove_unused_params(params, || durable::params_used(store, params))?;
        }
        self.remove_folder(user.number)?;
        let entry = TaskEntry { retired: user.number, ..self.entry.clone() };
        self.context.store.apply(Batch::new().put(durable::task(&user.task_id), durable::encode(&entry)?))?;
        self.entry = entry;
        Ok(())
    }

    /// Digest of a masked round's sum.
    fn unmasked(&self, round_id: &RoundId) -> Result<Option<Digest>, Error> {
        let key = durable::masking_word(round_id, MaskingWord::Sum);
        let word: Option<SignedDocument> = durable::read(&*self.context.store, &key)?;
        let open = |word: &SignedDocument| self.context.signer.public().open::<MaskedSum>(word);
        Ok(word.as_ref().map(open).transpose()?.map(|word| word.sum))
    }

    /// Updates of a round may count in later ones, as far as the late policy goes.
    fn remove_folder(&self, retired: RoundNumber) -> Result<(), Error> {
        let behind = self.task.task.participation.late.max_staleness();
        match retired.0.checked_sub(behind).filter(|number| *number > 0) {
            Some(number) => self.context.blobs.remove_round(&self.round_id(RoundNumber(number))),
            None => Ok(()),
        }
    }

    fn round_id(&self, number: RoundNumber) -> RoundId {
        RoundId { task_id: self.task.task.task_id.clone(), number }
    }
}
