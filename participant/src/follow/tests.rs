//! The table of what is due, and that following it through a round of trouble repeats nothing.

use shared::{RoundId, TaskId, Timestamp};

use super::*;

const CHECKPOINT: Digest = Digest([1; 32]);
const CANDIDATE: Digest = Digest([2; 32]);
const CONTROL: Digest = Digest([3; 32]);
const CARRY: LatePolicy = LatePolicy::Carry { rounds: 2 };
const N: RoundNumber = RoundNumber(7);

const PHASES: [Phase; 11] = [
    Phase::Announced,
    Phase::Collecting,
    Phase::Opening,
    Phase::Proving,
    Phase::Agreeing,
    Phase::Unmasking,
    Phase::Collected,
    Phase::Aggregated,
    Phase::Evaluated,
    Phase::Committed,
    Phase::Aborted,
];

/// Round 7 in `phase`, to which the site is invited.
fn view(phase: Phase) -> RoundView {
    RoundView {
        round_id: RoundId { task_id: TaskId::new("guard").unwrap(), number: N },
        phase,
        checkpoint: CHECKPOINT,
        candidate: None,
        control: None,
        deadline: None,
        joined: 0,
        accepted: 0,
        quorum: 1,
        invited: true,
        caller_joined: false,
        caller_accepted: false,
        caller_done: false,
        task_state: TaskState::Running,
        rounds_done: 6,
        sent_at: Timestamp::EPOCH,
    }
}

fn joined(phase: Phase) -> RoundView {
    RoundView { caller_joined: true, ..view(phase) }
}

fn accepted(phase: Phase) -> RoundView {
    RoundView { caller_accepted: true, candidate: Some(CANDIDATE), ..joined(phase) }
}

fn nothing() -> Held {
    Held::default()
}

fn prepared(number: u32) -> Held {
    Held { prepared: Some(RoundNumber(number)), ..nothing() }
}

fn with(params: &[Digest]) -> Held {
    Held { params: params.to_vec(), ..nothing() }
}

fn check(cases: &[(&str, RoundView, LatePolicy, Held, Action)]) {
    for (what, view, late, held, expected) in cases {
        assert_eq!(due(view, *late, held), *expected, "{what}");
    }
}

#[test]
fn a_round_is_joined_once_by_whoever_is_invited() {
    let uninvited = RoundView { invited: false, ..view(Phase::Announced) };
    let told = Held { joined: Some(N), ..nothing() };
    let before = Held { joined: Some(RoundNumber(6)), ..nothing() };
    check(&[
        ("an invitation", view(Phase::Announced), LatePolicy::Drop, nothing(), Action::Join),
        ("no invitation", uninvited, LatePolicy::Drop, nothing(), Action::Wait),
        ("the coordinator says so", joined(Phase::Announced), LatePolicy::Drop, nothing(), Action::Wait),
        ("it has just answered", view(Phase::Announced), LatePolicy::Drop, told, Action::Wait),
        ("another round", view(Phase::Announced), LatePolicy::Drop, before, Action::Join),
        ("with an update to carry", view(Phase::Announced), CARRY, prepared(6), Action::Join),
    ]);
}

#[test]
fn a_collecting_round_is_fetched_trained_and_delivered_in_this_order() {
    let scaffold = RoundView { control: Some(CONTROL), ..joined(Phase::Collecting) };
    let told = Held { joined: Some(N), ..with(&[CHECKPOINT]) };
    let done = Held { delivered: Some(N), ..with(&[CHECKPOINT]) };
    check(&[
        ("not joined", view(Phase::Collecting), LatePolicy::Drop, nothing(), Action::Wait),
        ("nothing at hand", joined(Phase::Collecting), LatePolicy::Drop, nothing(), Action::Fetch(CHECKPOINT)),
        ("another model at hand", joined(Phase::Collecting), CARRY, with(&[CANDIDATE]), Action::Fetch(CHECKPOINT)),
        ("the checkpoint at hand", joined(Phase::Collecting), LatePolicy::Drop, with(&[CHECKPOINT]), Action::Train),
        ("an old view of a join", view(Phase::Collecting), LatePolicy::Drop, told, Action::Train),
        ("a control variate", scaffold.clone(), CARRY, with(&[CHECKPOINT]), Action::Fetch(CONTROL)),
        ("both vectors", scaffold, CARRY, with(&[CONTROL, CHECKPOINT]), Action::Train),
        ("prepared", joined(Phase::Collecting), LatePolicy::Drop, prepared(7), Action::Deliver(N)),
        ("an old view of a delivery", joined(Phase::Collecting), LatePolicy::Drop, done, Action::Wait),
        ("delivered", accepted(Phase::Collecting), LatePolicy::Drop, with(&[CHECKPOINT]), Action::Wait),
        ("the receipt was lost", accepted(Phase::Collecting), LatePolicy::Drop, prepared(7), Action::Deliver(N)),
    ]);
}

