//! Which mutants survive without tests, and that trials are complete, limited and repeatable.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::testing::{changed, shipped};

const LIMIT: usize = 10_000;

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn mutated(repository: &Repository) -> Mutated {
    Trials::prepare(repository, LIMIT).unwrap().run(threads(2), &|| {}).unwrap()
}

/// The shipped repository, with `text` in place of its tests of guardrails and of their limits.
fn with_guardrail_tests(text: &str) -> Repository {
    let shipped = shipped();
    let tests = [shipped.tests(None), shipped.governance_tests()].concat();
    let mut files: Vec<(&str, &str)> = tests.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    files.extend([("tests/guardrails.json", text), ("tests/limits.json", "[]")]);
    changed(&files)
}

#[test]
fn a_guardrail_without_a_test_is_the_first_of_the_survivors() {
    let mutated = mutated(&with_guardrail_tests("[]"));
    assert_eq!(mutated.killed + mutated.survivors.len(), mutated.mutants);
    let shifts: Vec<Shift> = mutated.survivors.iter().map(|survivor| survivor.shift).collect();
    assert!(shifts.is_sorted() && shifts.first() == Some(&Shift::PermitsMore), "{shifts:?}");
    let told = mutated.to_string();
    assert!(told.starts_with("no test notices that this permits more:\n  `"), "{told}");
    assert!(told.contains("`guard.quorum`: the policy removed\n"), "{told}");
    assert!(told.contains("`guard.quorum`: `context.healthy_peers < 2` made `context.healthy_peers < 1`\n"), "{told}");
}

#[test]
fn every_mutant_is_tried_once_and_the_order_does_not_depend_on_the_threads() {
    let trials = Trials::prepare(&with_guardrail_tests("[]"), LIMIT).unwrap();
    let tried = AtomicUsize::new(0);
    let count = || {
        tried.fetch_add(1, Ordering::SeqCst);
    };
    let one = trials.run(threads(1), &count).unwrap();
    assert_eq!((one.mutants, tried.load(Ordering::SeqCst)), (trials.count(), trials.count()));
    assert_eq!(trials.run(threads(3), &count).unwrap(), one);
}

#[test]
fn too_many_mutants_and_tests_that_fail_as_it_is_are_refused() {
    let error = Trials::prepare(&shipped(), 7).err().unwrap();
    assert_eq!(error.code(), "mutate-too-many");
    assert!(error.to_string().ends_with("more than the limit of 7"), "{error}");
    let wrong = shipped().tests(None).iter().find(|file| file.path.contains("guardrails")).unwrap().text.clone();
    let wrong = wrong.replacen("\"deny\"", "\"allow\"", 1);
    let error = Trials::prepare(&with_guardrail_tests(&wrong), LIMIT).err().unwrap();
    assert_eq!(error.code(), "mutate-test-fails");
    assert!(error.to_string().contains("`tests/guardrails.json` test `"), "{error}");
}
