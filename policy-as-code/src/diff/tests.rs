//! What a reviewer is told of a change: newly automated requests, refactors proven harmless, changed schemas.

use shared::detection::Tier;

use super::*;
use crate::testing::{changed, shipped, shipped_file, solver};

const HOT_FIX: &str = "@id(\"hotfix.ransomware\") permit (principal is Ringfence::Release,
    action in Ringfence::Action::\"contain\", resource)
    when { context.tier == Ringfence::Tier::\"automated\" && context.score_bp >= 9900 };";

/// The kinds of containment request that differ like that.
fn directions(report: &PolicyDiff, wanted: Direction) -> Vec<String> {
    let diffs = containment(report).filter(|diff| diff.direction == wanted);
    diffs.map(|diff| diff.environment.to_string()).collect()
}

fn containment(report: &PolicyDiff) -> impl Iterator<Item = &EnvironmentDiff> {
    report.environments.iter().filter(|diff| diff.environment.resource == "Asset")
}

#[test]
fn a_hot_fix_is_told_as_newly_automated_requests() {
    let Some(solver) = solver() else { return };
    let report = diff(&shipped(), &changed(&[("policies/90-hotfix.cedar", HOT_FIX)]), &solver).unwrap();
    let actions = ["disable_credential", "isolate", "terminate_sessions", "throttle"];
    assert_eq!(directions(&report, Direction::Widened), actions.map(|action| format!("Release {action} Asset")));
    assert_eq!(directions(&report, Direction::Equivalent).len(), 6);
    for diff in containment(&report).filter(|diff| diff.direction == Direction::Widened) {
        let [TierDiff { tier: Some(Tier::Automated), widened: Some(request), narrowed: None, unknown: None }] =
            &diff.tiers[..]
        else {
            panic!("{diff}")
        };
        let before = request.decided.unwrap().base;
        assert_eq!(request.decided, Some(Decided { base: before, head: Tier::Automated }));
        assert_ne!(before, Tier::Automated);
        assert_eq!(request.change.head.blame[0].policy, "hotfix.ransomware");
        assert!(!request.change.base.allowed);
    }
    let text = report.to_string();
    for part in [
        "WIDENED     Release isolate Asset",
        "Release isolate Asset: newly allowed at automated; the decision goes from assisted to automated",
        "before   permitted by no policy",
        "after    permitted by `hotfix.ransomware`, `policies/90-hotfix.cedar` line 1",
    ] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
}

#[test]
fn a_refactor_is_proven_equivalent() {
    let Some(solver) = solver() else { return };
    let path = "policies/30-guardrails.cedar";
    let quorum = shipped_file(path).replace("context.healthy_peers < 2", "!(context.healthy_peers >= 2)");
    let split = quorum.replace("context.playbook_step < 3 || context.monitored_s < 300", "context.monitored_s < 300");
    let other = "@id(\"guard.isolate-late\") forbid (principal, action == Ringfence::Action::\"isolate\", resource)
        when { context.playbook_step <= 2 && context.tier == Ringfence::Tier::\"automated\" };";
    let refactored = changed(&[(path, &split), ("policies/31-late.cedar", other)]);
    assert_ne!(refactored, shipped());
    let report = diff(&shipped(), &refactored, &solver).unwrap();
    assert!(report.equivalent(), "{report}");
    assert_eq!(directions(&report, Direction::Equivalent).len(), 10);
    let told = format!("{} environments proven equivalent", report.environments.len());
    assert!(report.to_string().contains(&told), "{report}");
    assert!(diff(&shipped(), &shipped(), &solver).unwrap().equivalent());
}

#[test]
fn a_change_in_both_directions_is_told_with_both_examples() {
    let Some(solver) = solver() else { return };
    let path = "policies/10-automated.cedar";
    let moved = shipped_file(path).replace("score_bp >= 7000", "score_bp >= 6900");
    let moved = moved.replace("false_positive_rate_bp <= 100", "false_positive_rate_bp <= 90");
    let report = diff(&shipped(), &changed(&[(path, &moved)]), &solver).unwrap();
    assert_eq!(directions(&report, Direction::Both), ["Release throttle Asset"]);
    let both = report.environments.iter().find(|diff| diff.direction == Direction::Both).unwrap();
    let example = |request: &Option<ChangedRequest>| request.clone().unwrap().change.example.request.unwrap().context;
    assert_eq!(example(&both.tiers[0].widened).score_bp, 6_999);
    assert_eq!(example(&both.tiers[0].narrowed).false_positive_rate_bp, 91);
}

#[test]
fn a_narrower_domain_narrows_what_policies_allow() {
    let Some(solver) = solver() else { return };
    let domain =
        shipped_file("schema/domain.toml").replace("[context.monitored_s]\nmin = 0", "[context.monitored_s]\nmin = 1");
    let report = diff(&shipped(), &changed(&[("schema/domain.toml", &domain)]), &solver).unwrap();
    assert_eq!(directions(&report, Direction::Narrowed).len(), 10, "{report}");
}

#[test]
fn where_the_schema_changed_nothing_is_called_equivalent() {
    let Some(solver) = solver() else { return };
    let schema = "schema/ringfence.cedarschema";
    let commented = format!("{}// A comment.\n", shipped_file(schema));
    let report = diff(&shipped(), &changed(&[(schema, &commented)]), &solver).unwrap();
    assert!(report.schema_changed && !report.equivalent());
    assert_eq!(directions(&report, Direction::Unknown).len(), 10);
    assert!(report.to_string().contains("The schema changed"), "{report}");

    let quarantine =
        shipped_file(schema).replace("\"isolate\" in [\"contain\"]", "\"isolate\", \"quarantine\" in [\"contain\"]");
    let head = changed(&[(schema, &quarantine), ("policies/90-hotfix.cedar", HOT_FIX)]);
    let report = diff(&shipped(), &head, &solver).unwrap();
    let added: Vec<String> = report.added.iter().map(ToString::to_string).collect();
    assert_eq!(added, ["Release quarantine Asset", "Responder quarantine Asset"]);
    assert_eq!(containment(&report).count(), 10);
    assert_eq!(directions(&report, Direction::Widened).len(), 4);
}

#[test]
fn a_change_of_one_site_is_told_as_that_sites() {
    let Some(solver) = solver() else { return };
    let path = "policies/sites/harbour-bank/10-payments.cedar";
    let lax = shipped_file(path).replace("principal.age_days < 1", "principal.age_days < 0");
    let report = diff(&shipped(), &changed(&[(path, &lax)]), &solver).unwrap();
    let widened: Vec<_> = report.environments.iter().filter(|diff| diff.direction == Direction::Widened).collect();
    assert!(!widened.is_empty() && !report.equivalent(), "{report}");
    assert!(widened.iter().all(|diff| diff.site.as_deref() == Some("harbour-bank")), "{report}");
    assert!(report.environments.iter().any(|diff| diff.site.is_none() && diff.direction == Direction::Equivalent));
}

#[test]
fn a_change_of_governance_is_told_with_an_example() {
    let Some(solver) = solver() else { return };
    let (tasks, roles) = ("governance/10-tasks.cedar", "governance/20-roles.cedar");
    let lax = shipped_file(tasks).replace("resource.noise_milli < 300", "resource.noise_milli < 3");
    let bound = shipped_file(roles).replace("Action::\"audit\"", "Action::\"read\"");
    let report = diff(&shipped(), &changed(&[(tasks, &lax), (roles, &bound)]), &solver).unwrap();
    assert_eq!(directions(&report, Direction::Equivalent).len(), 10);
    let text = report.to_string();
    for part in [
        "WIDENED     Operator admit Task\n",
        "Operator admit Task: newly allowed\n",
        "before   forbidden by `admit.weak-noise`, `governance/10-tasks.cedar` line ",
        "after    permitted by `admit.private-task`, `governance/10-tasks.cedar` line ",
        "narrowed    Caller GET /api/v1/audit/",
    ] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }

    let schema = "schema/governance.cedarschema";
    let commented = format!("{}// A comment.\n", shipped_file(schema));
    let report = diff(&shipped(), &changed(&[(schema, &commented)]), &solver).unwrap();
    assert!(report.schema_changed && !report.equivalent(), "{report}");
    assert_eq!(directions(&report, Direction::Equivalent).len(), 10, "the schema of containment is the same");
}
