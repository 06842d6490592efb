//! Which mutants a policy has, how they read, and which way they shift the answers.

use shared::Explain;

use super::*;
use crate::{PolicySet as Containment, Source, TestSuite};

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn suite(policies: &str, tests: &str) -> TestSuite {
    let schema = source("ringfence.cedarschema", include_str!("../../../schema/ringfence.cedarschema"));
    let set = Containment::parse(&schema, &[source("policies/a.cedar", policies)]).unwrap();
    set.suite(&[source("tests/a.json", tests)]).unwrap()
}

/// The mutants of one policy, as `slip: before → after (shift)`.
fn mutants(policy: &str) -> Vec<String> {
    let told = |mutant: &Mutant| {
        let (slip, shift) = (serde_json::to_value(mutant.slip).unwrap(), serde_json::to_value(mutant.shift).unwrap());
        format!("{}: {} → {} ({})", slip.as_str().unwrap(), mutant.before, mutant.after, shift.as_str().unwrap())
    };
    suite(policy, "[]").mutants(|_| true).unwrap().valid.iter().map(told).collect()
}

#[test]
fn every_part_of_a_policy_has_its_mutants() {
    let policy = r#"@id("a") permit (principal is Ringfence::Release, action == Ringfence::Action::"isolate", resource)
        when { context.reversible && (context.score_bp >= 9000 || !principal.signed) };"#;
    let removed = r#"permit(principal is Ringfence::Release, action == Ringfence::Action::"isolate", resource)"#;
    let found = mutants(policy);
    let (last, found) = found.split_last().unwrap();
    assert!(last.starts_with("policy_removed: @id(\"a\")\n") && last.contains(removed), "{last}");
    assert!(last.ends_with(" →  (permits_less)"), "{last}");
    let expected = [
        // Principal widened: a responder is neither signed nor unsigned.
        r#"scope_widened: action == Ringfence::Action::"isolate" → action (permits_more)"#,
        "conjunct_dropped: context.reversible →  (permits_more)",
        "negation_added: context.reversible → !context.reversible (permits_other)",
        "conjunct_dropped: (context.score_bp >= 9000) || (!principal.signed) →  (permits_more)",
        "disjunct_dropped: context.score_bp >= 9000 →  (permits_less)",
        "comparison_swapped: context.score_bp >= 9000 → context.score_bp > 9000 (permits_less)",
        "number_changed: context.score_bp >= 9000 → context.score_bp >= 8999 (permits_more)",
        "number_changed: context.score_bp >= 9000 → context.score_bp >= 90000 (permits_less)",
        "disjunct_dropped: !principal.signed →  (permits_less)",
        "negation_removed: !principal.signed → principal.signed (permits_other)",
        "effect_flipped: permit → forbid (permits_less)",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_a_forbid_loses_is_permitted_and_what_an_unless_loses_is_forbidden() {
    let policy = r#"@id("a") forbid (principal, action, resource) unless { 2 <= context.healthy_peers };"#;
    let found = mutants(policy);
    let expected = [
        "conjunct_dropped: 2 <= context.healthy_peers →  (permits_less)",
        "comparison_swapped: 2 <= context.healthy_peers → 2 < context.healthy_peers (permits_less)",
        "number_changed: 2 <= context.healthy_peers → 1 <= context.healthy_peers (permits_more)",
        "number_changed: 2 <= context.healthy_peers → 20 <= context.healthy_peers (permits_less)",
        "effect_flipped: forbid → permit (permits_more)",
    ];
    assert_eq!(found[..5], expected);
    assert!(found[5].starts_with("policy_removed") && found[5].ends_with("(permits_more)"), "{found:?}");
}

#[test]
fn chains_choices_and_numbers_deep_inside_are_edited_too() {
    let policy = r#"@id("a") permit (principal, action, resource)
        when { if context.reversible then context.blast_radius + 1 < 3 else context.score_bp == 0 };"#;
    let found = mutants(policy);
    for expected in [
        "negation_added: context.reversible → !context.reversible (permits_other)",
        "comparison_swapped: (context.blast_radius + 1) < 3 → (context.blast_radius + 1) <= 3 (permits_more)",
        "number_changed: (context.blast_radius + 1) < 3 → (context.blast_radius + 2) < 3 (permits_other)",
        "number_changed: (context.blast_radius + 1) < 3 → (context.blast_radius + 1) < 2 (permits_less)",
        "number_changed: context.score_bp == 0 → context.score_bp == 1 (permits_other)",
    ] {
        assert!(found.iter().any(|told| told == expected), "no `{expected}` in {found:#?}");
    }
    assert!(!found.iter().any(|told| told.contains("1) < 4")), "the swap does that already: {found:#?}");
}

#[test]
fn what_would_not_load_is_counted_and_left_out() {
    let policy = r#"@id("a") permit (principal, action, resource)
        when { resource.hasTag("x") && resource.getTag("x") == "true" };"#;
    let mutants = suite(policy, "[]").mutants(|_| true).unwrap();
    // Without the test for the tag, or with its opposite, the tag may not be read.
    assert_eq!(mutants.void, 2);
    assert!(mutants.valid.iter().all(|mutant| mutant.before != r#"resource.hasTag("x")"#));
}

#[test]
fn a_wider_scope_that_the_schema_makes_no_wider_is_no_mutant() {
    let policy = |scope: &str| format!("@id(\"a\") permit ({scope}) when {{ context.reversible }};");
    let widened = |scope: &str| {
        let mutants = suite(&policy(scope), "[]").mutants(|_| true).unwrap();
        let widened = mutants.valid.into_iter().filter(|mutant| mutant.slip == Slip::ScopeWidened);
        (widened.map(|mutant| mutant.after).collect::<Vec<_>>(), mutants.void)
    };
    let resources = "principal, action, resource is Ringfence::Asset";
    assert_eq!(widened(resources), (vec![], 1));
    assert_eq!(widened("principal, action, resource == Ringfence::Asset::\"a\""), (vec!["resource".to_owned()], 0));
    assert_eq!(widened("principal is Ringfence::Release, action, resource"), (vec!["principal".to_owned()], 0));
}

#[test]
fn a_mutant_dies_by_the_test_that_tells_it_apart_and_survives_without() {
    let policy = r#"@id("a") permit (principal, action, resource) when { context.score_bp >= 9000 };"#;
    let shipped: Value = serde_json::from_str(include_str!("../../../tests/automated.json")).unwrap();
    let test = |score: i64, decision: &str| {
        let mut test = shipped[0].clone();
        test["request"]["context"]["score_bp"] = json!(score);
        test["decision"] = json!(decision);
        test["reason"] = json!([]);
        test
    };
    let survivors = |tests: &[Value]| {
        let suite = suite(policy, &json!(tests).to_string());
        assert!(suite.outcomes().iter().all(|(_, outcome)| outcome.failure.is_none()));
        let mutants = suite.mutants(|_| true).unwrap().valid;
        let survivors = mutants.into_iter().filter(|mutant| suite.killed_by(mutant).unwrap().is_none());
        survivors.map(|mutant| mutant.after).collect::<Vec<_>>()
    };
    let all = ["context.score_bp > 9000", "context.score_bp >= 8999", "context.score_bp >= 90000"];
    assert_eq!(survivors(&[])[1..4], all);
    assert_eq!(survivors(&[test(9000, "allow")]), ["", "context.score_bp >= 8999"]);
    assert_eq!(survivors(&[test(9000, "allow"), test(8999, "deny")]), [""; 0]);
}

#[test]
fn a_test_that_no_policy_of_the_schema_can_be_asked_is_an_error() {
    let schema = source("ringfence.cedarschema", include_str!("../../../schema/ringfence.cedarschema"));
    let set = Containment::parse(&schema, &[]).unwrap();
    assert_eq!(set.suite(&[source("tests/a.json", "[{}]")]).err().unwrap().code(), "policy-test-file");
}
