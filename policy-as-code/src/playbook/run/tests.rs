//! What should and should not happen to a run.

use std::time::Duration;

use shared::decision::{ContainmentAction, Decision, Lease, TierAnswer};
use shared::{AssetId, Digest};

use super::*;
use crate::actuator::Undo;
use crate::testing::{engine, request, run_id, subject};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn started() -> RunState {
    let playbook = engine().playbook("contain-account").unwrap().clone();
    RunState::start(RunPlan { run_id: run_id("run"), playbook, subject: subject("reader"), started_at: at(0) })
}

fn lease(expires: i64) -> Lease {
    Lease { run_id: run_id("run"), granted_at: at(0), expires_at: at(expires) }
}

fn decided(step: u32, tier: Tier, lease: Option<Lease>) -> RunEvent {
    let answers = vec![TierAnswer { tier, allowed: true, policies: Vec::new(), errors: Vec::new() }];
    let verdict = Verdict {
        request: request(ContainmentAction::Throttle),
        decision: Decision { tier, answers, bundle: Digest([0; 32]) },
        lease,
        held_by: None,
    };
    RunEvent::Decided { step, verdict: Box::new(verdict), record: 0, at: at(0) }
}

fn reserved(step: u32, expires: i64) -> RunEvent {
    decided(step, Tier::Automated, Some(lease(expires)))
}

fn intended(step: u32) -> RunEvent {
    RunEvent::Intended { step, record: 0, at: at(0) }
}

fn captured(step: u32) -> RunEvent {
    RunEvent::UndoCaptured { step, undo: Undo(serde_json::json!({ "step": step })), at: at(0) }
}

fn applied(step: u32) -> RunEvent {
    RunEvent::Applied { step, at: at(0) }
}

fn verified(step: u32) -> RunEvent {
    RunEvent::Verified { step, record: 0, at: at(0) }
}

fn failed(step: u32) -> RunEvent {
    RunEvent::Failed { step, reason: "no".to_owned(), record: 0, at: at(0) }
}

fn undone(step: u32, cause: Cause) -> RunEvent {
    RunEvent::RolledBack { step, cause, record: 0, at: at(0) }
}

fn requested() -> RunEvent {
    RunEvent::RollbackRequested { by: "ada".to_owned(), at: at(0) }
}

fn approved(name: &str, seconds: i64) -> RunEvent {
    let responder = Responder { name: name.to_owned(), on_call: true };
    RunEvent::Approved { step: 1, responder, at: at(seconds) }
}

/// The events of a step that goes well.
fn good(step: u32, expires: i64) -> Vec<RunEvent> {
    vec![reserved(step, expires), intended(step), captured(step), applied(step), verified(step)]
}

fn after(events: &[RunEvent]) -> RunState {
    events.iter().fold(started(), |state, event| state.apply(event).unwrap())
}

fn todos(events: &[RunEvent]) -> Vec<Todo> {
    (0..=events.len()).map(|count| after(&events[..count]).todo(at(1))).collect()
}

#[test]
fn a_step_goes_through_every_phase_in_order() {
    let expected = [Todo::Decide, Todo::Intend, Todo::Capture, Todo::Apply, Todo::Verify, Todo::Decide];
    assert_eq!(todos(&good(1, 60)), expected);
    assert_eq!(after(&good(1, 60)).steps.len(), 2);
}

#[test]
fn an_event_out_of_order_is_illegal_and_changes_nothing() {
    let events = [&good(1, 60)[..], &[requested(), undone(1, Cause::Lapsed), failed(1), approved("ada", 0)]].concat();
    let legal_at_first =
        |event: &RunEvent| matches!(event, RunEvent::Decided { .. } | RunEvent::RollbackRequested { .. });
    for event in events.iter().filter(|event| !legal_at_first(event)) {
        assert!(started().apply(event).is_err(), "{event:?}");
    }
    for count in 0..5 {
        let state = after(&good(1, 60)[..count]);
        for (index, event) in good(1, 60).iter().enumerate() {
            assert_eq!(state.clone().apply(event).is_ok(), index == count, "{event:?} after {count} events");
        }
    }
    let other_step = after(&good(1, 60)).apply(&intended(1));
    assert_eq!(other_step, Err(IllegalTransition { what: "an intent" }));
}

#[test]
fn replay_gives_the_state_that_the_events_led_to() {
    let events = [good(1, 60), good(2, 60)].concat();
    let start = RunEvent::Started { plan: Box::new(started().plan) };
    let text = serde_json::to_string(&[&[start][..], &events[..]].concat()).unwrap();
    let read: Vec<RunEvent> = serde_json::from_str(&text).unwrap();
    assert_eq!(RunState::replay(read).unwrap(), after(&events));
    assert!(RunState::replay(events).is_err());
}

