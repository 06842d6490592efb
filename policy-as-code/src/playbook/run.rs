//! Where a run of a playbook stands: a pure state machine, persisted as events and rebuilt by replay.
//!
//! Per step: `Planned → Reserved → Intended → UndoCaptured → Applied → Verified | Failed → RolledBack`, with a wait for
//! approval between the first two when the policy set says `assisted`. Nothing here acts or looks at a clock:
//! [`RunState::todo`] says what is to be done next at a given instant, which makes going on, resuming after a crash and
//! lapsing one and the same thing.

mod event;
mod phase;

use serde::{Deserialize, Serialize};
use shared::Timestamp;
use shared::detection::Tier;

pub use event::{IllegalTransition, RunEvent, RunPlan, Subject};
pub use phase::{Cause, Outcome, RunStatus, StepPhase, StepState, StopReason, Todo};

use super::ast::{Step, StepId};
use super::executor::Responder;
use crate::containment::Verdict;

/// How many people may approve one step; `schema/domain.toml` bounds `approvals` by the same number.
pub const MAX_APPROVALS: usize = 16;

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// What was fixed at its start.
    pub plan: RunPlan,
    /// Where it stands.
    pub status: RunStatus,
    /// The steps it came to, in order.
    pub steps: Vec<StepState>,
    /// How many events it rests on.
    pub events: u32,
}

impl RunState {
    /// A run that has just started.
    pub fn start(plan: RunPlan) -> Self {
        let first = plan.playbook.first.clone();
        let mut state = Self { plan, status: RunStatus::Running, steps: Vec::new(), events: 1 };
        state.enter(&first);
        state
    }

    /// The run that these events describe.
    pub fn replay(events: impl IntoIterator<Item = RunEvent>) -> Result<Self, IllegalTransition> {
        let mut events = events.into_iter();
        let Some(RunEvent::Started { plan }) = events.next() else {
            return Err(IllegalTransition { what: "an event before the start" });
        };
        events.try_fold(Self::start(*plan), |state, event| state.apply(&event))
    }

    /// The state after `event`.
    pub fn apply(mut self, event: &RunEvent) -> Result<Self, IllegalTransition> {
        match event {
            RunEvent::Started { .. } => return Err(IllegalTransition { what: "a second start" }),
            RunEvent::Decided { step, verdict, at, .. } => self.decided(*step, verdict, *at)?,
            RunEvent::Approved { step, responder, at } => self.approved(*step, responder, *at)?,
            RunEvent::Unapproved { step, .. } => self.unapproved(*step)?,
            RunEvent::Failed { step, reason, .. } => self.failed(*step, reason)?,
            RunEvent::RollbackRequested { by, .. } => self.rollback_requested(by)?,
            RunEvent::RolledBack { step, cause, .. } => self.rolled_back(*step, cause)?,
            RunEvent::Verified { step, at, .. } => self.verified(*step, *at)?,
            RunEvent::Intended { step, .. } => self.advance(*step, "an intent", |phase| match phase {
                StepPhase::Reserved { lease } => Some(StepPhase::Intended { lease }),
                _ => None,
            })?,
            RunEvent::UndoCaptured { step, undo, .. } => {
                self.advance(*step, "a captured undo", |phase| match phase {
                    StepPhase::Intended { lease } => Some(StepPhase::UndoCaptured { lease, undo: undo.clone() }),
                    _ => None,
                })?
            }
            RunEvent::Applied { step, .. } => self.advance(*step, "an effect", |phase| match phase {
                StepPhase::UndoCaptured { lease, undo } => Some(StepPhase::Applied { lease, undo }),
                _ => None,
            })?,
        }
        self.events = self.events.saturating_add(1);
        Ok(self)
    }

