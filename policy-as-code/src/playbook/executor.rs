//! Drives runs: asks, reserves, records, acts, verifies, undoes; one event at a time, each durable before the next.
//!
//! There is no separate way for recovery: [`Executor::tick`] drives every open run as far as it can go, which resumes
//! what a crash interrupted and undoes what has lapsed. Undoing asks no policy: a lease that lapses is part of the
//! decision that granted it, and a person may always give back. Store and journal are called in place; a run waits for
//! a few syncs of the disk per step, and no other run waits with it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::audit::AuditKind;
use shared::decision::{ContainmentAction, DecisionContext, DecisionRequest, Requester};
use shared::detection::Tier;
use shared::store::Store;
use shared::{Clock, RunId, Timestamp};
use tokio::sync::{Mutex, MutexGuard};

use super::ast::Playbook;
use super::error::RunError;
use super::log::RunLog;
use super::run::{Cause, RunEvent, RunPlan, RunState, StepPhase, StepState, Subject, Todo};
use crate::actuator::{Actuator, ActuatorError, Effect, Undo};
use crate::containment::{Claim, ContainmentLedger, Verdict};
use crate::decide::InForce;
use crate::journal::Journal;

/// How long one call of an actuator may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Runs share this many locks.
const LOCKS: usize = 64;

/// A person who responds to incidents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Responder {
    /// The person's name at the site.
    pub name: String,
    /// Whether the person is on call.
    pub on_call: bool,
}

/// What an executor works with.
#[derive(Clone)]
pub struct Site {
    /// Holds runs and the containment ledger.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Decides.
    pub policies: Arc<InForce>,
    /// Acts.
    pub actuator: Arc<dyn Actuator>,
    /// Keeps records.
    pub journal: Arc<dyn Journal>,
}

/// Drives runs.
pub struct Executor {
    site: Site,
    log: RunLog,
    ledger: ContainmentLedger,
    locks: Vec<Mutex<()>>,
}

impl Executor {
    /// An executor at `site`. Call [`Executor::tick`] before anything else.
    pub fn new(site: Site) -> Self {
        let log = RunLog::new(Arc::clone(&site.store));
        let ledger = ContainmentLedger::new(Arc::clone(&site.store), Arc::clone(&site.clock));
        Self { site, log, ledger, locks: (0..LOCKS).map(|_| Mutex::new(())).collect() }
    }

    /// Starts a run and drives it as far as it can go.
    pub async fn start(&self, run_id: RunId, playbook: &Playbook, subject: Subject) -> Result<RunState, RunError> {
        let started_at = self.site.clock.now();
        if !playbook.is_valid_at(started_at) {
            return Err(RunError::OutOfValidity { playbook: playbook.name.clone() });
        }
        let _turn = self.turn(&run_id).await;
        let plan = RunPlan { run_id, playbook: playbook.clone(), subject, started_at };
        let state = self.log.start(plan)?;
        self.drive(state).await
    }

    /// Counts a person's approval of a step, and drives the run on if the policy set is content with it.
    pub async fn approve(&self, run_id: &RunId, step: u32, responder: Responder) -> Result<RunState, RunError> {
        let _turn = self.turn(run_id).await;
        let at = self.site.clock.now();
        let state = self.log.append(self.log.state(run_id)?, &RunEvent::Approved { step, responder, at })?;
        self.drive(state).await
    }

    /// Undoes everything the run did, latest step first.
    pub async fn rollback(&self, run_id: &RunId, by: &str) -> Result<RunState, RunError> {
        let _turn = self.turn(run_id).await;
        let at = self.site.clock.now();
        let event = RunEvent::RollbackRequested { by: by.to_owned(), at };
        let state = self.log.append(self.log.state(run_id)?, &event)?;
        self.drive(state).await
    }

    /// Drives every open run as far as it can go: resumes after a crash, undoes what has lapsed, gives up waiting. A run
    /// that cannot go on does not keep the others back; the next tick tries it again.
    pub async fn tick(&self) -> Result<Vec<(RunId, Result<RunState, RunError>)>, RunError> {
        let mut results = Vec::new();
        for run_id in self.log.open()? {
            let result = self.resume(&run_id).await;
            if let Err(error) = &result {
                tracing::error!(%run_id, %error, "a run does not go on");
                metrics::counter!("ringfence_run_errors_total").increment(1);
            }
            results.push((run_id, result));
        }
        Ok(results)
    }

    async fn resume(&self, run_id: &RunId) -> Result<RunState, RunError> {
        let _turn = self.turn(run_id).await;
        self.drive(self.log.state(run_id)?).await
    }

    /// Where a run stands.
    pub fn run(&self, run_id: &RunId) -> Result<RunState, RunError> {
        self.log.state(run_id)
    }

    /// What happened to a run, oldest first.
    pub fn events(&self, run_id: &RunId) -> Result<Vec<RunEvent>, RunError> {
        self.log.events(run_id)
    }

    /// The runs to which something may still happen.
    pub fn open_runs(&self) -> Result<Vec<RunId>, RunError> {
        self.log.open()
    }

    /// The containment ledger.
    pub fn ledger(&self) -> &ContainmentLedger {
        &self.ledger
    }

