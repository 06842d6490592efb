//! How a task, a call and a release become requests, and what policies answer.

use std::collections::BTreeSet;

use shared::Timestamp;

use super::*;

const SCHEMA: &str = include_str!("../../../schema/governance.cedarschema");

fn policies(text: &str) -> GovernancePolicies {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    GovernancePolicies::parse(&source("schema", SCHEMA), &[source("a.cedar", text)]).unwrap()
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

fn answer(policies: &GovernancePolicies, task: &Task, epsilon: f64) -> GovernanceAnswer {
    let sources = BTreeSet::from(["postgres".to_owned()]);
    policies.answer(&GovernanceRequest::Admit(AdmissionRequest {
        operator_key: "ab12",
        task,
        epsilon,
        sources: &sources,
    }))
}

#[test]
fn a_schema_describes_exactly_the_attributes_that_a_task_has() {
    let (task, sources) = (task(), BTreeSet::new());
    let request = AdmissionRequest { operator_key: "ab12", task: &task, epsilon: 1.0, sources: &sources };
    let names = |attributes: Attributes| attributes.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    assert_eq!(names(task::attributes(&request)), names(task::specimen()));
}

#[test]
fn numbers_are_rounded_against_the_operator() {
    let exact = r#"@id("exact") permit(principal == Ringfence::Operator::"ab12", action == Ringfence::Action::"admit", resource) when {
        resource.epsilon_milli == 1501 && resource.ceiling_epsilon_milli == 2001 && resource.noise_milli == 1234 &&
        resource.ceiling_delta_e12 == 1000000 && resource.cohort == 2 && resource.rule == "mean" &&
        resource.local_training == "plain" && resource.mechanism == "sampled_gaussian" &&
        resource.server_step == "plain" && resource.encodings == ["f32"] &&
        resource.sources.contains("postgres") && resource.parameters == 5 };"#;
    assert!(answer(&policies(exact), &task(), 1.5001).allowed);
    let mut noiseless = task();
    noiseless.recipe.noise_multiplier = None;
    let none = r#"@id("none") permit(principal, action == Ringfence::Action::"admit", resource) when { resource.noise_milli == 0 };"#;
    assert!(answer(&policies(none), &noiseless, 1.0).allowed);
}

#[test]
fn an_epsilon_that_is_no_number_is_the_largest() {
    let bounded = r#"@id("yes") permit(principal, action == Ringfence::Action::"admit", resource) when { resource.epsilon_milli < 1000000 };"#;
    for epsilon in [f64::NAN, f64::INFINITY] {
        assert!(!answer(&policies(bounded), &task(), epsilon).allowed);
    }
}

