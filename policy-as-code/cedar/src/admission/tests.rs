//! How a task becomes a request, and what policies answer.

use std::collections::BTreeSet;

use super::*;

const SCHEMA: &str = include_str!("../../../schema/admission.cedarschema");

fn policies(text: &str) -> AdmissionPolicies {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    AdmissionPolicies::parse(&source("schema", SCHEMA), &[source("a.cedar", text)]).unwrap()
}

fn task() -> Task {
    serde_json::from_value(serde_json::json!({
        "task_id": "guard", "title": "Attacks on data stores", "cohort": ["site-1", "site-2"], "quorum": 2, "rounds": 3,
        "feature_view": {"name": "datastore", "version": 1, "digest": "00".repeat(32)},
        "model": {"inputs": 4, "hidden": []},
        "recipe": {"local_steps": 5, "sampling_rate": 0.5, "learning_rate": 0.1, "momentum": 0.0, "clip_norm": 1.0,
                   "noise_multiplier": 1.2345},
        "privacy": {"unit": "record", "ceiling": {"epsilon": 2.0001, "delta": 1e-6}, "evaluation_rho": 1e-3},
        "deadlines": {"join_ms": 1000, "collect_ms": 1000, "evaluate_ms": 1000},
        "gates": {"min_true_positive_rate": 0.0, "max_false_positive_rate": 1.0},
        "seed": 7, "created_at": "2026-03-20T12:00:00Z"
    }))
    .unwrap()
}

fn answer(policies: &AdmissionPolicies, task: &Task, epsilon: f64) -> AdmissionAnswer {
    let sources = BTreeSet::from(["postgres".to_owned()]);
    policies.answer(&AdmissionRequest { operator_key: "ab12", task, epsilon, sources: &sources })
}

#[test]
fn a_schema_describes_exactly_the_attributes_that_a_task_has() {
    let (task, sources) = (task(), BTreeSet::new());
    let request = AdmissionRequest { operator_key: "ab12", task: &task, epsilon: 1.0, sources: &sources };
    let names = |attributes: Attributes| attributes.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    assert_eq!(names(attributes(&request)), names(specimen()));
}

#[test]
fn numbers_are_rounded_against_the_operator() {
    let exact = r#"@id("exact") permit(principal == Ringfence::Operator::"ab12", action, resource) when {
        resource.epsilon_milli == 1501 && resource.ceiling_epsilon_milli == 2001 && resource.noise_milli == 1234 &&
        resource.ceiling_delta_e12 == 1000000 && resource.cohort == 2 && resource.rule == "mean" &&
        resource.local_training == "plain" && resource.mechanism == "sampled_gaussian" &&
        resource.server_step == "plain" && resource.encodings == ["f32"] &&
        resource.sources.contains("postgres") && resource.parameters == 5 };"#;
    assert!(answer(&policies(exact), &task(), 1.5001).allowed);
    let mut noiseless = task();
    noiseless.recipe.noise_multiplier = None;
    let none = r#"@id("none") permit(principal, action, resource) when { resource.noise_milli == 0 };"#;
    assert!(answer(&policies(none), &noiseless, 1.0).allowed);
}

#[test]
fn an_epsilon_that_is_no_number_is_the_largest() {
    let bounded = r#"@id("yes") permit(principal, action, resource) when { resource.epsilon_milli < 1000000 };"#;
    for epsilon in [f64::NAN, f64::INFINITY] {
        assert!(!answer(&policies(bounded), &task(), epsilon).allowed);
    }
}

#[test]
fn a_refusal_names_the_policy_and_an_error_refuses() {
    let permit = r#"@id("yes") permit(principal, action, resource);"#;
    let forbid = format!(r#"{permit} @id("no") forbid(principal, action, resource) when {{ resource.rounds > 2 }};"#);
    let refused = answer(&policies(&forbid), &task(), 1.0);
    assert_eq!((refused.allowed, refused.policies), (false, vec!["no".to_owned()]));
    let overflow = format!(
        r#"{permit} @id("overflow") forbid(principal, action, resource)
           when {{ resource.rounds * 9223372036854775807 > 0 }};"#
    );
    let refused = answer(&policies(&overflow), &task(), 1.0);
    assert!(!refused.allowed && refused.errors.len() == 1, "{refused:?}");
    let nothing = answer(&policies(r#"@id("no") forbid(principal, action, resource);"#), &task(), 1.0);
    assert!(!nothing.allowed);
}