#[test]
fn a_late_update_is_carried_as_far_as_the_policy_goes_and_then_dropped() {
    let uninvited = RoundView { invited: false, ..view(Phase::Collecting) };
    let counted = Held { delivered: Some(N), ..prepared(6) };
    let [six, five, four] = [6, 5, 4].map(RoundNumber);
    let buffered = LatePolicy::Buffered { rounds: 1 };
    check(&[
        ("carried without joining", view(Phase::Collecting), CARRY, prepared(6), Action::Deliver(six)),
        ("carried before training", joined(Phase::Collecting), CARRY, prepared(5), Action::Deliver(five)),
        ("too stale", view(Phase::Collecting), CARRY, prepared(4), Action::Drop(four)),
        ("buffered", view(Phase::Collecting), buffered, prepared(6), Action::Deliver(six)),
        ("its round closed, the next one takes it", joined(Phase::Collected), CARRY, prepared(7), Action::Wait),
        ("its round closed for good", joined(Phase::Collected), LatePolicy::Drop, prepared(7), Action::Drop(N)),
        ("its round was aborted", joined(Phase::Aborted), LatePolicy::Drop, prepared(7), Action::Drop(N)),
        ("the last round that would take it closed", view(Phase::Aggregated), CARRY, prepared(5), Action::Drop(five)),
        ("not invited to this one", uninvited, CARRY, prepared(6), Action::Wait),
        ("one update a round", view(Phase::Collecting), CARRY, counted, Action::Wait),
        ("a view from before", view(Phase::Collecting), CARRY, prepared(8), Action::Wait),
    ]);
}

#[test]
fn a_candidate_is_evaluated_once_by_those_whose_update_is_in_it() {
    let done = Held { evaluated: Some(N), ..with(&[CANDIDATE]) };
    let before = Held { evaluated: Some(RoundNumber(6)), ..with(&[CANDIDATE]) };
    let unknown = RoundView { candidate: None, ..accepted(Phase::Aggregated) };
    let stranger = RoundView { caller_accepted: false, ..accepted(Phase::Aggregated) };
    check(&[
        ("nothing at hand", accepted(Phase::Aggregated), LatePolicy::Drop, nothing(), Action::Fetch(CANDIDATE)),
        ("at hand", accepted(Phase::Aggregated), LatePolicy::Drop, before, Action::Evaluate(CANDIDATE)),
        ("reported", accepted(Phase::Aggregated), LatePolicy::Drop, done, Action::Wait),
        ("the receipt comes first", accepted(Phase::Aggregated), LatePolicy::Drop, prepared(7), Action::Deliver(N)),
        ("no candidate yet", unknown, LatePolicy::Drop, nothing(), Action::Wait),
        ("no update in it", stranger, LatePolicy::Drop, with(&[CANDIDATE]), Action::Wait),
    ]);
}

#[test]
fn a_phase_that_is_sat_out_asks_for_nothing_but_the_next_one_does() {
    let sits_out = |phase| Held { sits_out: Some((N, phase)), ..prepared(7) };
    check(&[
        ("this phase", joined(Phase::Collecting), CARRY, sits_out(Phase::Collecting), Action::Wait),
        ("another phase", joined(Phase::Collecting), CARRY, sits_out(Phase::Announced), Action::Deliver(N)),
        (
            "what is vain goes all the same",
            joined(Phase::Aborted),
            LatePolicy::Drop,
            sits_out(Phase::Aborted),
            Action::Drop(N),
        ),
    ]);
}

/// Everything that a site may hold, small numbers of rounds.
fn every_held() -> Vec<Held> {
    let rounds = [None, Some(RoundNumber(5)), Some(N), Some(RoundNumber(8))];
    let mut all = Vec::new();
    for prepared in rounds {
        for joined in rounds {
            for delivered in rounds {
                for params in [vec![], vec![CHECKPOINT], vec![CHECKPOINT, CANDIDATE]] {
                    all.push(Held { joined, prepared, delivered, params, ..nothing() });
                }
            }
        }
    }
    all
}

#[test]
fn nothing_is_done_while_a_task_is_held_or_over() {
    for task_state in [TaskState::Paused, TaskState::Cancelled, TaskState::Refused, TaskState::Failed] {
        for phase in PHASES {
            let view = RoundView { task_state: task_state.clone(), ..joined(phase) };
            assert!(every_held().iter().all(|held| due(&view, CARRY, held) == Action::Wait));
        }
    }
}

