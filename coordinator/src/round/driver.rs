//! Drives a task's rounds: every event is in the store, with its data, before anybody acts on it or hears of it.
//!
//! It never waits: time comes from the clock it is given, and who calls it decides when. It is the only writer of its
//! task's rounds.

mod announce;
mod attend;
mod finish;
mod retire;

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::audit::AuditKind;
use shared::round::{AbortReason, RoundEvent, RoundState};
use shared::store::{Batch, Key};
use shared::{Digest, ParticipantId, RoundId, TaskId, Timestamp};

use super::log::{Round, replay};
use super::snapshot::Snapshot;
use crate::Error;
use crate::aggregate::{self, RunningSum};
use crate::context::Context;
use crate::durable::{self, Evidence, ParamsRole};
use crate::intake::{Place, same};
use crate::masking::{self, Closing};
use crate::task::{self, Outcome, SignedTask, TaskEntry};

/// An event that a participant calls for, with what must become durable together with it.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) round_id: RoundId,
    event: RoundEvent,
    writes: Vec<(Key, Vec<u8>)>,
    file: Option<SyncedFile>,
}

/// That an update's bytes are on disk, though perhaps not yet the name of their file.
#[derive(Debug)]
pub(crate) struct SyncedFile {
    pub(crate) trained_in: RoundId,
    pub(crate) participant_id: ParticipantId,
    pub(crate) payload: Digest,
    /// Keeps the sender from beginning another upload until this one is decided on.
    pub(crate) _place: Place,
}

impl Proposal {
    pub(crate) fn new(round_id: RoundId, event: RoundEvent, writes: Vec<(Key, Vec<u8>)>) -> Self {
        Self { round_id, event, writes, file: None }
    }

    /// The event is about an update whose file is synced.
    pub(crate) fn with_file(self, file: SyncedFile) -> Self {
        Self { file: Some(file), ..self }
    }
}

/// A task's rounds and the means to move them.
pub(crate) struct Driver {
    context: Arc<Context>,
    task: SignedTask,
    entry: TaskEntry,
    round: Round,
    sum: Arc<RunningSum>,
    /// Whether updates may have been accepted that are not in the sum.
    behind: bool,
    /// When presence was looked at last.
    attended: Timestamp,
}

impl Driver {
    /// Takes a task up where its events leave it.
    pub(crate) fn open(context: Arc<Context>, task_id: &TaskId) -> Result<Self, Error> {
        let entry = task::entry(&*context.store, task_id)?;
        let task = SignedTask::stored(entry.document.clone(), &context.operator)?;
        let round_id = RoundId { task_id: task_id.clone(), number: entry.round };
        let round = replay(&*context.store, &round_id)?;
        let driver =
            Self { context, task, entry, round, sum: Arc::default(), behind: true, attended: Timestamp::EPOCH };
        driver.context.budget.allow(aggregate::memory(&driver.task.task));
        driver.sweep();
        Ok(driver)
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn task(&self) -> &SignedTask {
        &self.task
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.entry.outcome.is_some()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: Arc::clone(&self.round.state),
            rounds_done: self.round.committed(),
            paused: self.entry.paused,
            shares_state: self.task.state_role() == ParamsRole::Shared,
            outcome: self.entry.outcome.clone(),
        }
    }

    /// Has updates folded into `sum`, which others know already.
    pub(crate) fn with_sum(mut self, sum: Arc<RunningSum>) -> Self {
        self.sum = sum;
        self
    }

    /// The sum into which updates are folded as they come.
    pub(crate) fn sum(&self) -> Arc<RunningSum> {
        Arc::clone(&self.sum)
    }

    /// Folds what was accepted before this driver took the task up, once; to be called on another thread than the
    /// driver's. Changes nothing that counts.
    pub(crate) fn folding(&mut self) -> Option<impl FnOnce() -> Result<(), Error> + Send + use<>> {
        let behind = std::mem::take(&mut self.behind) && aggregate::folds(&self.task.task);
        let (context, sum, task) = (Arc::clone(&self.context), self.sum(), self.task.clone());
        let state = Arc::clone(&self.round.state);
        behind.then_some(move || match &*state {
            RoundState::Collecting(state) => {
                aggregate::counted(|| sum.catch_up(&context, &task.task, &state.plan, &state.accepted))
            }
            _ => Ok(()),
        })
    }

    /// Offers events to the round, all that fit in one batch. When this returns `Ok`, each `Ok` in it is durable.
    pub(crate) fn offer(&mut self, proposals: Vec<Proposal>) -> Result<Vec<Result<(), Error>>, Error> {
        let mut round = self.round.clone();
        let mut batch = Batch::new();
        let mut answers = Vec::with_capacity(proposals.len());
        let mut accepted = Vec::new();
        for mut proposal in proposals {
            let writes = std::mem::take(&mut proposal.writes);
            let considered = self.consider(&mut round, &mut batch, &proposal, writes);
            if matches!(considered, Ok(true)) && proposal.file.is_some() {
                accepted.push(proposal);
            }
            answers.push(considered.map(|_| ()));
        }
        self.sync_names(&accepted)?;
        if !batch.writes.is_empty() {
            self.context.store.apply(batch)?;
        }
        self.round = round;
        Ok(answers)
    }

