//! The exact sum of a collecting round's updates, folded as they are accepted, from their files.
//!
//! It is never stored: after a restart, or when an update stops counting, it is folded anew. An exact sum has the same
//! bits in whatever order it is folded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::aggregate::{FedAvg, InRange};
use shared::invariant::Invariant;
use shared::round::{AcceptedUpdate, RoundPlan};
use shared::task::Task;
use shared::{Digest, ParticipantId, RoundId};
use shared_ops::metrics::violation;

use super::FOLD_BLOCK;
use super::update::UpdateFile;
use crate::Error;
use crate::budget::Held;
use crate::context::Context;

type AcceptedUpdates = BTreeMap<ParticipantId, AcceptedUpdate>;

/// The sum of one task's present round.
#[derive(Debug, Default)]
pub(crate) struct RunningSum {
    folding: Mutex<Option<Folding>>,
    /// Whose updates were checked by this process as they came. All others are checked again when they are folded.
    fresh: Mutex<BTreeSet<ParticipantId>>,
}

/// A sum with what was folded into it.
#[derive(Debug)]
pub(super) struct Folding {
    round_id: RoundId,
    pub(super) sum: FedAvg,
    folded: BTreeMap<ParticipantId, Digest>,
    _memory: Held,
}

impl RunningSum {
    /// Says that this process took this participant's update of the present round in.
    pub(crate) fn note_fresh(&self, participant_id: ParticipantId) {
        lock(&self.fresh).insert(participant_id);
    }

    /// Folds whatever of `accepted` is not folded yet. Blocks; one at a time.
    pub(crate) fn catch_up(
        &self,
        context: &Context,
        task: &Task,
        plan: &RoundPlan,
        accepted: &AcceptedUpdates,
    ) -> Result<(), Error> {
        let mut folding = lock(&self.folding);
        self.fold_missing(&mut folding, context, task, plan, accepted).map(|_| ())
    }

    /// The sum of exactly `accepted`; nothing of it stays behind here.
    pub(super) fn complete(
        &self,
        context: &Context,
        task: &Task,
        plan: &RoundPlan,
        accepted: &AcceptedUpdates,
    ) -> Result<Folding, Error> {
        let mut folding = lock(&self.folding);
        self.fold_missing(&mut folding, context, task, plan, accepted)?;
        lock(&self.fresh).clear();
        if !folding.as_ref().is_some_and(|folding| folding.folded.keys().eq(accepted.keys())) {
            violation(Invariant::AggregateExact);
            let reason = "the sum is not that of the accepted updates".to_owned();
            return Err(Error::Damaged { tree: "updates", reason });
        }
        // What is taken out is put back by nobody: a round is summed once, or again from its files.
        Ok(folding.take().unwrap_or_else(|| Folding::new(context, task, plan)))
    }

    fn fold_missing(
        &self,
        folding: &mut Option<Folding>,
        context: &Context,
        task: &Task,
        plan: &RoundPlan,
        accepted: &AcceptedUpdates,
    ) -> Result<(), Error> {
        // An error must leave nothing half folded.
        let mut present = match folding.take().filter(|folding| folding.is_part_of(plan, accepted)) {
            Some(folding) => folding,
            None => Folding::new(context, task, plan),
        };
        for (participant_id, update) in accepted {
            if !present.folded.contains_key(participant_id) {
                let fresh = lock(&self.fresh).contains(participant_id);
                present.fold(context, task, (participant_id, update), fresh)?;
            }
        }
        *folding = Some(present);
        Ok(())
    }
}

impl Folding {
    fn new(context: &Context, task: &Task, plan: &RoundPlan) -> Self {
        let bytes = u64::try_from(task.update_len()).unwrap_or(u64::MAX).saturating_mul(8);
        Self {
            round_id: plan.round_id.clone(),
            sum: FedAvg::new(task.update_len()),
            folded: BTreeMap::new(),
            _memory: context.budget.hold(bytes),
        }
    }

    /// Whether everything that is folded still counts.
    fn is_part_of(&self, plan: &RoundPlan, accepted: &AcceptedUpdates) -> bool {
        let counts = |(id, payload): (&ParticipantId, &Digest)| {
            accepted.get(id).is_some_and(|update| update.payload == *payload)
        };
        self.round_id == plan.round_id && self.folded.iter().all(counts)
    }

    fn fold(
        &mut self,
        context: &Context,
        task: &Task,
        accepted: (&ParticipantId, &AcceptedUpdate),
        fresh: bool,
    ) -> Result<(), Error> {
        let file = UpdateFile::open(context, task, accepted)?;
        if !fresh {
            file.verify()?;
        }
        let mut addend = self.sum.begin(accepted.1.weight)?;
        let mut block = vec![0.0; FOLD_BLOCK];
        for start in (0..task.update_len()).step_by(FOLD_BLOCK) {
            let len = task.update_len().saturating_sub(start).min(FOLD_BLOCK);
            let block = block.get_mut(..len).unwrap_or_default();
            file.read(start, block)?;
            self.sum.add_block(&mut addend, InRange::new(block)?)?;
        }
        self.folded.insert(accepted.0.clone(), accepted.1.payload);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
