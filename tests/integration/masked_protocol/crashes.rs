//! A coordinator that is killed at every write of a masked round in which one site drops out: it goes on to the same
//! candidate, says nothing twice in different words, and counts nobody twice.

use std::collections::BTreeSet;

use coordinator::Outcome;
use serde_json::{Value, json};
use shared::ParamVector;
use shared::masking::Assurance;
use shared::round::RoundEvent;

use super::federation::{Federation, PATIENCE, first, site, task_id};
use crate::simulation::ground::{Break, When};
use crate::simulation::is_internal;

/// What closes a phase.
const CLOSINGS: [&str; 8] = [
    "join_closed",
    "collection_closed",
    "openings_closed",
    "proofs_closed",
    "agreement_closed",
    "reveals_closed",
    "aggregated",
    "committed",
];

fn nothing() -> Value {
    json!({"kind": "none"})
}

/// Everything that a task may ask of updates that nobody sees.
fn all() -> Vec<Value> {
    vec![nothing(), json!({"kind": "openings", "sites": 1}), json!({"kind": "norm_proofs", "root": "a"})]
}

/// What must have closed a phase, once each and in this order.
fn closings_of(federation: &Federation) -> Vec<&'static str> {
    let assurance = federation.task.assurance();
    let asked = |name: &&str| match *name {
        "openings_closed" => matches!(assurance, Assurance::Openings { .. }) || assurance.root().is_some(),
        "proofs_closed" => matches!(assurance, Assurance::NormProofs { .. }),
        _ => true,
    };
    CLOSINGS.into_iter().filter(asked).collect()
}

/// Runs a round in which `e` drops out after it joined; the coordinator is started again whenever it died. How often it
/// did.
fn survive(federation: &mut Federation) -> u32 {
    let mut deaths = 0;
    for _ in 0..PATIENCE {
        if federation.phase() == "collecting" {
            federation.gone = [site("e")].into();
        }
        for name in federation.present() {
            let acted = federation.act(name);
            deaths += u32::from(acted.is_err_and(|error| is_internal(&error) && restart(federation)));
        }
        let passed = federation.try_pass();
        deaths += u32::from(passed.is_err_and(|error| is_internal(&error) && restart(federation)));
        if federation.core.outcome(&task_id()).unwrap().is_some() {
            return deaths;
        }
    }
    panic!("the task does not end: {:?}", federation.core.state(&task_id()));
}

/// The process is gone, with all that was not synced, and another one takes up what there is.
fn restart(federation: &mut Federation) -> bool {
    federation.bed.crash(&mut || false);
    federation.core = federation.bed.open().unwrap();
    true
}

/// What an undisturbed round comes to, and how often it changes the disk.
fn undisturbed(assurance: &Value) -> (ParamVector, u64) {
    let mut federation = Federation::with(assurance);
    let before = federation.bed.disk.operations();
    assert_eq!(survive(&mut federation), 0);
    (federation.candidate(), federation.bed.disk.operations() - before)
}

fn judge(mut federation: Federation, expected: &ParamVector, what: &str) {
    // What is durable decides, not what the process believed.
    restart(&mut federation);
    let outcome = federation.core.outcome(&task_id()).unwrap();
    assert!(matches!(outcome, Some(Outcome::Released { .. })), "{what}: {outcome:?}");
    let record = federation.core.record(&first()).unwrap().expect("the first round is the one that counts");
    assert_eq!(record.accepted.keys().cloned().collect::<BTreeSet<_>>(), ["a", "b", "c", "d"].map(site).into());
    assert_eq!(&federation.candidate(), expected, "{what}");
    for (stage, words) in &federation.words {
        assert_eq!(words.len(), 1, "{what}: two words on {stage:?}");
    }
    let events = federation.bed.events();
    let mut heard = BTreeSet::new();
    for event in &events {
        let who = match event {
            RoundEvent::Opened { participant_id, .. }
            | RoundEvent::Proven { participant_id, .. }
            | RoundEvent::Agreed { participant_id, .. }
            | RoundEvent::Revealed { participant_id, .. } => participant_id,
            _ => continue,
        };
        assert!(heard.insert((event.name(), who.clone())), "{what}: {event:?} twice");
    }
    let closings = events.iter().map(RoundEvent::name).filter(|name| CLOSINGS.contains(name));
    assert_eq!(closings.collect::<Vec<_>>(), closings_of(&federation), "{what}");
    federation.core.verify_log().unwrap();
}

#[test]
fn the_sum_of_those_who_delivered_is_their_exact_mean_without_the_one_who_dropped_out() {
    let (candidate, _) = undisturbed(&nothing());
    // (1 + 2 + 3 + 4) / 4 quarters, up to a step of the grid.
    assert!(candidate.as_slice().iter().all(|value| (value - 0.625).abs() < 2e-5), "{candidate:?}");
}

#[test]
fn a_kill_before_or_after_any_write_of_a_masked_round_changes_nothing_in_the_end() {
    for (assurance, when) in all().into_iter().flat_map(|kind| [(kind.clone(), When::Before), (kind, When::After)]) {
        let (expected, _) = undisturbed(&assurance);
        let mut kills = 0_u8;
        loop {
            let mut federation = Federation::with(&assurance);
            federation.bed.arm(Break::Store(kills, when));
            let deaths = survive(&mut federation);
            let is_over = deaths == 0 && !federation.bed.is_dead();
            judge(federation, &expected, &format!("{assurance}, {when:?} write {kills}"));
            if is_over {
                break;
            }
            kills += 1;
        }
        assert!(kills > 30, "only {kills} writes");
    }
}

#[test]
fn a_kill_at_any_change_of_the_disk_in_a_masked_round_changes_nothing_in_the_end() {
    for assurance in all() {
        let (expected, changes) = undisturbed(&assurance);
        assert!(changes > 10, "only {changes} changes");
        for change in 0..u8::try_from(changes).unwrap() {
            let mut federation = Federation::with(&assurance);
            federation.bed.arm(Break::Disk(change));
            survive(&mut federation);
            judge(federation, &expected, &format!("{assurance}, change {change}"));
        }
    }
}
