//! Drives a task's rounds: every event is in the store, with its data, before anybody acts on it or hears of it.
//!
//! It never waits: time comes from the clock it is given, and who calls it decides when.

use std::sync::Arc;

use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::release::RoundRecord;
use shared::round::{AbortReason, Aborted, Collected, Committed, Evaluated, RoundEvent, RoundState};
use shared::store::{Batch, Key, Store};
use shared::{Clock, Digest, Explain, RoundId, TaskId, Timestamp};
use shared_crypto::{SigningKey, digest, document_digest};

use super::log::{Round, replay};
use super::snapshot::Snapshot;
use crate::audit::Journal;
use crate::release::{SignedRelease, release, unmet};
use crate::task::{self, Outcome, RoundEntry, SignedTask, TaskEntry};
use crate::{Error, aggregate, durable};

/// What every driver works with.
pub(crate) struct Context {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Arc<Journal>,
    /// Checks tasks.
    pub(crate) operator: SigningKey,
    /// Signs round records and releases.
    pub(crate) signer: SigningKey,
    /// Rounds in a row that may end without a result.
    pub(crate) aborted_rounds: u32,
}

/// An event that a participant calls for, with what must become durable together with it.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) round_id: RoundId,
    pub(crate) event: RoundEvent,
    pub(crate) writes: Vec<(Key, Vec<u8>)>,
}

/// A task's rounds and the means to move them.
pub(crate) struct Driver {
    context: Arc<Context>,
    task: SignedTask,
    entry: TaskEntry,
    round: Round,
}

