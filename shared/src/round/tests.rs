//! What should and should not happen to a round.

use super::*;
use crate::{RoundNumber, TaskId};

fn site(name: &str) -> ParticipantId {
    ParticipantId::new(name).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn announced() -> RoundState {
    RoundState::announce(RoundPlan {
        round_id: RoundId { task_id: TaskId::new("t").unwrap(), number: RoundNumber::FIRST },
        task_digest: digest(1),
        checkpoint: digest(2),
        cohort: ["a", "b", "c"].map(site).into(),
        quorum: 2,
        deadlines: Deadlines { join_ms: 10_000, collect_ms: 20_000, evaluate_ms: 30_000 },
        announced_at: at(0),
    })
}

fn joined(name: &str) -> RoundEvent {
    RoundEvent::Joined { participant_id: site(name), at: at(1) }
}

fn update(name: &str, payload: u8) -> RoundEvent {
    RoundEvent::UpdateAccepted { participant_id: site(name), payload: digest(payload), at: at(2) }
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
    events.iter().fold(announced(), |state, event| state.apply(event).unwrap())
}

fn aggregated() -> RoundState {
    let closed = RoundEvent::CollectionClosed { at: at(3) };
    let candidate = RoundEvent::Aggregated { candidate: digest(9), at: at(3) };
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
fn a_state_survives_its_json() {
    let state = aggregated();
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<RoundState>(&json).unwrap(), state);
}