#[test]
fn a_refusal_names_the_policy_and_an_error_refuses() {
    let permit = r#"@id("yes") permit(principal, action, resource);"#;
    let forbid = format!(
        r#"{permit} @id("no") forbid(principal, action == Ringfence::Action::"admit", resource) when {{ resource.rounds > 2 }};"#
    );
    let refused = answer(&policies(&forbid), &task(), 1.0);
    assert_eq!((refused.allowed, refused.policies), (false, vec!["no".to_owned()]));
    let overflow = format!(
        r#"{permit} @id("overflow") forbid(principal, action == Ringfence::Action::"admit", resource)
           when {{ resource.rounds * 9223372036854775807 > 0 }};"#
    );
    let refused = answer(&policies(&overflow), &task(), 1.0);
    assert!(!refused.allowed && refused.errors.len() == 1, "{refused:?}");
    let nothing = answer(&policies(r#"@id("no") forbid(principal, action, resource);"#), &task(), 1.0);
    assert!(!nothing.allowed);
}

fn release(changed: serde_json::Value) -> Release {
    let mut release = serde_json::json!({
        "release_id": "guard-7", "round_id": {"task_id": "guard", "number": 7}, "task_digest": "00".repeat(32),
        "round_record": "00".repeat(32), "model": {"inputs": 4, "hidden": []}, "params": "00".repeat(32),
        "feature_view": {"name": "datastore", "version": 1, "digest": "00".repeat(32)},
        "privacy": {"epsilon": 2.0001, "delta": 1e-6}, "released_at": "2026-03-20T12:00:00Z", "replaces": null,
        "tally": {"sites": 3, "true_positives": 2, "false_negatives": 1, "false_positives": 1, "true_negatives": 999_998}
    });
    release.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
    serde_json::from_value(release).unwrap()
}

fn promoted(policies: &GovernancePolicies, release: &Release, name: &str, role: &str) -> GovernanceAnswer {
    let now: Timestamp = "2026-03-22T11:00:00Z".parse().unwrap();
    policies.answer(&GovernanceRequest::Promote(Caller { name, role }, release, now))
}

#[test]
fn a_schema_describes_exactly_the_attributes_that_a_release_has() {
    let names = |attributes: Attributes| attributes.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    let release = release(serde_json::json!({}));
    assert_eq!(names(release::attributes(&release, release.released_at)), names(release::specimen()));
}

#[test]
fn a_release_is_what_its_coordinator_signed_and_rates_are_rounded_up() {
    let exact = r#"@id("exact") permit(principal in Ringfence::Role::"operator", action == Ringfence::Action::"promote",
        resource == Ringfence::Release::"guard-7") when {
        resource.age_days == 1 && resource.epsilon_milli == 2001 && resource.delta_e12 == 1000000 && resource.sites == 3 &&
        resource.miss_rate_bp == 3334 && resource.false_positive_rate_bp == 1 && resource.parameters == 5 &&
        resource.feature_view == "datastore" && resource.task == "guard" && !resource.recomputed };"#;
    let (policies, signed) = (policies(exact), release(serde_json::json!({})));
    assert_eq!(promoted(&policies, &signed, "ann", "operator").policies, ["exact"]);
    assert!(!promoted(&policies, &signed, "ann", "auditor").allowed);
    assert!(!promoted(&policies, &release(serde_json::json!({"replaces": "guard-6"})), "ann", "operator").allowed);
}

#[test]
fn what_is_not_known_of_a_release_counts_against_it() {
    let unknown = r#"@id("unknown") permit(principal, action == Ringfence::Action::"promote", resource) when {
        resource.epsilon_milli == 9223372036854775807 && resource.delta_e12 == 1000000000000 &&
        resource.miss_rate_bp == 10000 && resource.false_positive_rate_bp == 10000 };"#;
    let tally = serde_json::json!({
        "sites": 0, "true_positives": -3, "false_negatives": 0, "false_positives": 0, "true_negatives": -1
    });
    let release = release(serde_json::json!({"privacy": null, "tally": tally}));
    assert!(promoted(&policies(unknown), &release, "ann", "viewer").allowed);
}

#[test]
fn a_token_may_do_what_its_role_and_its_name_permit_and_nothing_that_no_schema_knows() {
    let text = r#"@id("see") permit(principal in Ringfence::Role::"viewer", action in Ringfence::Action::"read", resource);
        @id("deploy") permit(principal == Ringfence::Caller::"deployer",
            action == Ringfence::Action::"POST /api/v1/releases/{release_id}/promote", resource);"#;
    let policies = policies(text);
    let asked = |name, role, call| policies.answer(&GovernanceRequest::Call(Caller { name, role }, call));
    const PROMOTE: &str = "POST /api/v1/releases/{release_id}/promote";
    for role in ["viewer", "auditor", "operator"] {
        assert_eq!(asked("ann", role, "GET /api/v1/tasks").policies, ["see"], "{role}");
        assert!(!asked("ann", role, PROMOTE).allowed, "{role}");
        assert_eq!(asked("deployer", role, PROMOTE).policies, ["deploy"], "{role}");
    }
    assert!(!asked("ann", "guest", "GET /api/v1/tasks").allowed);
    let unknown = asked("ann", "viewer", "GET /api/v1/secrets");
    assert!(!unknown.allowed && unknown.errors.len() == 1, "{unknown:?}");
}

#[test]
fn entities_in_a_circle_are_refused_by_name() {
    let role = |id: &str, parent: &str| {
        serde_json::json!({
            "uid": { "type": "Ringfence::Role", "id": id }, "attrs": {},
            "parents": [{ "type": "Ringfence::Role", "id": parent }]
        })
    };
    let text = serde_json::json!([{
        "name": "round and round",
        "request": {
            "principal": "Ringfence::Caller::\"ada\"", "action": "Ringfence::Action::\"promote\"",
            "resource": "Ringfence::Release::\"guard-7\"", "context": {}
        },
        "entities": [role("auditor", "viewer"), role("viewer", "auditor")],
        "decision": "deny", "reason": [], "num_errors": 0
    }]);
    let file = Source { path: "tests/governance/circle.json".to_owned(), text: text.to_string() };
    let error = policies("@id(\"a\") permit(principal, action, resource);").run_tests(&file).unwrap_err().to_string();
    for part in ["`tests/governance/circle.json`", "test `round and round`", "cycle", "Ringfence::Role::"] {
        assert!(error.contains(part), "{part} is missing from: {error}");
    }
}
