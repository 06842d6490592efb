//! The exact sum of a collecting round's updates, into which each is folded as it comes, chunk by chunk.
//!
//! It is never stored: after a restart it is folded anew from the files of the accepted updates. What was folded of an
//! update that does not count in the end is taken out again, from its file, and an exact sum has the same bits in
//! whatever order things went in and out.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::aggregate::{Addend, FedAvg, InRange};
use shared::invariant::Invariant;
use shared::round::{AcceptedUpdate, RoundPlan};
use shared::task::Task;
use shared::{Digest, ParticipantId, RoundId};
use shared_crypto::PayloadWriter;
use shared_ops::metrics::violation;

use super::update::UpdateFile;
use crate::Error;
use crate::budget::Held;
use crate::context::Context;

type AcceptedUpdates = BTreeMap<ParticipantId, AcceptedUpdate>;

/// The sum of one task's present round.
#[derive(Debug, Default)]
pub(crate) struct RunningSum(Mutex<Option<Folding>>);

/// The decoded values of one chunk: runs of consecutive parameters, in order. Reused from chunk to chunk.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// The first parameter of each run, and how many values it has.
    runs: Vec<(usize, usize)>,
    values: Vec<f32>,
}

/// One chunk of an update, checked against its digest and decoded.
pub(crate) struct Chunk<'a> {
    pub(crate) participant_id: &'a ParticipantId,
    /// The whole update's digest.
    pub(crate) payload: Digest,
    /// Where the chunk begins, how long it is, and its own digest.
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) digest: Digest,
    pub(crate) values: &'a Values,
}

/// A sum with what was folded into it.
#[derive(Debug)]
pub(super) struct Folding {
    round_id: RoundId,
    pub(super) sum: FedAvg,
    parts: BTreeMap<ParticipantId, Part>,
    _memory: Held,
}

/// How much of an update is in the sum.
#[derive(Debug)]
struct Part {
    update: AcceptedUpdate,
    addend: Addend,
    /// Everything before this byte is in the sum.
    folded: u64,
    /// What the bytes were that went in.
    seen: PayloadWriter,
}

impl Values {
    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.values.clear();
    }

    /// Appends a run whose first value is the parameter `first`.
    pub(crate) fn push(&mut self, first: usize, values: &[f32]) {
        self.values.extend_from_slice(values);
        match self.runs.last_mut() {
            Some((start, len)) if start.saturating_add(*len) == first => *len = len.saturating_add(values.len()),
            _ => self.runs.push((first, values.len())),
        }
    }

    fn runs(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let mut rest = self.values.as_slice();
        self.runs.iter().map_while(move |(first, len)| {
            let (run, after) = rest.split_at_checked(*len)?;
            rest = after;
            Some((*first, run))
        })
    }
}

impl RunningSum {
    /// Prepares for an update that is about to come and would count as `update` says. What cannot be folded as it comes
    /// is folded from its file in the end.
    pub(crate) fn begin(
        &self,
        context: &Context,
        task: &Task,
        plan: &RoundPlan,
        participant_id: &ParticipantId,
        update: AcceptedUpdate,
    ) -> Result<(), Error> {
        let mut folding = self.lock();
        let folding = present(&mut folding, context, task, plan);
        if !folding.parts.contains_key(participant_id) {
            let part = Part::new(&mut folding.sum, update)?;
            folding.parts.insert(participant_id.clone(), part);
        }
        Ok(())
    }

    /// Folds a chunk, if it is the next one of an update that was begun, and does nothing otherwise.
    pub(crate) fn fold(&self, round_id: &RoundId, chunk: &Chunk<'_>) -> Result<(), Error> {
        let mut guard = self.lock();
        let Some(folding) = guard.as_mut().filter(|folding| folding.round_id == *round_id) else { return Ok(()) };
        folding.fold(chunk).inspect_err(|_| *guard = None)
    }

    /// Folds from their files whatever of `accepted` was not folded as it came, one after the other, so that those that
    /// come meanwhile do not wait for long. Blocks.
    pub(crate) fn catch_up(
        &self,
        context: &Context,
        task: &Task,
        plan: &RoundPlan,
        accepted: &AcceptedUpdates,
    ) -> Result<(), Error> {
        accepted.iter().try_for_each(|accepted| {
            let mut guard = self.lock();
            let added = present(&mut guard, context, task, plan).add_missing(context, task, accepted);
            added.inspect_err(|_| *guard = None)
        })
    }

    /// The sum of exactly `accepted`; nothing of it stays behind here. Blocks.
    pub(super) fn complete(
        &self,
        context: &Context,
        task: &Task,
        plan: &RoundPlan,
        accepted: &AcceptedUpdates,
    ) -> Result<Folding, Error> {
        let folding = self.lock().take().filter(|folding| folding.round_id == plan.round_id);
        // What cannot be taken out again leaves nothing to build on.
        let folding = folding.and_then(|folding| folding.without_others(context, task, accepted));
        let mut folding = folding.unwrap_or_else(|| Folding::new(context, task, plan));
        accepted.iter().try_for_each(|accepted| folding.add_missing(context, task, accepted))?;
        folding.end(accepted)?;
        Ok(folding)
    }