#[test]
fn p1_no_view_makes_a_site_train_that_holds_an_update_or_whose_update_counts_in_the_round() {
    for phase in PHASES {
        for view in [view(phase), joined(phase), accepted(phase)] {
            for held in every_held() {
                for late in [LatePolicy::Drop, CARRY] {
                    let counts = view.caller_accepted || held.delivered == Some(N);
                    if held.prepared.is_some() || counts || phase != Phase::Collecting {
                        assert_ne!(due(&view, late, &held), Action::Train, "{phase:?} {held:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn r1_an_update_is_dropped_only_when_no_round_can_count_it() {
    for phase in PHASES {
        for view in [view(phase), joined(phase), accepted(phase)] {
            for held in every_held() {
                if let Action::Drop(trained_in) = due(&view, CARRY, &held) {
                    assert_eq!(Some(trained_in), held.prepared);
                    let behind = N.0 - trained_in.0;
                    let open = matches!(phase, Phase::Announced | Phase::Collecting) || view.caller_accepted;
                    assert!(behind > CARRY.max_staleness() || (behind == CARRY.max_staleness() && !open));
                }
            }
        }
    }
}

/// Follows a round with a coordinator that never loses what it took, and a site that crashes after every action.
#[test]
fn a_site_that_crashes_after_every_action_trains_and_delivers_once() {
    let (mut stored, mut actions) = (nothing(), Vec::new());
    let mut view = view(Phase::Announced);
    for _ in 0..40 {
        let mut held = Held { prepared: stored.prepared, evaluated: stored.evaluated, ..nothing() };
        // After the crash nothing is at hand, so that a fetch and what it is for happen in one life.
        let mut action = due(&view, LatePolicy::Drop, &held);
        while let Action::Fetch(digest) = action {
            held.params.push(digest);
            action = due(&view, LatePolicy::Drop, &held);
        }
        match action {
            Action::Join => view.caller_joined = true,
            Action::Train => stored.prepared = Some(N),
            Action::Deliver(_) if view.caller_accepted => stored.prepared = None,
            Action::Deliver(_) => view.caller_accepted = true,
            Action::Evaluate(_) => stored.evaluated = Some(N),
            Action::Wait => {
                view.phase = match view.phase {
                    Phase::Announced => Phase::Collecting,
                    Phase::Collecting => Phase::Aggregated,
                    _ => break,
                };
                view.candidate = (view.phase == Phase::Aggregated).then_some(CANDIDATE);
                continue;
            }
            Action::Open | Action::Prove | Action::Agree | Action::Reveal | Action::Verify(_) => panic!("{action:?}"),
            Action::Drop(_) | Action::Fetch(_) => panic!("{action:?}"),
        }
        actions.push(action);
    }
    // The first delivery's answer is lost in a crash: the second one is for the receipt.
    let expected = [Action::Join, Action::Train, Action::Deliver(N), Action::Deliver(N), Action::Evaluate(CANDIDATE)];
    assert_eq!(actions, expected);
}

#[test]
fn a_masked_round_is_agreed_on_unmasked_and_checked_before_it_is_evaluated() {
    let masked = || Held { masked: true, ..nothing() };
    assert_eq!(due(&accepted(Phase::Opening), LatePolicy::Drop, &masked()), Action::Open);
    assert_eq!(due(&accepted(Phase::Proving), LatePolicy::Drop, &masked()), Action::Prove);
    let agreeing = accepted(Phase::Agreeing);
    assert_eq!(due(&agreeing, LatePolicy::Drop, &masked()), Action::Agree);
    assert_eq!(due(&accepted(Phase::Unmasking), LatePolicy::Drop, &masked()), Action::Reveal);
    let done = RoundView { caller_done: true, ..agreeing.clone() };
    assert_eq!(due(&done, LatePolicy::Drop, &masked()), Action::Wait);
    let unreceipted = Held { prepared: Some(N), ..masked() };
    assert_eq!(due(&agreeing, LatePolicy::Drop, &unreceipted), Action::Deliver(N));
    assert_eq!(due(&joined(Phase::Agreeing), LatePolicy::Drop, &masked()), Action::Wait, "it dropped out");

    let aggregated = accepted(Phase::Aggregated);
    assert_eq!(due(&aggregated, LatePolicy::Drop, &masked()), Action::Fetch(CHECKPOINT));
    let held = Held { params: vec![CHECKPOINT], ..masked() };
    assert_eq!(due(&aggregated, LatePolicy::Drop, &held), Action::Verify(CANDIDATE));
    let verified = Held { verified: Some(N), ..held };
    assert_eq!(due(&aggregated, LatePolicy::Drop, &verified), Action::Fetch(CANDIDATE));
}