#[test]
fn the_way_ends_completed_with_its_effects_in_force() {
    let state = after(&[good(1, 60), good(2, 60), good(3, 60)].concat());
    assert_eq!(state.status, RunStatus::Ended { outcome: Outcome::Completed });
    assert_eq!((state.in_force().count(), state.is_closed(), state.todo(at(1))), (3, false, Todo::Nothing));
}

#[test]
fn a_lapsed_lease_undoes_its_step_and_all_later_ones_latest_first() {
    let state = after(&[good(1, 60), good(2, 30), good(3, 90)].concat());
    assert_eq!(state.todo(at(29)), Todo::Nothing);
    let mut undone_steps = Vec::new();
    let mut state = state;
    while let Todo::Undo { step, cause } = state.todo(at(30)) {
        undone_steps.push(step);
        state = state.apply(&undone(step, cause)).unwrap();
    }
    assert_eq!(undone_steps, [3, 2]);
    assert_eq!(state.todo(at(60)), Todo::Undo { step: 1, cause: Cause::Lapsed });
    assert!(state.apply(&undone(1, Cause::Lapsed)).unwrap().is_closed());
}

#[test]
fn a_run_whose_lease_lapsed_does_not_go_on() {
    let state = after(&[&good(1, 60)[..], &[undone(1, Cause::Lapsed)]].concat());
    assert_eq!(state.status, RunStatus::Ended { outcome: Outcome::Stopped { reason: StopReason::LeaseLapsed } });
    assert!(state.is_closed());
}

#[test]
fn a_failed_step_is_undone_before_the_way_of_its_failure_is_taken() {
    let with_way = [&good(1, 60)[..], &[reserved(2, 60), intended(2), captured(2), failed(2)]].concat();
    let state = after(&with_way);
    let cause = Cause::StepFailed { step: 2 };
    assert_eq!(state.todo(at(1)), Todo::Undo { step: 2, cause: cause.clone() });
    let state = state.apply(&undone(2, cause)).unwrap();
    assert_eq!(state.status, RunStatus::Ended { outcome: Outcome::Completed });
    assert_eq!(state.in_force().map(|step| step.number).collect::<Vec<_>>(), [1]);

    let without_way = after(&[reserved(1, 60), intended(1), failed(1)]);
    let cause = Cause::StepFailed { step: 1 };
    let state = without_way.apply(&undone(1, cause.clone())).unwrap();
    assert_eq!(state.status, RunStatus::Ended { outcome: Outcome::RolledBack { cause } });
}

#[test]
fn a_rollback_on_request_takes_everything_back_wherever_the_run_stands() {
    let all = [good(1, 60), good(2, 60), good(3, 60)].concat();
    for count in 0..=all.len() {
        let mut state = after(&all[..count]).apply(&requested()).unwrap();
        while let Todo::Undo { step, cause } = state.todo(at(1)) {
            assert_eq!(cause, Cause::Requested { by: "ada".to_owned() });
            state = state.apply(&undone(step, cause)).unwrap();
        }
        assert!(state.is_closed(), "after {count} events");
        assert!(state.apply(&requested()).is_err());
    }
}

#[test]
fn an_assisted_step_waits_for_people_and_not_for_ever() {
    let waiting = after(&[decided(1, Tier::Assisted, None)]);
    assert_eq!(waiting.todo(at(1)), Todo::Nothing);
    let one = waiting.clone().apply(&approved("ada", 1)).unwrap();
    assert_eq!(one.todo(at(1)), Todo::Decide);
    assert!(one.clone().apply(&approved("ada", 2)).is_err(), "one person counts once");
    let not_enough = one.apply(&decided(1, Tier::AlertOnly, None)).unwrap();
    assert_eq!(not_enough.todo(at(1)), Todo::Nothing);
    let enough = not_enough.apply(&approved("grace", 2)).unwrap().apply(&decided(1, Tier::Assisted, Some(lease(60))));
    assert_eq!(enough.unwrap().todo(at(3)), Todo::Intend);

    let deadline = i64::try_from(Duration::from_millis(waiting.steps[0].action.timeout_ms).as_secs()).unwrap();
    assert_eq!(waiting.todo(at(deadline)), Todo::GiveUpWaiting);
    assert!(waiting.clone().apply(&approved("ada", deadline)).is_err(), "too late");
    let given_up = waiting.apply(&RunEvent::Unapproved { step: 1, at: at(deadline) }).unwrap();
    assert!(given_up.is_closed());
}

#[test]
fn a_refusal_stops_the_run_and_leaves_earlier_steps_to_their_leases() {
    let state = after(&[&good(1, 60)[..], &[decided(2, Tier::AlertOnly, None)]].concat());
    assert_eq!(state.status, RunStatus::Ended { outcome: Outcome::Stopped { reason: StopReason::AlertOnly } });
    assert_eq!(state.in_force().count(), 1);
    assert_eq!(state.plan.subject.asset.asset_id, AssetId::new("reader").unwrap());
}
