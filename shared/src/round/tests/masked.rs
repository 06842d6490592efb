//! What should and should not happen to a round whose updates are masked.

use super::*;

/// Of a, b and c, who joined, a and b have delivered and the round agrees.
fn agreeing() -> RoundState {
    let plan = RoundPlan { threshold: Some(2), ..plan() };
    let state = collecting(plan, &["a", "b", "c"]);
    from(state, &[update("a", 5), update("b", 6), RoundEvent::CollectionClosed { at: at(3) }])
}

fn agreed(name: &str) -> RoundEvent {
    RoundEvent::Agreed { participant_id: site(name), at: at(4) }
}

fn revealed(name: &str) -> RoundEvent {
    RoundEvent::Revealed { participant_id: site(name), at: at(5) }
}

fn unmasking() -> RoundState {
    from(agreeing(), &[agreed("a"), agreed("b"), RoundEvent::AgreementClosed { at: at(4) }])
}

#[test]
fn survivors_agree_then_reveal_and_the_dropped_are_remembered() {
    let state = agreeing();
    assert_eq!(state.phase(), "agreeing");
    assert_eq!(state.due(at(4)), None);
    let state = from(state, &[agreed("b"), agreed("a")]);
    assert_eq!(state.due(at(4)), Some(RoundEvent::AgreementClosed { at: at(4) }));
    let state = unmasking();
    assert_eq!(state.awaited(), [&site("a"), &site("b")]);
    let state = from(state, &[revealed("a"), revealed("b")]);
    let state = state.apply(&state.due(at(5)).unwrap()).unwrap();
    let RoundState::Collected(collected) = &state else { panic!("{}", state.phase()) };
    assert_eq!(collected.dropped, [site("c")].into());
    assert_eq!(collected.accepted.len(), 2);
}

#[test]
fn who_dropped_neither_agrees_nor_reveals_nor_delivers_any_more() {
    for (state, event) in [(agreeing(), agreed("c")), (unmasking(), revealed("c"))] {
        assert_eq!(state.apply(&event), Err(IllegalTransition::NotTakingPart(site("c"))));
        assert!(matches!(state.apply(&update("c", 7)), Err(IllegalTransition::WrongPhase { .. })));
    }
    assert!(matches!(agreeing().apply(&revealed("a")), Err(IllegalTransition::WrongPhase { .. })));
    assert!(matches!(unmasking().apply(&agreed("a")), Err(IllegalTransition::WrongPhase { .. })));
}

#[test]
fn a_round_that_too_few_help_to_unmask_ends_without_a_result() {
    let half = from(agreeing(), &[agreed("a")]);
    let late = half.deadline().unwrap();
    assert_eq!(half.due(at(4)), None);
    let ended = half.apply(&half.due(late).unwrap()).unwrap();
    let RoundState::Aborted(aborted) = &ended else { panic!("{}", ended.phase()) };
    assert_eq!(aborted.reason, AbortReason::StaysMasked { present: 1, needed: 2 });
    let half = from(unmasking(), &[revealed("b"), lost("a")]);
    assert_eq!(half.due(at(5)), None, "one is not enough, whoever is lost");
    let ended = half.apply(&half.due(half.deadline().unwrap()).unwrap()).unwrap();
    assert!(matches!(ended, RoundState::Aborted(_)));
}

#[test]
fn a_lost_survivor_is_not_waited_for_and_counts_when_it_comes_back() {
    let plan = RoundPlan { threshold: Some(2), ..plan() };
    let state = collecting(plan, &["a", "b", "c"]);
    let state =
        from(state, &[update("a", 5), update("b", 6), update("c", 7), RoundEvent::CollectionClosed { at: at(3) }]);
    let state = from(state, &[agreed("a"), agreed("b"), RoundEvent::AgreementClosed { at: at(4) }]);
    let waiting = from(state, &[revealed("a"), revealed("b")]);
    assert_eq!(waiting.due(at(5)), None, "c is still there");
    let without = from(waiting.clone(), &[lost("c")]);
    assert_eq!(without.due(at(5)), Some(RoundEvent::RevealsClosed { at: at(5) }));
    let back = from(without, &[returned("c")]);
    assert_eq!(back.due(at(5)), None);
    assert!(from(back, &[revealed("c")]).due(at(5)).is_some());
}

#[test]
fn what_was_heard_before_changes_nothing() {
    for (mut state, event) in
        [(from(agreeing(), &[agreed("a")]), agreed("a")), (from(unmasking(), &[revealed("a")]), revealed("a"))]
    {
        assert_eq!(state.advance(&event), Ok(false));
    }
}
