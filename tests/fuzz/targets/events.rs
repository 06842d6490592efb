//! The round's events as they stand in the store, one JSON text a line: each is refused or decoded, and then applied to
//! a round in every phase. A refused event leaves the state as it was, and a closed round stays as it is.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shared::round::{RoundEvent, RoundPlan, RoundState};

/// A plan and the events that lead through every phase: what the seed corpus holds too.
static PHASES: LazyLock<Vec<RoundState>> = LazyLock::new(|| {
    let plan: RoundPlan = serde_json::from_str(include_str!("../seeds/plan.json")).expect("a plan");
    let mut state = RoundState::announce(plan);
    let mut states = vec![state.clone()];
    for line in include_str!("../seeds/events/whole-round.jsonl").lines() {
        let event: RoundEvent = serde_json::from_str(line).expect("an event");
        state = state.apply(&event).expect("an event that fits");
        states.push(state.clone());
    }
    states
});

fn apply(state: &mut RoundState, event: &RoundEvent) {
    let before = state.clone();
    match state.advance(event) {
        Ok(changed) => {
            assert_eq!(changed, *state != before);
            assert!(!before.is_closed(), "{event:?} changed a closed round");
        }
        Err(_) => assert_eq!(*state, before, "{event:?} was refused and changed the round"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut all = PHASES[0].clone();
    for line in bytes.split(|byte| *byte == b'\n').take(32) {
        let Ok(event) = serde_json::from_slice::<RoundEvent>(line) else { continue };
        let text = serde_json::to_vec(&event).expect("a decoded event has a text");
        assert_eq!(serde_json::from_slice::<RoundEvent>(&text).ok().as_ref(), Some(&event));
        PHASES.iter().for_each(|state| apply(&mut state.clone(), &event));
        apply(&mut all, &event);
    }
});
