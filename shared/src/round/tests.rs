//! What should and should not happen to a round.

mod masked;

use super::*;
use crate::encoding::Encoding;
use crate::masking::Assurance;
use crate::participation::LatePolicy;
use crate::task::Deadlines;
use crate::update::Evaluation;
use crate::{RoundId, TaskId};

fn site(name: &str) -> ParticipantId {
    ParticipantId::new(name).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn plan() -> RoundPlan {
    RoundPlan {
        round_id: RoundId { task_id: TaskId::new("t").unwrap(), number: RoundNumber::FIRST },
        task_digest: digest(1),
        checkpoint: digest(2),
        server_state: None,
        cohort: ["a", "b", "c"].map(site).into(),
        root: None,
        quorum: 2,
        goal: 3,
        threshold: None,
        assurance: Assurance::None,
        late: LatePolicy::Drop,
        deadlines: Deadlines { join_ms: 10_000, collect_ms: 20_000, evaluate_ms: 30_000, unmask_ms: 5_000 },
        announced_at: at(0),
    }
}

fn announced() -> RoundState {
    RoundState::announce(plan())
}

fn joined(name: &str) -> RoundEvent {
    RoundEvent::Joined { participant_id: site(name), at: at(1) }
}

fn update(name: &str, payload: u8) -> RoundEvent {
    update_of(RoundNumber::FIRST, name, payload)
}

fn update_of(trained_in: RoundNumber, name: &str, payload: u8) -> RoundEvent {
    let update = AcceptedUpdate {
        payload: digest(payload),
        byte_count: 4,
        encoding: Encoding::F32,
        trained_in,
        weight: 1,
        local_steps: 1,
    };
    RoundEvent::UpdateAccepted { participant_id: site(name), update, at: at(2) }
}

fn lost(name: &str) -> RoundEvent {
    RoundEvent::Lost { participant_id: site(name), at: at(1) }
}

fn returned(name: &str) -> RoundEvent {
    RoundEvent::Returned { participant_id: site(name), at: at(1) }
}

fn evaluation(state: &RoundState, name: &str, candidate: u8) -> RoundEvent {
    let evaluation = Evaluation {
        round_id: state.plan().round_id.clone(),
        participant_id: site(name),
        candidate: digest(candidate),
        true_positives: 8,
        false_negatives: 2,
        false_positives: -1,
        true_negatives: 90,
    };
    RoundEvent::EvaluationAccepted { evaluation, at: at(3) }
}

fn after(events: &[RoundEvent]) -> RoundState {
    from(announced(), events)
}

fn from(state: RoundState, events: &[RoundEvent]) -> RoundState {
    events.iter().fold(state, |state, event| state.apply(event).unwrap())
}

/// `joined` have joined and the round collects.
fn collecting(plan: RoundPlan, joined_by: &[&str]) -> RoundState {
    let joins: Vec<RoundEvent> = joined_by.iter().map(|name| joined(name)).collect();
    from(from(RoundState::announce(plan), &joins), &[RoundEvent::JoinClosed { at: at(1) }])
}

fn aggregated() -> RoundState {
    let closed = RoundEvent::CollectionClosed { drawn: BTreeSet::new(), at: at(3) };
    let candidate = RoundEvent::Aggregated { candidate: digest(9), server_state: None, at: at(3) };
    after(&[
        joined("a"),
        joined("b"),
        RoundEvent::JoinClosed { at: at(1) },
        update("a", 5),
        update("b", 6),
        closed,
        candidate,
    ])
}

#[test]
fn a_round_goes_from_announcement_to_commitment() {
    let mut state = aggregated();
    for name in ["a", "b"] {
        state = state.apply(&evaluation(&state, name, 9)).unwrap();
    }
    let due = state.due(at(4)).unwrap();
    state = state.apply(&due).unwrap();
    let RoundState::Evaluated(evaluated) = &state else { panic!("{}", state.phase()) };
    assert_eq!(evaluated.tally.true_positive_rate(), Some(0.8));
    assert_eq!(evaluated.tally.false_positive_rate(), Some(0.0));
    state = state.apply(&RoundEvent::Committed { record: digest(7), at: at(5) }).unwrap();
    assert!(state.is_closed());
}

#[test]
fn an_update_delivered_twice_counts_once_and_a_different_one_is_equivocation() {
    let state = after(&[joined("a"), joined("b"), RoundEvent::JoinClosed { at: at(1) }, update("a", 5)]);
    assert_eq!(state.apply(&update("a", 5)), Ok(state.clone()));
    assert!(matches!(state.apply(&update("a", 6)), Err(IllegalTransition::Equivocation { .. })));
    assert!(matches!(state.apply(&update("c", 6)), Err(IllegalTransition::NotTakingPart(_))));
}

#[test]
fn a_phase_ends_when_all_are_there_or_its_deadline_passes() {
    let two = after(&[joined("a"), joined("b")]);
    assert_eq!(two.due(at(9)), None);
    assert!(matches!(two.due(at(10)), Some(RoundEvent::JoinClosed { .. })));
    let three = two.apply(&joined("c")).unwrap();
    assert!(matches!(three.due(at(1)), Some(RoundEvent::JoinClosed { .. })));
}

#[test]
fn too_few_abort_the_round() {
    let state = after(&[joined("a"), RoundEvent::JoinClosed { at: at(10) }]);
    let RoundState::Aborted(aborted) = state else { panic!("{}", state.phase()) };
    assert_eq!(aborted.reason, AbortReason::NoQuorum { present: 1, needed: 2 });
}

#[test]
fn an_evaluation_of_other_parameters_is_refused() {
    let state = aggregated();
    assert!(matches!(state.apply(&evaluation(&state, "a", 8)), Err(IllegalTransition::OtherCandidate { .. })));
    assert!(matches!(state.apply(&evaluation(&state, "c", 9)), Err(IllegalTransition::NotTakingPart(_))));
}

#[test]
fn a_closed_round_takes_no_event() {
    let closed = after(&[RoundEvent::Aborted { reason: AbortReason::Operator, at: at(1) }]);
    for event in [joined("a"), update("a", 5), RoundEvent::Aborted { reason: AbortReason::Operator, at: at(2) }] {
        assert!(matches!(closed.apply(&event), Err(IllegalTransition::WrongPhase { phase: "aborted", .. })));
    }
}

#[test]
fn whoever_is_lost_is_not_waited_for_once_the_quorum_is_there() {
    let state = after(&[joined("a"), lost("c")]);
    assert_eq!(state.due(at(2)), None, "b is still expected");
    let state = from(state, &[joined("b")]);
    assert!(matches!(state.due(at(2)), Some(RoundEvent::JoinClosed { .. })));
    assert_eq!(from(state, &[returned("c")]).due(at(2)), None, "c is expected again");
    let nobody = after(&[lost("a"), lost("b"), lost("c")]);
    assert_eq!(nobody.due(at(9)), None, "without a quorum the deadline is waited for");
}

#[test]
fn a_lost_participant_may_still_deliver_before_collection_closes() {
    let state = from(collecting(plan(), &["a", "b", "c"]), &[update("a", 5), lost("c")]);
    assert_eq!(state.due(at(2)), None);
    let state = from(state, &[update("c", 7)]);
    assert!(state.lost().unwrap().is_empty());
    assert_eq!(state.awaited(), [&site("b")]);
    assert!(matches!(from(state, &[lost("b")]).due(at(2)), Some(RoundEvent::CollectionClosed { .. })));
}

#[test]
fn collection_ends_at_its_goal() {
    let state = from(collecting(RoundPlan { goal: 2, ..plan() }, &["a", "b", "c"]), &[update("a", 5)]);
    assert_eq!(state.due(at(2)), None);
    assert!(matches!(from(state, &[update("b", 6)]).due(at(2)), Some(RoundEvent::CollectionClosed { .. })));
}

#[test]
fn an_excluded_update_counts_no_more_and_never_again() {
    let excluded = RoundEvent::Excluded { participant_id: site("a"), at: at(2) };
    let state = from(collecting(plan(), &["a", "b", "c"]), &[update("a", 5), update("b", 6), excluded]);
    assert!(matches!(state.apply(&update("a", 5)), Err(IllegalTransition::NotTakingPart(_))));
    assert_eq!(state.due(at(2)), None, "two are needed");
    let state = from(state, &[update("c", 7)]);
    let RoundState::Collected(collected) = from(state.clone(), &[state.due(at(2)).unwrap()]) else { panic!() };
    assert_eq!(collected.accepted.into_keys().collect::<Vec<_>>(), [site("b"), site("c")]);
}

#[test]
fn a_late_update_counts_as_far_as_the_late_policy_goes() {
    let third = |late| {
        let round_id = RoundId { number: RoundNumber(3), ..plan().round_id };
        collecting(RoundPlan { round_id, late, ..plan() }, &["a", "b"])
    };
    let (of_second, of_first) = (update_of(RoundNumber(2), "c", 5), update_of(RoundNumber(1), "c", 5));
    assert!(matches!(third(LatePolicy::Drop).apply(&of_second), Err(IllegalTransition::Stale { allowed: 0, .. })));
    let carrying = third(LatePolicy::Carry { rounds: 1 });
    assert!(carrying.apply(&of_second).is_ok(), "c joined the round in which it trained, not this one");
    assert!(matches!(carrying.apply(&of_first), Err(IllegalTransition::Stale { .. })));
    assert!(third(LatePolicy::Buffered { rounds: 2 }).apply(&of_first).is_ok());
    let of_fourth = update_of(RoundNumber(4), "a", 5);
    assert!(matches!(carrying.apply(&of_fourth), Err(IllegalTransition::Stale { .. })), "it is yet to come");
}

#[test]
fn evaluation_waits_for_nobody_who_is_lost_but_for_somebody() {
    let state = from(aggregated(), &[lost("a"), lost("b")]);
    assert_eq!(state.due(at(4)), None);
    let state = state.apply(&evaluation(&state, "b", 9)).unwrap();
    assert!(matches!(state.due(at(4)), Some(RoundEvent::EvaluationClosed { .. })));
}

#[test]
fn the_goal_does_not_end_collection_without_the_root_participant() {
    let rooted = RoundPlan { goal: 2, root: Some(site("c")), ..plan() };
    let state = from(collecting(rooted, &["a", "b", "c"]), &[update("a", 5), update("b", 6)]);
    assert_eq!(state.due(at(3)), None);
    for event in [lost("c"), update("c", 7)] {
        assert!(matches!(from(state.clone(), &[event]).due(at(3)), Some(RoundEvent::CollectionClosed { .. })));
    }
}

#[test]
fn an_event_heard_before_changes_nothing_and_a_refused_one_neither() {
    let mut state = from(collecting(plan(), &["a", "b"]), &[update("a", 5)]);
    let before = state.clone();
    for event in [update("a", 5), joined("a"), returned("b")] {
        assert_eq!(state.advance(&event), Ok(false));
    }
    assert!(state.advance(&update("a", 6)).is_err());
    assert_eq!(state, before);
    assert_eq!(state.advance(&lost("b")), Ok(true));
}