    /// What is to be done at `now`. Undoing comes first, and the latest step is undone first.
    pub fn todo(&self, now: Timestamp) -> Todo {
        if let Some(undo) = self.due_undo(now) {
            return undo;
        }
        match (&self.status, self.steps.last().map(|step| &step.phase)) {
            (RunStatus::Running, Some(phase)) => phase.todo(now),
            _ => Todo::Nothing,
        }
    }

    fn due_undo(&self, now: Timestamp) -> Option<Todo> {
        let last = self.steps.iter().rfind(|step| step.phase.hold().is_some())?;
        let lapsed = self.steps.iter().any(|step| step.phase.hold().is_some_and(|(lease, _)| lease.expires_at <= now));
        let cause = match (&self.status, &last.phase) {
            (RunStatus::RollingBack { cause }, _) => cause.clone(),
            (_, StepPhase::Failed { .. }) => Cause::StepFailed { step: last.number },
            _ if lapsed => Cause::Lapsed,
            _ => return None,
        };
        Some(Todo::Undo { step: last.number, cause })
    }

    /// The step with that number.
    pub fn step(&self, number: u32) -> Option<&StepState> {
        self.steps.iter().find(|step| step.number == number)
    }

    /// The steps whose effect is, or may be, in force.
    pub fn in_force(&self) -> impl Iterator<Item = &StepState> {
        self.steps.iter().filter(|step| step.phase.hold().is_some())
    }

    /// Whether nothing can happen to the run any more.
    pub fn is_closed(&self) -> bool {
        matches!(self.status, RunStatus::Ended { .. }) && self.in_force().next().is_none()
    }