    async fn turn(&self, run_id: &RunId) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        run_id.hash(&mut hasher);
        let index = usize::try_from(hasher.finish()).unwrap_or(0) % LOCKS;
        match self.locks.get(index) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }

    async fn drive(&self, mut state: RunState) -> Result<RunState, RunError> {
        while let Some(event) = self.next_event(&state).await? {
            count(&state, &event);
            state = self.log.append(state, &event)?;
        }
        self.settle(&state)?;
        Ok(state)
    }

    /// Gives free what is no longer in force, and closes the run when nothing is.
    fn settle(&self, state: &RunState) -> Result<(), RunError> {
        let run_id = &state.plan.run_id;
        for step in state.steps.iter().filter(|step| step.phase.hold().is_none()) {
            self.ledger.release(run_id, step.number)?;
        }
        if state.is_closed() { self.log.close(run_id) } else { Ok(()) }
    }

    async fn next_event(&self, state: &RunState) -> Result<Option<RunEvent>, RunError> {
        let at = self.site.clock.now();
        let todo = state.todo(at);
        let subject_step = match &todo {
            Todo::Undo { step, .. } => state.step(*step),
            _ => state.steps.last(),
        };
        let Some(current) = subject_step else { return Ok(None) };
        let step = current.number;
        let event = match todo {
            Todo::Nothing => return Ok(None),
            Todo::GiveUpWaiting => RunEvent::Unapproved { step, at },
            Todo::Decide => self.decide(state, current, at)?,
            Todo::Intend => RunEvent::Intended { step, record: self.record_intent(state, current)?, at },
            Todo::Capture => match self.capture(state, current).await {
                Ok(undo) => RunEvent::UndoCaptured { step, undo, at },
                Err(error) => self.failure(state, current, &error, at)?,
            },
            Todo::Apply => match self.apply(state, current).await {
                Ok(()) => RunEvent::Applied { step, at },
                Err(error) => self.failure(state, current, &error, at)?,
            },
            Todo::Verify => match self.probe(state, current).await {
                Ok(()) => RunEvent::Verified { step, record: self.record_outcome(state, current, None)?, at },
                Err(error) => self.failure(state, current, &error, at)?,
            },
            Todo::Undo { cause, .. } => self.undo(state, current, cause, at).await?,
        };
        Ok(Some(event))
    }

    fn decide(&self, state: &RunState, step: &StepState, at: Timestamp) -> Result<RunEvent, RunError> {
        let claim = claim(state, step, at);
        let verdict = self.ledger.decide_and_reserve(&self.site.policies.engine(), &claim)?;
        let record = self.record_decision(state, step, &verdict)?;
        Ok(RunEvent::Decided { step: step.number, verdict: Box::new(verdict), record, at })
    }

    async fn capture(&self, state: &RunState, step: &StepState) -> Result<Undo, ActuatorError> {
        let effect = effect(state, step);
        self.retried(step, || self.site.actuator.capture(&effect)).await
    }

    async fn apply(&self, state: &RunState, step: &StepState) -> Result<(), ActuatorError> {
        let effect = effect(state, step);
        self.retried(step, || self.site.actuator.apply(&effect)).await
    }

    async fn probe(&self, state: &RunState, step: &StepState) -> Result<(), ActuatorError> {
        let Some((_, Some(undo))) = step.phase.hold() else { return Ok(()) };
        let effect = effect(state, step);
        let postcondition = step.action.extension.postcondition;
        self.retried(step, || self.site.actuator.probe(&effect, postcondition, undo)).await
    }

    async fn undo(
        &self,
        state: &RunState,
        step: &StepState,
        cause: Cause,
        at: Timestamp,
    ) -> Result<RunEvent, RunError> {
        if let Some((_, Some(undo))) = step.phase.hold() {
            self.restore(state, step, undo).await?;
        }
        let record = self.record_rollback(state, step, &cause)?;
        Ok(RunEvent::RolledBack { step: step.number, cause, record, at })
    }

    async fn restore(&self, state: &RunState, step: &StepState, undo: &Undo) -> Result<(), RunError> {
        let effect = effect(state, step);
        let restored = self.retried(step, || self.site.actuator.restore(&effect, undo)).await;
        let run_id = state.plan.run_id.clone();
        restored.map_err(|error| RunError::NotUndone { run_id, step: step.number, error })
    }

    async fn retried<T, F: Future<Output = Result<T, ActuatorError>>>(
        &self,
        step: &StepState,
        attempt: impl Fn() -> F,
    ) -> Result<T, ActuatorError> {
        let retry = step.action.extension.retry;
        let mut tried = 1;
        loop {
            match self.call(attempt()).await {
                Err(error) if error.may_pass() && tried < retry.attempts => {
                    tracing::warn!(step = step.number, tried, %error, "an actuator failed, trying again");
                    tokio::time::sleep(Duration::from_millis(retry.backoff_ms)).await;
                    tried += 1;
                }
                result => return result,
            }
        }
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, ActuatorError>>) -> Result<T, ActuatorError> {
        tokio::time::timeout(CALL_LIMIT, call).await.unwrap_or(Err(ActuatorError::TimedOut { limit: CALL_LIMIT }))
    }

    fn failure(
        &self,
        state: &RunState,
        step: &StepState,
        error: &ActuatorError,
        at: Timestamp,
    ) -> Result<RunEvent, RunError> {
        let reason = error.to_string();
        let record = self.record_outcome(state, step, Some(&reason))?;
        Ok(RunEvent::Failed { step: step.number, reason, record, at })
    }

    fn record_decision(&self, state: &RunState, step: &StepState, verdict: &Verdict) -> Result<u64, RunError> {
        self.record(
            AuditKind::Decision,
            state,
            step,
            json!({ "verdict": verdict, "detection": state.plan.subject.detection }),
        )
    }

    fn record_intent(&self, state: &RunState, step: &StepState) -> Result<u64, RunError> {
        let lease = step.phase.hold().map(|(lease, _)| lease);
        self.record(AuditKind::Intent, state, step, json!({ "lease": lease }))
    }

    fn record_outcome(&self, state: &RunState, step: &StepState, failure: Option<&str>) -> Result<u64, RunError> {
        self.record(AuditKind::Outcome, state, step, json!({ "verified": failure.is_none(), "failure": failure }))
    }

    fn record_rollback(&self, state: &RunState, step: &StepState, cause: &Cause) -> Result<u64, RunError> {
        self.record(AuditKind::Rollback, state, step, json!({ "cause": cause }))
    }

    fn record(&self, kind: AuditKind, state: &RunState, step: &StepState, more: Value) -> Result<u64, RunError> {
        let mut content = json!({
            "run_id": state.plan.run_id,
            "step": step.number,
            "action": step.action.extension.policy_action,
            "asset_id": state.plan.subject.asset.asset_id,
        });
        if let (Some(content), Value::Object(more)) = (content.as_object_mut(), more) {
            content.extend(more);
        }
        Ok(self.site.journal.record(kind, content)?)
    }
}