    /// Adds one event to `round` and `batch`, or leaves both as they are; whether it was new.
    fn consider(
        &self,
        round: &mut Round,
        batch: &mut Batch,
        proposal: &Proposal,
        writes: Vec<(Key, Vec<u8>)>,
    ) -> Result<bool, Error> {
        same("round", &self.round.entry.plan.round_id, &proposal.round_id)?;
        if self.counts_already(proposal)? {
            return Ok(false);
        }
        // What changes nothing was heard before: it is durable already.
        let new = round.add(&proposal.event, batch)?;
        if new {
            batch.writes.extend(writes.into_iter().map(|(key, value)| (key, Some(value))));
        }
        Ok(new)
    }

    /// Whether a late update was accepted in another round meanwhile. In this one the state itself knows.
    fn counts_already(&self, proposal: &Proposal) -> Result<bool, Error> {
        let Some(file) = &proposal.file else { return Ok(false) };
        let receipt = durable::evidence(&file.trained_in, Evidence::Receipt, &file.participant_id);
        Ok(file.trained_in != proposal.round_id && self.context.store.get(&receipt)?.is_some())
    }

    /// Makes the names of the accepted updates' files durable: one sync of a folder for all of them.
    fn sync_names(&self, accepted: &[Proposal]) -> Result<(), Error> {
        let files = || accepted.iter().filter_map(|proposal| proposal.file.as_ref());
        let folders: BTreeSet<&RoundId> = files().map(|file| &file.trained_in).collect();
        let synced = folders.into_iter().try_for_each(|round_id| self.context.blobs.sync_round(round_id));
        if synced.is_err() {
            // Nobody knows which names are on disk, and a second sync may claim success: begin anew.
            for file in files() {
                let _ = self.context.blobs.remove_update(&file.trained_in, &file.participant_id, file.payload);
            }
        }
        synced
    }

    /// Does whatever is due now, until nothing is.
    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        while self.step()? {}
        Ok(())
    }

    /// Does the next thing that is due; whether there was one.
    pub(crate) fn step(&mut self) -> Result<bool, Error> {
        if self.has_ended() {
            return Ok(false);
        }
        let now = self.context.clock.now();
        self.attend(now)?;
        let state = Arc::clone(&self.round.state);
        match &*state {
            RoundState::Collected(collected) => self.aggregate(collected, now)?,
            RoundState::Evaluated(evaluated) => self.sign_record(evaluated, now)?,
            RoundState::Committed(committed) => return self.after_commit(committed, now),
            RoundState::Aborted(aborted) => return self.after_abort(aborted, now),
            state => match state.due(now) {
                Some(event) => {
                    let closing = masking::close(&self.context, &self.task.task, state, event)?;
                    let Closing { event, words, file: _not_removed_before } = closing;
                    self.record(&event, words)?;
                }
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// Ends the task at the operator's word.
    pub(crate) fn cancel(&mut self) -> Result<(), Error> {
        self.check_running()?;
        let now = self.context.clock.now();
        let (mut round, mut batch) = (self.round.clone(), Batch::new());
        if !round.state.is_closed() {
            round.add(&RoundEvent::Aborted { reason: AbortReason::Operator, at: now }, &mut batch)?;
        }
        self.end(Outcome::Cancelled { at: now }, AuditKind::Task, batch, now)?;
        self.round = round;
        Ok(())
    }

    /// Lets no round begin after the present one, or lets rounds begin again.
    pub(crate) fn set_paused(&mut self, paused: bool) -> Result<(), Error> {
        self.check_running()?;
        if self.entry.paused == paused {
            return Ok(());
        }
        let (now, task_id) = (self.context.clock.now(), &self.task.task.task_id);
        let content = serde_json::json!({"event": if paused { "paused" } else { "resumed" }, "task_id": task_id});
        let entry = TaskEntry { paused, ..self.entry.clone() };
        let batch = Batch::new().put(durable::task(task_id), durable::encode(&entry)?);
        self.context.store.apply(self.journaled(batch, AuditKind::Task, now, &content)?)?;
        self.context.journal.drain_or_defer();
        self.entry = entry;
        Ok(())
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.has_ended() { Err(Error::TaskEnded(self.task.task.task_id.clone())) } else { Ok(()) }
    }

    /// Makes an event durable together with `batch`, then moves on to its state.
    fn record(&mut self, event: &RoundEvent, mut batch: Batch) -> Result<(), Error> {
        let mut round = self.round.clone();
        round.add(event, &mut batch)?;
        self.context.store.apply(batch)?;
        tracing::info!(
            round_id = %round.entry.plan.round_id,
            event = event.name(),
            phase = round.state.phase(),
            "round moved on"
        );
        self.round = round;
        Ok(())
    }

    fn journaled(
        &self,
        batch: Batch,
        kind: AuditKind,
        now: Timestamp,
        content: &impl serde::Serialize,
    ) -> Result<Batch, Error> {
        let (key, record) = self.context.journal.entry(kind, now, content)?;
        Ok(batch.put(key, record))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.sum.clear();
        self.context.budget.disallow(aggregate::memory(&self.task.task));
    }
}
