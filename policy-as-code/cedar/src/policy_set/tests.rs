//! What a policy set accepts, refuses and answers.

use super::*;
use shared::asset::{Asset, Criticality};
use shared::decision::{ContainmentAction, DecisionContext, Requester};
use shared::{AssetId, Explain};

const SCHEMA: &str = include_str!("../../../schema/ringfence.cedarschema");

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn parse(policies: &str) -> Result<PolicySet, CedarError> {
    PolicySet::parse(&source("schema", SCHEMA), &[source("a.cedar", policies)])
}

fn refusal(policies: &str) -> CedarError {
    parse(policies).err().expect("must be refused")
}

fn request() -> DecisionRequest {
    DecisionRequest {
        requester: Requester::Responder { name: "Ada \"the\" on call".to_owned(), on_call: true },
        action: ContainmentAction::Throttle,
        asset: Asset {
            asset_id: AssetId::new("reporting").unwrap(),
            criticality: Criticality::Important,
            environment: "production".to_owned(),
            owner: "reporting".to_owned(),
            tags: [("pci".to_owned(), "true".to_owned())].into(),
        },
        context: DecisionContext {
            score_bp: 9_000,
            healthy_peers: 5,
            playbook_step: 1,
            reversible: true,
            ..DecisionContext::default()
        },
    }
}

#[test]
fn an_answer_names_the_policies_that_determined_it() {
    let set = parse(
        r#"@id("yes") permit(principal, action in Ringfence::Action::"contain", resource)
           when { resource.hasTag("pci") && resource.criticality == Ringfence::Criticality::"important" };
           @id("no") forbid(principal, action, resource) when { context.tier == Ringfence::Tier::"automated" };"#,
    )
    .unwrap();
    let automated = set.answer(&request(), Tier::Automated);
    assert_eq!((automated.allowed, automated.policies), (false, vec!["no".to_owned()]));
    let assisted = set.answer(&request(), Tier::Assisted);
    assert_eq!((assisted.allowed, assisted.policies), (true, vec!["yes".to_owned()]));
}

#[test]
fn an_erroring_forbid_refuses_although_cedar_drops_it() {
    let set = parse(
        r#"@id("yes") permit(principal, action, resource);
           @id("overflow") forbid(principal, action, resource) when { context.score_bp * 9223372036854775807 > 0 };"#,
    )
    .unwrap();
    let answer = set.answer(&request(), Tier::Automated);
    assert!(!answer.allowed);
    assert_eq!(answer.policies, ["yes"]);
    assert_eq!(answer.errors.len(), 1);
    assert!(answer.errors[0].contains("overflow"), "{answer:?}");
}

#[test]
fn what_cannot_be_served_is_refused_with_its_place() {
    let cases = [
        ("@id(\"a\")\npermit(principal, action, resorce);", "policy-syntax", Some(2)),
        ("permit(principal, action, resource);", "policy-no-id", None),
        (
            "@id(\"a\") permit(principal, action, resource);\n@id(\"a\") forbid(principal, action, resource);",
            "policy-duplicate-id",
            None,
        ),
        ("@id(\"a\")\npermit(principal, action, resource)\nwhen { context.colour == 3 };", "policy-invalid", Some(3)),
        ("@id(\"a\") permit(principal, action, resource) when { false };", "policy-invalid", None),
        ("@id(\"a\") permit(principal == ?principal, action, resource);", "policy-template", None),
    ];
    for (policies, code, line) in cases {
        let error = refusal(policies);
        assert_eq!(error.code(), code, "{policies}: {error}");
        assert!(error.to_string().contains("`a.cedar`"), "{error}");
        if let Some(line) = line {
            assert!(error.to_string().contains(&format!("line {line}")), "{error}");
        }
    }
}

#[test]
fn a_set_beyond_the_limits_is_refused_before_it_costs_much() {
    let policies = |count: usize| -> String {
        (0..count).map(|number| format!("@id(\"{number}\")permit(principal,action,resource);")).collect()
    };
    let (half, others) = (policies(6_000), policies(6_000).replace("@id(\"", "@id(\"x"));
    let sources = [source("a.cedar", &half), source("b.cedar", &others)];
    let refused = |sources: &[Source]| PolicySet::parse(&source("schema", SCHEMA), sources).err().expect("too large");
    for (sources, named) in [(&sources[..], "`b.cedar`"), (&[source("c.cedar", &policies(30_000))], "bytes in a file")]
    {
        let error = refused(sources);
        assert_eq!(error.code(), "policy-too-large");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_schema_without_a_field_of_the_request_is_refused() {
    let without = SCHEMA.replace("\"maintenance_window\": Bool,", "");
    let error = PolicySet::parse(&source("schema", &without), &[]).err().unwrap();
    assert_eq!(error.code(), "policy-schema-unfit", "{error}");
}

#[test]
fn a_failing_policy_test_says_what_differs() {
    let set = parse(r#"@id("yes") permit(principal, action, resource);"#).unwrap();
    let file = |decision: &str, reason: &str| {
        let case = serde_json::json!([{
            "name": "one",
            "request": {
                "principal": "Ringfence::Responder::\"ada\"",
                "action": "Ringfence::Action::\"rollback\"",
                "resource": "Ringfence::Asset::\"reporting\"",
                "context": {
                    "tier": {"__entity": {"type": "Ringfence::Tier", "id": "assisted"}},
                    "score_bp": 0, "false_positive_rate_bp": 0, "false_positive_rate_high_bp": 0, "reasons": [],
                    "blast_radius": 0, "service_blast_radius": 0, "site_blast_radius": 0, "healthy_peers": 0,
                    "active_containments": 0, "class_containments": 0, "recent_actions": 0, "playbook_step": 1,
                    "monitored_s": 0, "reversible": true, "maintenance_window": false, "kill_switch": false,
                    "approvals": 0
                }
            },
            "entities": [],
            "decision": decision, "reason": [reason], "num_errors": 0
        }]);
        set.run_tests(&source("t.json", &case.to_string())).unwrap().remove(0).failure
    };
    assert_eq!(file("allow", "yes"), None);
    assert!(file("deny", "yes").unwrap().contains("expected deny, got allow"));
    assert!(file("allow", "other").unwrap().contains("`other` did not determine"));
}
