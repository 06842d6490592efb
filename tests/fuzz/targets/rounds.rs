//! Sequences of well-formed events in any order, on the round's state machine: phases only go forward, who counts was
//! invited, a closed collection has its quorum, and what is due always fits.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use shared::encoding::Encoding;
use shared::participation::LatePolicy;
use shared::round::{AbortReason, AcceptedUpdate, RoundEvent, RoundPlan, RoundState};
use shared::task::Deadlines;
use shared::update::Evaluation;
use shared::{Digest, ParticipantId, RoundId, RoundNumber, TaskId, Timestamp};

/// Four are invited, and two strangers try.
const INVITED: u8 = 4;
const SITES: u8 = 6;
const ROUND: u32 = 5;

#[derive(Debug, Arbitrary)]
struct Plan {
    quorum: u8,
    goal: u8,
    root: Option<u8>,
    late: u8,
}

#[derive(Debug, Arbitrary)]
enum Op {
    Joined(u8),
    JoinClosed,
    Lost(u8),
    Returned(u8),
    Excluded(u8),
    Update {
        site: u8,
        payload: u8,
        behind: u8,
    },
    CollectionClosed,
    Aggregated(u8),
    Evaluated {
        site: u8,
        candidate: u8,
        count: i64,
    },
    EvaluationClosed,
    Committed,
    Aborted,
    /// Time passes, and what is due is done.
    Wait(u16),
}

fn site(number: u8) -> ParticipantId {
    ParticipantId::new(format!("s{}", number % SITES)).expect("a valid name")
}

fn round_id() -> RoundId {
    RoundId { task_id: TaskId::new("t").expect("a valid name"), number: RoundNumber(ROUND) }
}

fn plan(plan: &Plan) -> RoundPlan {
    let quorum = u32::from(plan.quorum % INVITED) + 1;
    RoundPlan {
        round_id: round_id(),
        task_digest: Digest([1; 32]),
        checkpoint: Digest([2; 32]),
        server_state: None,
        cohort: (0..INVITED).map(site).collect(),
        root: plan.root.map(|root| site(root % INVITED)),
        quorum,
        goal: quorum.max(u32::from(plan.goal % INVITED) + 1),
        late: match plan.late % 3 {
            0 => LatePolicy::Drop,
            1 => LatePolicy::Carry { rounds: 2 },
            _ => LatePolicy::Buffered { rounds: 2 },
        },
        deadlines: Deadlines { join_ms: 10, collect_ms: 20, evaluate_ms: 30 },
        announced_at: Timestamp::EPOCH,
    }
}

fn event(op: &Op, at: Timestamp) -> Option<RoundEvent> {
    Some(match *op {
        Op::Joined(who) => RoundEvent::Joined { participant_id: site(who), at },
        Op::JoinClosed => RoundEvent::JoinClosed { at },
        Op::Lost(who) => RoundEvent::Lost { participant_id: site(who), at },
        Op::Returned(who) => RoundEvent::Returned { participant_id: site(who), at },
        Op::Excluded(who) => RoundEvent::Excluded { participant_id: site(who), at },
        Op::Update { site: who, payload, behind } => {
            let trained_in = RoundNumber(ROUND.saturating_sub(u32::from(behind % 8)));
            let (payload, encoding) = (Digest([payload % 2; 32]), Encoding::F32);
            let update = AcceptedUpdate { payload, byte_count: 4, encoding, trained_in, weight: 1, local_steps: 1 };
            RoundEvent::UpdateAccepted { participant_id: site(who), update, at }
        }
        Op::CollectionClosed => RoundEvent::CollectionClosed { drawn: BTreeSet::new(), at },
        Op::Aggregated(candidate) => {
            RoundEvent::Aggregated { candidate: Digest([candidate % 2; 32]), server_state: None, at }
        }
        Op::Evaluated { site: who, candidate, count } => RoundEvent::EvaluationAccepted {
            evaluation: Evaluation {
                round_id: round_id(),
                participant_id: site(who),
                candidate: Digest([candidate % 2; 32]),
                true_positives: count,
                false_negatives: count,
                false_positives: count,
                true_negatives: count,
            },
            at,
        },
        Op::EvaluationClosed => RoundEvent::EvaluationClosed { at },
        Op::Committed => RoundEvent::Committed { record: Digest([3; 32]), at },
        Op::Aborted => RoundEvent::Aborted { reason: AbortReason::Operator, at },
        Op::Wait(_) => return None,
    })
}

/// The phases' order.
fn rank(state: &RoundState) -> u8 {
    match state {
        RoundState::Announced(_) => 0,
        RoundState::Collecting(_) => 1,
        RoundState::Collected(_) => 2,
        RoundState::Aggregated(_) => 3,
        RoundState::Evaluated(_) => 4,
        RoundState::Committed(_) | RoundState::Aborted(_) => 5,
    }
}

fn check(before: &RoundState, after: &RoundState) {
    assert!(rank(after) >= rank(before), "from {} to {}", before.phase(), after.phase());
    assert!(!before.is_closed() || before == after, "a closed round changed");
    let plan = after.plan();
    // Who sent a late update may be nobody's guest in this round, and is asked to evaluate all the same.
    let evaluates = matches!(after, RoundState::Aggregated(_));
    assert!(evaluates || after.awaited().iter().all(|id| plan.cohort.contains(*id)), "a stranger is waited for");
    if let RoundState::Collected(state) = after {
        let mut on_time = state.accepted.iter().filter(|(_, update)| update.trained_in == plan.round_id.number);
        assert!(on_time.all(|(id, _)| plan.cohort.contains(id)), "a stranger counts as if it were invited");
        if matches!(before, RoundState::Collecting(_)) {
            let accepted = u32::try_from(state.accepted.len()).expect("few");
            assert!(accepted >= plan.quorum, "{accepted} are no quorum of {}", plan.quorum);
        }
    }
}

fuzz_target!(|input: (Plan, Vec<Op>)| {
    let mut now = Timestamp::EPOCH;
    let mut state = RoundState::announce(plan(&input.0));
    for op in &input.1 {
        let event = match op {
            Op::Wait(micros) => {
                now = now.plus(std::time::Duration::from_micros(u64::from(*micros)));
                state.due(now)
            }
            _ => event(op, now),
        };
        let Some(event) = event else { continue };
        let before = state.clone();
        match state.advance(&event) {
            Ok(changed) => {
                assert_eq!(changed, before != state);
                check(&before, &state);
            }
            Err(refused) => {
                assert!(!matches!(op, Op::Wait(_)), "{event:?} was due and is refused: {refused}");
                assert_eq!(before, state);
            }
        }
    }
});
