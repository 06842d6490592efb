//! What a veto sees and says, and that the OPA features we claim behave as OPA documents them.

use std::collections::BTreeMap;

use shared::asset::{Asset, Criticality};
use shared::decision::{ContainmentAction, DecisionContext, Requester};
use shared::{AssetId, Explain, ReleaseId};

use super::*;

fn request() -> DecisionRequest {
    DecisionRequest {
        requester: Requester::Release {
            release_id: ReleaseId::new("fraud-7").unwrap(),
            signed: true,
            validated: true,
            age_days: 3,
        },
        action: ContainmentAction::Isolate,
        asset: Asset {
            asset_id: AssetId::new("reporting-reader").unwrap(),
            criticality: Criticality::Important,
            environment: "production".to_owned(),
            owner: "reporting".to_owned(),
            tags: BTreeMap::from([("subnet".to_owned(), "10.1.2.3".to_owned())]),
        },
        context: DecisionContext {
            score_bp: 9_900,
            reasons: ["failed_logins_300s", "new_address"].map(str::to_owned).into(),
            blast_radius: 1,
            playbook_step: 3,
            ..DecisionContext::default()
        },
    }
}

fn veto(body: &str) -> Result<Veto, RegoError> {
    Veto::parse([("site.rego", format!("package ringfence\nimport rego.v1\n{body}").as_str())])
}

fn said(body: &str, tier: Tier) -> Vec<String> {
    veto(body).unwrap().vetoes(&request(), tier).unwrap()
}

#[test]
fn a_veto_sees_the_request_and_the_tier_and_gives_its_reasons() {
    let body = r#"
        deny contains "never by a machine" if { input.tier == "automated"; input.action == "isolate" }
        deny contains sprintf("%s is not ours", [input.asset.owner]) if input.asset.owner == "reporting"
        deny contains "young release" if { input.requester.kind == "release"; input.requester.age_days < 1 }
        deny contains "unexplained" if count(input.context.reasons) == 0
    "#;
    assert_eq!(said(body, Tier::Automated), ["never by a machine", "reporting is not ours"]);
    assert_eq!(said(body, Tier::Assisted), ["reporting is not ours"]);
    assert_eq!(said("deny contains \"x\" if input.context.score_bp < 9900", Tier::Automated), Vec::<String>::new());
}

#[test]
fn what_is_no_veto_is_refused_at_load() {
    let refusals = [
        ("package ringfence\ndeny contains", "rego-syntax"),
        ("package ringfence\nimport rego.v1\nallow if true", "rego-no-rule"),
        ("package elsewhere\nimport rego.v1\ndeny contains \"x\" if true", "rego-no-rule"),
        ("package ringfence\nimport rego.v1\ndeny contains \"x\" if http.send({\"url\": \"x\"})", "rego-unusable"),
        ("package ringfence\nimport rego.v1\ndeny contains \"x\" if time.now_ns() > 0", "rego-unusable"),
        ("package ringfence\nimport rego.v1\ndeny contains \"x\" if rand.intn(\"a\", 2) == 1", "rego-random"),
        ("package ringfence\nimport rego.v1\ndeny contains \"x\" if opa.runtime().env", "rego-unusable"),
        ("package ringfence\nimport rego.v1\ndeny contains \"x\" if a\na if b\nb if a", "rego-unusable"),
    ];
    for (text, code) in refusals {
        let error = Veto::parse([("site.rego", text)]).err().unwrap_or_else(|| panic!("{text} was taken"));
        assert_eq!(error.code(), code, "{text}: {error}");
    }
}

#[test]
fn an_error_or_a_question_without_end_is_no_silent_yes() {
    let failing = veto("deny contains \"x\" if 1 / (input.context.active_containments) > 1").unwrap();
    assert_eq!(failing.vetoes(&request(), Tier::Automated).unwrap_err().code(), "rego-evaluation");
    let odd = veto("deny := 3 if input.action").unwrap();
    assert_eq!(odd.vetoes(&request(), Tier::Automated).unwrap_err().code(), "rego-evaluation");
    let endless = "deny contains \"x\" if { input.action == \"isolate\"; some a in numbers.range(1, 3000); \
                   some b in numbers.range(1, 3000); a * b == -1 }";
    let error = veto(endless).unwrap().vetoes(&request(), Tier::Automated).unwrap_err();
    assert_eq!(error.code(), "rego-evaluation", "{error}");
}