    fn enter(&mut self, id: &StepId) {
        match self.plan.playbook.steps.get(id) {
            Some(Step::Action(action)) => {
                let number = self.steps.last().map_or(1, |step| step.number.saturating_add(1));
                let (id, action) = (id.clone(), action.clone());
                self.steps.push(StepState { number, id, action, phase: StepPhase::Planned });
            }
            Some(Step::End) | None => self.end(Outcome::Completed),
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.status = RunStatus::Ended { outcome };
    }

    /// The last step, if it has that number and the run is under way.
    fn current(&mut self, number: u32, what: &'static str) -> Result<&mut StepState, IllegalTransition> {
        let running = self.status == RunStatus::Running;
        let last = self.steps.last_mut().filter(|step| running && step.number == number);
        last.ok_or(IllegalTransition { what })
    }

    fn advance(
        &mut self,
        number: u32,
        what: &'static str,
        next: impl FnOnce(StepPhase) -> Option<StepPhase>,
    ) -> Result<(), IllegalTransition> {
        let step = self.current(number, what)?;
        step.phase = next(step.phase.clone()).ok_or(IllegalTransition { what })?;
        Ok(())
    }

    fn decided(&mut self, number: u32, verdict: &Verdict, at: Timestamp) -> Result<(), IllegalTransition> {
        let what = "a decision";
        let step = self.current(number, what)?;
        let waiting = match &step.phase {
            StepPhase::Planned => None,
            StepPhase::AwaitingApproval { until, approvals, .. } => Some((*until, approvals.clone())),
            _ => return Err(IllegalTransition { what }),
        };
        let patience = std::time::Duration::from_millis(step.action.timeout_ms);
        let await_approval = |until, approvals: Vec<Responder>| {
            let asked = approvals.len();
            StepPhase::AwaitingApproval { until, approvals, asked }
        };
        step.phase = match (&verdict.lease, waiting, &verdict.held_by) {
            (Some(lease), _, _) => StepPhase::Reserved { lease: lease.clone() },
            (None, _, Some(_)) => StepPhase::Refused,
            (None, Some((until, approvals)), None) => await_approval(until, approvals),
            (None, None, None) if verdict.decision.tier >= Tier::Assisted => {
                await_approval(at.plus(patience), Vec::new())
            }
            (None, None, None) => StepPhase::Refused,
        };
        if step.phase == StepPhase::Refused {
            let held = verdict.held_by.clone().map(|by| StopReason::AssetHeld { by });
            self.end(Outcome::Stopped { reason: held.unwrap_or(StopReason::AlertOnly) });
        }
        Ok(())
    }

    fn approved(&mut self, number: u32, responder: &Responder, at: Timestamp) -> Result<(), IllegalTransition> {
        let what = "an approval";
        match &mut self.current(number, what)?.phase {
            StepPhase::AwaitingApproval { until, approvals, .. }
                if at < *until
                    && approvals.len() < MAX_APPROVALS
                    && approvals.iter().all(|earlier| earlier.name != responder.name) =>
            {
                approvals.push(responder.clone());
                Ok(())
            }
            _ => Err(IllegalTransition { what }),
        }
    }

    fn unapproved(&mut self, number: u32) -> Result<(), IllegalTransition> {
        let what = "the end of the wait for approval";
        let step = self.current(number, what)?;
        if !matches!(step.phase, StepPhase::AwaitingApproval { .. }) {
            return Err(IllegalTransition { what });
        }
        step.phase = StepPhase::Unapproved;
        self.after_failure(number);
        Ok(())
    }

    fn verified(&mut self, number: u32, at: Timestamp) -> Result<(), IllegalTransition> {
        self.advance(number, "a verification", |phase| match phase {
            StepPhase::Applied { lease, undo } => Some(StepPhase::Verified { lease, undo, at }),
            _ => None,
        })?;
        if let Some(next) = self.steps.last().map(|step| step.action.on_success.clone()) {
            self.enter(&next);
        }
        Ok(())
    }

    fn failed(&mut self, number: u32, reason: &str) -> Result<(), IllegalTransition> {
        let reason = reason.to_owned();
        self.advance(number, "a failure", |phase| match phase {
            StepPhase::Intended { lease } => Some(StepPhase::Failed { lease, undo: None, reason }),
            StepPhase::UndoCaptured { lease, undo } | StepPhase::Applied { lease, undo } => {
                Some(StepPhase::Failed { lease, undo: Some(undo), reason })
            }
            _ => None,
        })
    }

    /// The way of a failure: the step that the playbook names for it, or back over everything.
    fn after_failure(&mut self, number: u32) {
        match self.steps.last().and_then(|step| step.action.on_failure.clone()) {
            Some(next) => self.enter(&next),
            None => self.roll_back(Cause::StepFailed { step: number }),
        }
    }

    fn rollback_requested(&mut self, by: &str) -> Result<(), IllegalTransition> {
        if self.is_closed() || matches!(self.status, RunStatus::RollingBack { .. }) {
            return Err(IllegalTransition { what: "a request to roll back" });
        }
        self.roll_back(Cause::Requested { by: by.to_owned() });
        Ok(())
    }

    fn roll_back(&mut self, cause: Cause) {
        self.status = RunStatus::RollingBack { cause };
        self.end_rollback_when_done();
    }

    fn end_rollback_when_done(&mut self) {
        if let RunStatus::RollingBack { cause } = &self.status
            && self.in_force().next().is_none()
        {
            let cause = cause.clone();
            self.end(Outcome::RolledBack { cause });
        }
    }

    fn rolled_back(&mut self, number: u32, cause: &Cause) -> Result<(), IllegalTransition> {
        let illegal = IllegalTransition { what: "a rollback" };
        let step = self.steps.iter_mut().rfind(|step| step.phase.hold().is_some());
        let step = step.filter(|step| step.number == number).ok_or(illegal)?;
        step.phase = StepPhase::RolledBack { cause: cause.clone() };
        match (&self.status, cause) {
            (RunStatus::Running, Cause::StepFailed { .. }) => self.after_failure(number),
            (RunStatus::Running, _) => self.end(Outcome::Stopped { reason: StopReason::LeaseLapsed }),
            (RunStatus::RollingBack { .. }, _) => self.end_rollback_when_done(),
            (RunStatus::Ended { .. }, _) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