impl Driver {
    /// Takes a task up where its events leave it.
    pub(crate) fn open(context: Arc<Context>, task_id: &TaskId) -> Result<Self, Error> {
        let entry = task::entry(&*context.store, task_id)?;
        let task = SignedTask::stored(entry.document.clone(), &context.operator)?;
        let round_id = RoundId { task_id: task_id.clone(), number: entry.round };
        let round = replay(&*context.store, &round_id)?;
        Ok(Self { context, task, entry, round })
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
            outcome: self.entry.outcome.clone(),
        }
    }

    /// Offers events to the round, all that fit in one batch. When this returns `Ok`, each `Ok` in it is durable.
    pub(crate) fn offer(&mut self, proposals: Vec<Proposal>) -> Result<Vec<Result<(), Error>>, Error> {
        let mut round = self.round.clone();
        let mut batch = Batch::new();
        let mut answers = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            answers.push(self.consider(&mut round, &mut batch, proposal));
        }
        if !batch.writes.is_empty() {
            self.context.store.apply(batch)?;
        }
        self.round = round;
        Ok(answers)
    }

    /// Adds one event to `round` and `batch`, or leaves both as they are.
    fn consider(&self, round: &mut Round, batch: &mut Batch, proposal: Proposal) -> Result<(), Error> {
        if proposal.round_id != self.round.entry.plan.round_id {
            return Err(Error::UnknownRound(proposal.round_id));
        }
        let (next, addition) = round.after(&proposal.event, Batch::new())?;
        // What changes nothing was heard before: it is durable already.
        if next.state != round.state {
            batch.expectations.extend(addition.expectations);
            batch.writes.extend(addition.writes);
            batch.writes.extend(proposal.writes.into_iter().map(|(key, value)| (key, Some(value))));
            *round = next;
        }
        Ok(())
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
        let state = Arc::clone(&self.round.state);
        match &*state {
            RoundState::Collected(collected) => self.aggregate(collected, now)?,
            RoundState::Evaluated(evaluated) => self.sign_record(evaluated, now)?,
            RoundState::Committed(committed) => self.after_commit(committed, now)?,
            RoundState::Aborted(aborted) => self.after_abort(aborted, now)?,
            _ => match self.round.state.due(now) {
                Some(event) => self.record(&event, Batch::new())?,
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// Ends the task at the operator's word.
    pub(crate) fn cancel(&mut self) -> Result<(), Error> {
        if self.has_ended() {
            return Err(Error::TaskEnded(self.task.task.task_id.clone()));
        }
        let now = self.context.clock.now();
        let (round, batch) = match self.round.state.is_closed() {
            true => (self.round.clone(), Batch::new()),
            false => {
                let event = RoundEvent::Aborted { reason: AbortReason::Operator, at: now };
                self.round.after(&event, Batch::new())?
            }
        };
        self.end(Outcome::Cancelled { at: now }, AuditKind::Task, batch, now)?;
        self.round = round;
        Ok(())
    }

    /// Makes an event durable together with `batch`, then moves on to its state.
    fn record(&mut self, event: &RoundEvent, batch: Batch) -> Result<(), Error> {
        let (round, batch) = self.round.after(event, batch)?;
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

    fn aggregate(&mut self, round: &Collected, now: Timestamp) -> Result<(), Error> {
        let store = &*self.context.store;
        let candidate = match aggregate::candidate(store, &self.task.task, round) {
            Ok(candidate) => candidate.to_le_bytes(),
            Err(Error::Store(error)) => return Err(Error::Store(error)),
            Err(error) => {
                let reason = AbortReason::AggregateFailed { reason: format!("{} [{}]", error, error.code()) };
                return self.record(&RoundEvent::Aborted { reason, at: now }, Batch::new());
            }
        };
        let name = digest(&candidate);
        let batch = Batch::new().put(durable::params(name), candidate);
        self.record(&RoundEvent::Aggregated { candidate: name, at: now }, batch)
    }

    fn sign_record(&mut self, round: &Evaluated, now: Timestamp) -> Result<(), Error> {
        let record = self.context.signer.sign(&RoundRecord {
            round_id: round.plan.round_id.clone(),
            task_digest: round.plan.task_digest,
            checkpoint: round.plan.checkpoint,
            aggregation: self.task.task.aggregation,
            accepted: round.accepted.clone(),
            candidate: round.candidate,
            tally: round.tally,
            committed_at: now,
        })?;
        let name = document_digest(&record);
        let (round_id, candidate) = (&round.plan.round_id, round.candidate);
        let content = serde_json::json!({
            "event": "committed", "round_id": round_id, "record": name, "candidate": candidate,
            "accepted": round.accepted.len(),
        });
        let batch = Batch::new().put(durable::record(round_id), durable::encode(&record)?);
        let batch = self.journaled(batch, AuditKind::Round, now, &content)?;
        self.record(&RoundEvent::Committed { record: name, at: now }, batch)?;
        self.context.journal.drain_or_defer();
        metrics::counter!("ringfence_rounds_total", "result" => "committed").increment(1);
        Ok(())
    }

    fn after_commit(&mut self, round: &Committed, now: Timestamp) -> Result<(), Error> {
        if self.round.committed() < self.task.task.rounds {
            return self.announce(round.candidate, 0, Batch::new(), now);
        }
        let document: SignedDocument = durable::read(&*self.context.store, &durable::record(&round.plan.round_id))?
            .ok_or_else(|| Error::UnknownRound(round.plan.round_id.clone()))?;
        let record: RoundRecord = self.context.signer.public().open(&document)?;
        let reasons = unmet(&self.task.task.gates, &record.tally);
        if !reasons.is_empty() {
            return self.end(Outcome::Refused { reasons, at: now }, AuditKind::Release, Batch::new(), now);
        }
        let release = release(&self.task.task, &record, round.record, now);
        let signed = SignedRelease { release: self.context.signer.sign(&release)?, round_record: document };
        let batch = Batch::new()
            .put(durable::release(&release.release_id), durable::encode(&signed)?)
            .put(durable::latest_release(), durable::encode(&release.release_id)?);
        let content = serde_json::json!({
            "event": "released", "release_id": release.release_id, "release": document_digest(&signed.release),
            "params": release.params,
        });
        let batch = self.journaled(batch, AuditKind::Release, now, &content)?;
        let outcome = Outcome::Released { release_id: release.release_id, at: now };
        self.end(outcome, AuditKind::Task, batch, now)
    }

    fn after_abort(&mut self, round: &Aborted, now: Timestamp) -> Result<(), Error> {
        metrics::counter!("ringfence_rounds_total", "result" => "aborted").increment(1);
        let aborted = self.round.entry.aborted_before.saturating_add(1);
        let content = serde_json::json!({"event": "aborted", "round_id": round.plan.round_id, "reason": round.reason});
        let batch = self.journaled(Batch::new(), AuditKind::Round, now, &content)?;
        if aborted < self.context.aborted_rounds {
            return self.announce(round.plan.checkpoint, aborted, batch, now);
        }
        let reason = format!("{aborted} rounds in a row without a result; the last: {}", in_words(&round.reason));
        self.end(Outcome::Failed { reason, at: now }, AuditKind::Task, batch, now)
    }

    /// Announces the next round.
    fn announce(&mut self, checkpoint: Digest, aborted: u32, batch: Batch, now: Timestamp) -> Result<(), Error> {
        let number = self.entry.round.next();
        let plan = self.task.plan(number, checkpoint, now);
        let round_id = plan.round_id.clone();
        let round = RoundEntry { plan, committed_before: self.round.committed(), aborted_before: aborted };
        let entry = TaskEntry { round: number, ..self.entry.clone() };
        let batch = batch
            .expect_absent(durable::round(&round_id))
            .put(durable::round(&round_id), durable::encode(&round)?)
            .put(durable::task(&round_id.task_id), durable::encode(&entry)?);
        self.context.store.apply(batch)?;
        self.context.journal.drain_or_defer();
        tracing::info!(%round_id, aborted_before = aborted, "round announced");
        self.round = Round::announced(round);
        self.entry = entry;
        Ok(())
    }

    /// Ends the task.
    fn end(&mut self, outcome: Outcome, kind: AuditKind, batch: Batch, now: Timestamp) -> Result<(), Error> {
        let task_id = self.task.task.task_id.clone();
        let content = serde_json::json!({"event": "ended", "task_id": task_id, "outcome": outcome});
        let entry = TaskEntry { outcome: Some(outcome), ..self.entry.clone() };
        let batch = self.journaled(batch, kind, now, &content)?;
        self.context.store.apply(batch.put(durable::task(&task_id), durable::encode(&entry)?))?;
        self.context.journal.drain_or_defer();
        tracing::info!(%task_id, outcome = ?entry.outcome, "task ended");
        self.entry = entry;
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

fn in_words(reason: &AbortReason) -> String {
    match reason {
        AbortReason::NoQuorum { present, needed } => format!("{present} came where {needed} were needed"),
        AbortReason::AggregateFailed { reason } => reason.clone(),
        AbortReason::Operator => "the operator ended it".to_owned(),
    }
}
