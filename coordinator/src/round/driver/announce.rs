//! Announces a task's next round, or ends the task.

use shared::Timestamp;
use shared::audit::AuditKind;
use shared::round::RoundPlan;
use shared::store::Batch;

use super::Driver;
use crate::invite::invited;
use crate::round::log::Round;
use crate::task::{Outcome, RoundEntry, Start, TaskEntry};
use crate::{Error, durable};

impl Driver {
    /// Announces the next round.
    pub(super) fn announce(&mut self, start: Start, aborted: u32, batch: Batch, now: Timestamp) -> Result<(), Error> {
        let plan = self.next_plan(start, now);
        let round_id = plan.round_id.clone();
        let entry = TaskEntry { round: round_id.number, ..self.entry.clone() };
        let batch = batch
            .expect_absent(durable::round(&round_id))
            .put(durable::task(&round_id.task_id), durable::encode(&entry)?);
        let batch = self.task.uses_of(&plan, batch);
        let round = RoundEntry { plan, committed_before: self.round.committed(), aborted_before: aborted };
        let batch = batch.put(durable::round(&round_id), durable::encode(&round)?);
        self.context.store.apply(batch)?;
        self.context.journal.drain_or_defer();
        tracing::info!(%round_id, aborted_before = aborted, "round announced");
        self.round = Round::announced(round);
        self.entry = entry;
        self.retire();
        Ok(())
    }

    fn next_plan(&self, start: Start, now: Timestamp) -> RoundPlan {
        let number = self.entry.round.next();
        let is_present = |id: &_| self.context.presence.is_present(id, now);
        self.task.plan(number, start, invited(&self.task.task, number, is_present), now)
    }

    /// Ends the task.
    pub(super) fn end(&mut self, outcome: Outcome, kind: AuditKind, batch: Batch, now: Timestamp) -> Result<(), Error> {
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
}