/// Expressions of OPA's documentation (Policy Language, Policy Reference) that hold there.
const HOLDS: &[&str] = &[
    // Composite values, comprehensions, iteration.
    "[x | some x in [3, 1, 2]; x > 1] == [3, 2]",
    "{x | some x in [1, 1, 2]} == {1, 2}",
    "{k: v | some k, v in {\"a\": 1, \"b\": 2}; v > 1} == {\"b\": 2}",
    "every x in [1, 2] { x > 0 }",
    "not 3 in [1, 2]",
    "some i, \"b\" in [\"a\", \"b\"]; i == 1",
    "object.get({\"a\": {\"b\": 1}}, [\"a\", \"b\"], 0) == 1",
    // Functions, defaults, else, `with`.
    "double(3) == 6",
    "level == \"low\"",
    "level == \"high\" with input.context.score_bp as 10000",
    "kind(1) == \"number\"; kind(\"x\") == \"other\"",
    // Aggregates, numbers, sets, arrays, objects.
    "count(\"häß\") == 3",
    "sum([1, 2, 3.5]) == 6.5",
    "max({3, 1}) == 3; min([3, 1]) == 1; sort([3, 1, 2]) == [1, 2, 3]",
    "abs(-2) == 2; round(2.5) == 3; ceil(1.1) == 2; floor(-1.1) == -2; 7 % 3 == 1",
    "{1, 2} & {2, 3} == {2}; {1} | {2} == {1, 2}; {1, 2} - {2} == {1}",
    "array.concat([1], [2]) == [1, 2]; array.slice([1, 2, 3], 1, 2) == [2]; array.reverse([1, 2]) == [2, 1]",
    "object.union({\"a\": 1}, {\"b\": 2}) == {\"a\": 1, \"b\": 2}; object.keys({\"a\": 1}) == {\"a\"}",
    "object.remove({\"a\": 1, \"b\": 2}, [\"a\"]) == {\"b\": 2}",
    "json.filter({\"a\": {\"b\": 1, \"c\": 2}}, [\"a/b\"]) == {\"a\": {\"b\": 1}}",
    // Strings.
    "concat(\",\", [\"a\", \"b\"]) == \"a,b\"; split(\"a.b\", \".\") == [\"a\", \"b\"]; upper(\"a\") == \"A\"",
    "startswith(\"reader\", \"read\"); endswith(\"reader\", \"er\"); contains(\"reader\", \"ead\")",
    "sprintf(\"%d %s %v\", [1, \"a\", {\"b\": true}]) == \"1 a {\\\"b\\\": true}\"",
    "trim_prefix(\"db-main\", \"db-\") == \"main\"; replace(\"a-b\", \"-\", \"_\") == \"a_b\"; indexof(\"abc\", \"c\") == 2",
    "strings.any_prefix_match([\"prod-1\"], [\"prod\", \"test\"])",
    "format_int(255, 16) == \"ff\"; to_number(\"12\") == 12",
    // Regular expressions, globs, networks, encodings, types, bits.
    "regex.match(`^rep.*er$`, \"reporting-reader\")",
    "regex.replace(\"a1b2\", `[0-9]`, \"\") == \"ab\"; regex.find_n(`[a-z]`, \"a1b2\", 1) == [\"a\"]",
    "glob.match(\"*.example.com\", [\".\"], \"api.example.com\"); not glob.match(\"*.com\", [\".\"], \"a.b.com\")",
    "net.cidr_contains(\"10.0.0.0/8\", input.asset.tags.subnet)",
    "base64.encode(\"hi\") == \"aGk=\"; base64.decode(\"aGk=\") == \"hi\"; hex.encode(\"hi\") == \"6869\"",
    "json.unmarshal(json.marshal({\"a\": [1, null]})) == {\"a\": [1, null]}",
    "is_string(\"a\"); is_set({1}); type_name(null) == \"null\"",
    "bits.and(6, 3) == 2; bits.lsh(1, 4) == 16",
];

const DEFINITIONS: &str = r#"
    double(x) := x * 2
    default level := "low"
    level := "high" if input.context.score_bp >= 10000
    kind(x) := "number" if { is_number(x) } else := "other"
"#;

#[test]
fn the_opa_features_we_claim_behave_as_opa_documents_them() {
    for expression in HOLDS {
        let body = format!("{DEFINITIONS}\ndeny contains \"holds\" if {{ {expression} }}");
        assert_eq!(said(&body, Tier::Automated), ["holds"], "{expression}");
        // That it can fail too.
        let body = format!("{DEFINITIONS}\nholds if {{ {expression} }}\ndeny contains \"fails\" if not holds");
        assert_eq!(said(&body, Tier::Automated), Vec::<String>::new(), "{expression}");
    }
}