fn effect(state: &RunState, step: &StepState) -> Effect {
    Effect {
        run_id: state.plan.run_id.clone(),
        step: step.number,
        action: step.action.extension.policy_action,
        target: state.plan.subject.asset.asset_id.clone(),
    }
}

/// What the policy set is asked about a step: by the release at first, then by each person who approves.
fn claim(state: &RunState, step: &StepState, now: Timestamp) -> Claim {
    let subject = &state.plan.subject;
    let approvals = match &step.phase {
        StepPhase::AwaitingApproval { approvals, .. } => approvals.as_slice(),
        _ => &[],
    };
    let (requester, required) = match approvals.last() {
        Some(Responder { name, on_call }) => {
            (Requester::Responder { name: name.clone(), on_call: *on_call }, Tier::Assisted)
        }
        None => (subject.requester.clone(), Tier::Automated),
    };
    let context = DecisionContext {
        score_bp: i64::from(subject.detection.score_bp),
        false_positive_rate_bp: i64::from(subject.detection.false_positive_rate_bp),
        false_positive_rate_high_bp: i64::from(subject.detection.false_positive_rate_high_bp),
        reasons: subject.detection.reasons.iter().map(|reason| reason.feature.clone()).collect(),
        blast_radius: i64::from(subject.blast_radius),
        playbook_step: i64::from(step.number),
        monitored_s: monitored_s(state, now),
        reversible: step.action.extension.is_reversible(),
        maintenance_window: subject.maintenance_window,
        approvals: i64::try_from(approvals.len()).unwrap_or(i64::MAX),
        ..DecisionContext::default()
    };
    let action = step.action.extension.policy_action;
    Claim {
        run_id: state.plan.run_id.clone(),
        step: step.number,
        peers: subject.peers.clone(),
        lease: Duration::from_millis(step.action.extension.lease_ms),
        required,
        request: DecisionRequest { requester, action, asset: subject.asset.clone(), context },
    }
}

/// Seconds since the asset has verifiably been under throttle in this run.
fn monitored_s(state: &RunState, now: Timestamp) -> i64 {
    let since = state.steps.iter().find_map(|step| match step.phase {
        StepPhase::Verified { at, .. } if step.action.extension.policy_action == ContainmentAction::Throttle => {
            Some(at)
        }
        _ => None,
    });
    since.map_or(0, |since| i64::try_from(now.since(since).as_secs()).unwrap_or(i64::MAX))
}

fn count(state: &RunState, event: &RunEvent) {
    let (step, outcome) = match event {
        RunEvent::Verified { step, .. } => (*step, "verified"),
        RunEvent::Failed { step, .. } => (*step, "failed"),
        RunEvent::RolledBack { step, .. } => (*step, "rolled_back"),
        RunEvent::Unapproved { step, .. } => (*step, "unapproved"),
        _ => return,
    };
    let action = state.step(step).map_or("none", |step| step.action.extension.policy_action.as_str());
    metrics::counter!("ringfence_run_steps_total", "action" => action, "outcome" => outcome).increment(1);
    tracing::info!(run_id = %state.plan.run_id, step, action, outcome, "a step of a run");
}

#[cfg(test)]
mod tests;