    /// Forgets what was folded.
    pub(crate) fn clear(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Folding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folding of the round that goes on; one of an earlier round is forgotten.
fn present<'a>(folding: &'a mut Option<Folding>, context: &Context, task: &Task, plan: &RoundPlan) -> &'a mut Folding {
    if folding.as_ref().is_some_and(|folding| folding.round_id != plan.round_id) {
        folding.take();
    }
    folding.get_or_insert_with(|| Folding::new(context, task, plan))
}

impl Part {
    fn new(sum: &mut FedAvg, update: AcceptedUpdate) -> Result<Self, Error> {
        let addend = sum.begin(update.weight)?;
        Ok(Self { update, addend, folded: 0, seen: PayloadWriter::new() })
    }

    fn take(&mut self, digest: Digest, len: usize) {
        self.seen.push(digest);
        self.folded = self.folded.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }

    fn is_whole(&self) -> bool {
        self.folded == self.update.byte_count
    }
}

impl Folding {
    fn new(context: &Context, task: &Task, plan: &RoundPlan) -> Self {
        let bytes = u64::try_from(task.update_len()).unwrap_or(u64::MAX).saturating_mul(8);
        Self {
            round_id: plan.round_id.clone(),
            sum: FedAvg::new(task.update_len()),
            parts: BTreeMap::new(),
            _memory: context.budget.hold(bytes),
        }
    }

    /// Takes out whatever is not whole and accepted; `None` where that is impossible.
    fn without_others(mut self, context: &Context, task: &Task, accepted: &AcceptedUpdates) -> Option<Self> {
        let (counted, others): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.parts)
            .into_iter()
            .partition(|(id, part)| part.is_whole() && accepted.get(id) == Some(&part.update));
        self.parts = counted;
        for (participant_id, Part { update, addend, folded, seen }) in others {
            let mut inverse = self.sum.withdraw(&addend);
            if folded > 0 {
                let file = UpdateFile::open(context, task, (&participant_id, &update)).ok()?;
                let found = add_file(&mut self.sum, &mut inverse, &file, folded).ok()?;
                (found.finish() == seen.finish()).then_some(())?;
            }
            self.sum.end(&inverse).ok()?;
        }
        Some(self)
    }

    fn fold(&mut self, chunk: &Chunk<'_>) -> Result<(), Error> {
        let next = |part: &&mut Part| part.update.payload == chunk.payload && part.folded == chunk.offset;
        let Some(part) = self.parts.get_mut(chunk.participant_id).filter(next) else { return Ok(()) };
        for (first, run) in chunk.values.runs() {
            self.sum.add_run(&mut part.addend, first, InRange::new(run)?)?;
        }
        part.take(chunk.digest, chunk.len);
        Ok(())
    }

    /// Adds an accepted update from its file, if nothing of it is in the sum.
    fn add_missing(
        &mut self,
        context: &Context,
        task: &Task,
        (participant_id, update): (&ParticipantId, &AcceptedUpdate),
    ) -> Result<(), Error> {
        if self.parts.contains_key(participant_id) {
            return Ok(());
        }
        let file = UpdateFile::open(context, task, (participant_id, update))?;
        let mut part = Part::new(&mut self.sum, update.clone())?;
        part.seen = add_file(&mut self.sum, &mut part.addend, &file, update.byte_count)?;
        file.check(part.seen.clone().finish())?;
        part.folded = update.byte_count;
        self.parts.insert(participant_id.clone(), part);
        Ok(())
    }

    /// Ends the sum, which must be that of exactly `accepted`.
    fn end(&mut self, accepted: &AcceptedUpdates) -> Result<(), Error> {
        let parts = std::mem::take(&mut self.parts);
        let counted = parts.iter().map(|(id, part)| (id, &part.update));
        if !counted.eq(accepted) || !parts.values().all(Part::is_whole) {
            violation(Invariant::AggregateExact);
            let reason = "the sum is not that of the accepted updates".to_owned();
            return Err(Error::Damaged { tree: "updates", reason });
        }
        Ok(parts.values().try_for_each(|part| self.sum.end(&part.addend))?)
    }
}

/// Adds what an update's file holds before the byte `end`, and says which bytes those were.
fn add_file(sum: &mut FedAvg, addend: &mut Addend, file: &UpdateFile, end: u64) -> Result<PayloadWriter, Error> {
    let mut decoder = file.decoder();
    let mut seen = PayloadWriter::new();
    file.chunks(end, |digest, bytes| {
        seen.push(digest);
        decoder.push(bytes, |first, values| -> Result<(), Error> {
            Ok(sum.add_run(addend, first, InRange::new(values)?)?)
        })
    })?;
    Ok(seen)
}
