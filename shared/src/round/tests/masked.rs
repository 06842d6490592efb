//! What should and should not happen to a round whose updates are masked.

use super::*;

fn closed(drawn: &[&str]) -> RoundEvent {
    RoundEvent::CollectionClosed { drawn: drawn.iter().map(|name| site(name)).collect(), at: at(3) }
}

/// Of a, b and c, who joined, a and b have delivered and the round agrees.
fn agreeing() -> RoundState {
    let plan = RoundPlan { threshold: Some(2), ..plan() };
    let state = collecting(plan, &["a", "b", "c"]);
    from(state, &[update("a", 5), update("b", 6), closed(&[])])
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
    let state = from(state, &[update("a", 5), update("b", 6), update("c", 7), closed(&[])]);
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

/// a, b and c have delivered in a round with this assurance, of which two are enough.
fn assured(assurance: Assurance, drawn: &[&str]) -> RoundState {
    let plan = RoundPlan { threshold: Some(2), assurance, ..plan() };
    let state = collecting(plan, &["a", "b", "c"]);
    from(state, &[update("a", 5), update("b", 6), update("c", 7), closed(drawn)])
}

fn opened(name: &str) -> RoundEvent {
    RoundEvent::Opened { participant_id: site(name), at: at(3) }
}

fn proven(name: &str) -> RoundEvent {
    RoundEvent::Proven { participant_id: site(name), at: at(3) }
}

fn weightless(names: &[&str]) -> RoundEvent {
    RoundEvent::ProofsClosed { weightless: names.iter().map(|name| site(name)).collect(), at: at(4) }
}

fn survived(state: &RoundState) -> (Vec<&ParticipantId>, Vec<&ParticipantId>) {
    let RoundState::Agreeing(Agreeing { survived, .. }) = state else { panic!("{}", state.phase()) };
    (survived.accepted.keys().collect(), survived.dropped.iter().collect())
}

#[test]
fn survivors_agree_once_everybody_who_was_drawn_has_opened() {
    let state = assured(Assurance::Openings { sites: 1 }, &["b"]);
    assert_eq!((state.phase(), state.due(at(3)), state.awaited()), ("opening", None, vec![&site("b")]));
    assert_eq!(state.apply(&opened("a")), Err(IllegalTransition::NotTakingPart(site("a"))));
    let state = from(state, &[opened("b")]);
    assert_eq!(state.apply(&opened("b")), Ok(state.clone()));
    let state = state.apply(&state.due(at(4)).unwrap()).unwrap();
    assert_eq!(survived(&state), (vec![&site("a"), &site("b"), &site("c")], vec![]));
}

#[test]
fn who_does_not_open_counts_among_those_who_dropped() {
    let state = assured(Assurance::Openings { sites: 1 }, &["b"]);
    let late = state.apply(&state.due(state.deadline().unwrap()).unwrap()).unwrap();
    assert_eq!(survived(&late), (vec![&site("a"), &site("c")], vec![&site("b")]));
    let gone = from(state.clone(), &[lost("b")]);
    assert_eq!(gone.due(at(3)), Some(RoundEvent::OpeningsClosed { at: at(3) }));
    let convicted = from(state, &[RoundEvent::Excluded { participant_id: site("b"), at: at(3) }]);
    let went_on = convicted.apply(&convicted.due(at(3)).unwrap()).unwrap();
    assert_eq!(survived(&went_on), survived(&late));
}

#[test]
fn a_round_that_openings_leave_with_too_few_ends() {
    let state = assured(Assurance::Openings { sites: 2 }, &["b", "c"]);
    let ended = state.apply(&state.due(state.deadline().unwrap()).unwrap()).unwrap();
    let RoundState::Aborted(aborted) = &ended else { panic!("{}", ended.phase()) };
    assert_eq!(aborted.reason, AbortReason::NoQuorum { present: 1, needed: 2 });
}

#[test]
fn nobody_is_drawn_who_did_not_deliver() {
    let plan = RoundPlan { threshold: Some(2), assurance: Assurance::Openings { sites: 1 }, ..plan() };
    let state = from(collecting(plan, &["a", "b", "c"]), &[update("a", 5), update("b", 6)]);
    assert_eq!(state.apply(&closed(&["c"])), Err(IllegalTransition::NotTakingPart(site("c"))));
}

#[test]
fn whose_proof_is_missing_or_does_not_hold_has_no_weight() {
    let state = assured(Assurance::NormProofs { root: None }, &[]);
    assert_eq!((state.phase(), state.awaited().len()), ("proving", 3));
    let all = from(state.clone(), &[proven("a"), proven("b"), proven("c")]);
    assert_eq!(all.due(at(4)), Some(weightless(&[])));
    assert_eq!(survived(&from(all.clone(), &[weightless(&["b"])])).1, [&site("b")]);
    let two = from(state, &[proven("a"), proven("c")]);
    assert_eq!(two.due(at(4)), None);
    assert_eq!(survived(&from(two.clone(), &[weightless(&[])])).1, [&site("b")]);
    assert!(matches!(two.apply(&weightless(&["a"])), Ok(RoundState::Aborted(_))));
}

#[test]
fn all_prove_beside_a_root_that_has_opened_and_no_round_goes_on_without_it() {
    let state = assured(Assurance::NormProofs { root: Some(site("a")) }, &["a"]);
    assert_eq!(state.phase(), "opening");
    let proving = from(state.clone(), &[opened("a"), RoundEvent::OpeningsClosed { at: at(3) }]);
    assert_eq!((proving.phase(), proving.awaited().len()), ("proving", 3));
    let ended = state.apply(&state.due(state.deadline().unwrap()).unwrap()).unwrap();
    let RoundState::Aborted(aborted) = &ended else { panic!("{}", ended.phase()) };
    assert_eq!(aborted.reason, AbortReason::NoRoot { root: site("a") });
}
