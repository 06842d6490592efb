//! The shipped repository is proven, three bad changes of it are caught, and a certificate is for what was proven alone.

use policy_as_code_cedar::{Outcome, Part, Violation};
use shared::Explain;
use shared::decision::DecisionRequest;
use shared::detection::Tier;

use super::*;
use crate::decide::Engine;
use crate::testing::{changed, shipped, shipped_file, solver};

/// The one claim that `repository` breaks, with an example.
fn broken(repository: &Repository, solver: &Solver) -> (ClaimReport, Violation) {
    let report = prove(repository, solver).unwrap();
    let text = report.to_string();
    let broken: Vec<_> = report.claims.into_iter().filter(|claim| claim.standing != Standing::Proven).collect();
    let [claim] = &broken[..] else { panic!("{text}") };
    assert_eq!(claim.standing, Standing::Violated, "{text}");
    let violations = claim.findings.iter().filter_map(|finding| match &finding.outcome {
        Outcome::Violated(violation) => Some(violation.as_ref().clone()),
        _ => None,
    });
    (claim.clone(), violations.collect::<Vec<_>>().remove(0))
}

/// Who is blamed, and for what.
fn blame(violation: &Violation) -> Vec<(String, Part, String)> {
    let blame = violation.ruling.blame.iter();
    blame.map(|blame| (blame.policy.clone(), blame.part, blame.place.to_string())).collect()
}

/// The request, after checking that the engine itself decides on it as the proof says.
fn replayed(repository: &Repository, violation: &Violation) -> DecisionRequest {
    let request = violation.example.request.clone().unwrap();
    let decision = Engine::new(repository, None).unwrap().decide(&request);
    assert_eq!(decision.tier, Tier::Automated, "{violation}");
    request
}

fn place(repository: &Repository, id: &str) -> String {
    Engine::new(repository, None).unwrap().policies().places()[id].to_string()
}

#[test]
fn the_shipped_repository_is_proven_and_certified() {
    let Some(solver) = solver() else { return };
    let report = prove(&shipped(), &solver).unwrap();
    assert_eq!(report.unproven(), Vec::<String>::new(), "{report}");
    let certificate = report.certificate(&shipped()).unwrap();
    certificate.covers(&shipped()).unwrap();
    let text = serde_json::to_string(&certificate).unwrap();
    assert_eq!(serde_json::from_str::<ProofCertificate>(&text).unwrap(), certificate);
    assert!(certificate.solver.starts_with("cvc5 1."));
    assert!(certificate.proven["never.below-quorum"].queries.len() < 10, "environments share their queries");
}

#[test]
fn a_hot_fix_that_lets_a_release_act_on_its_score_alone_is_caught() {
    let Some(solver) = solver() else { return };
    let hot_fix = "// Ransomware is spreading, see the incident channel.\n@id(\"hotfix.ransomware\")\npermit (\n  \
        principal is Ringfence::Release,\n  action in Ringfence::Action::\"contain\",\n  resource\n)\n\
        when { context.tier == Ringfence::Tier::\"automated\" && context.score_bp >= 9900 };\n";
    let repository = changed(&[("policies/90-hotfix.cedar", hot_fix)]);
    let (claim, violation) = broken(&repository, &solver);
    assert_eq!((claim.id.as_str(), claim.owner.as_deref()), ("never.unsure", Some("model-risk")));
    assert_eq!(
        blame(&violation),
        [("hotfix.ransomware".to_owned(), Part::Permits, "`policies/90-hotfix.cedar` line 2".to_owned())]
    );
    let request = replayed(&repository, &violation);
    assert_eq!((request.context.score_bp, request.context.false_positive_rate_bp), (9_900, 101));
}

#[test]
fn a_guard_that_was_weakened_is_caught() {
    let Some(solver) = solver() else { return };
    let tag =
        "||\n   (resource.hasTag(\"business_critical\") &&\n    resource.getTag(\"business_critical\") == \"true\"))";
    let guards = shipped_file("policies/30-guardrails.cedar");
    let weakened = guards.replacen(tag, ")", 1);
    assert_ne!(weakened, guards);
    let repository = changed(&[("policies/30-guardrails.cedar", &weakened)]);
    let (claim, violation) = broken(&repository, &solver);
    assert_eq!(claim.id, "never.isolate-business-critical");
    let guard = ("guard.business-critical".to_owned(), Part::LetPass, place(&repository, "guard.business-critical"));
    let permit = ("automated.isolate".to_owned(), Part::Permits, place(&repository, "automated.isolate"));
    assert_eq!(blame(&violation)[0], permit);
    assert!(blame(&violation).contains(&guard), "{violation}");
    let request = replayed(&repository, &violation);
    assert_eq!(request.asset.tags, [("business_critical".to_owned(), "true".to_owned())].into());
    assert_eq!(claim.findings.len(), 10);
}

#[test]
fn a_blast_radius_that_was_widened_is_caught() {
    let Some(solver) = solver() else { return };
    let guards = shipped_file("policies/30-guardrails.cedar");
    let widened = guards.replacen("context.blast_radius > 20", "context.blast_radius > 200", 1);
    assert_ne!(widened, guards);
    let repository = changed(&[("policies/30-guardrails.cedar", &widened)]);
    let (claim, violation) = broken(&repository, &solver);
    assert_eq!(claim.id, "never.blast-radius");
    let guard = ("guard.blast-radius".to_owned(), Part::LetPass, place(&repository, "guard.blast-radius"));
    assert!(blame(&violation).contains(&guard), "{violation}");
    assert_eq!(replayed(&repository, &violation).context.blast_radius, 21);
}

#[test]
fn what_a_reviewer_reads_names_the_invariant_the_request_and_the_line() {
    let Some(solver) = solver() else { return };
    let guards = shipped_file("policies/30-guardrails.cedar");
    let widened = guards.replacen("context.blast_radius > 20", "context.blast_radius > 200", 1);
    let report = prove(&changed(&[("policies/30-guardrails.cedar", &widened)]), &solver).unwrap();
    let text = report.to_string();
    for part in [
        "VIOLATED  never.blast-radius ",
        " in 2 of 10 environments ",
        "proven    always.responder-rolls-back",
        "why it stands: No single automated action",
        "blast_radius 21",
        "permitted by `automated.terminate-sessions`, `policies/10-automated.cedar` line 16",
        "let pass by `guard.blast-radius`, `policies/30-guardrails.cedar` line 49",
    ] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
    let error = report.certificate(&shipped()).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("policy-unproven", "not proven: `never.blast-radius`"));
}

#[test]
fn a_site_that_forbids_what_must_always_be_allowed_is_caught() {
    let Some(solver) = solver() else { return };
    let freeze = "@id(\"freeze\") forbid (principal, action == Ringfence::Action::\"rollback\", resource)
        when { context.tier != Ringfence::Tier::\"alert_only\" && resource.environment == \"ledger\" };";
    let path = "policies/sites/harbour-bank/20-freeze.cedar";
    let report = prove(&changed(&[(path, freeze)]), &solver).unwrap();
    assert_eq!(report.unproven(), ["always.responder-rolls-back@harbour-bank"]);
    assert!(report.to_string().contains("forbidden by `freeze`, `policies/sites/harbour-bank/20-freeze.cedar` line 1"));
}

#[test]
fn a_policy_of_governance_that_can_fail_is_caught() {
    let Some(solver) = solver() else { return };
    let overflow = "@id(\"long\") forbid (principal, action == Ringfence::Action::\"admit\", resource) when { resource.rounds * resource.local_steps > 9 };";
    let report = prove(&changed(&[("governance/90-long.cedar", overflow)]), &solver).unwrap();
    assert_eq!(report.unproven(), [NO_GOVERNANCE_ERROR]);
    let text = report.to_string();
    assert!(text.contains("failed in `long`, `governance/90-long.cedar` line 1"), "{text}");
}

#[test]
fn a_certificate_covers_what_was_proven_and_nothing_else() {
    let Some(solver) = solver() else { return };
    let certificate = prove(&shipped(), &solver).unwrap().certificate(&shipped()).unwrap();
    let more = |path: &str| format!("{}\n", shipped_file(path));
    for (path, part) in [
        ("policies/20-people.cedar", "policies"),
        ("governance/10-tasks.cedar", "policies of governance"),
        ("schema/ringfence.cedarschema", "schemas"),
        ("schema/governance.cedarschema", "schemas"),
        ("schema/domain.toml", "ranges of `schema/domain.toml`"),
        ("invariants/never/below-quorum.cedar", "invariants"),
    ] {
        let error = certificate.covers(&changed(&[(path, &more(path))])).unwrap_err();
        assert_eq!(
            (error.code(), error.to_string()),
            ("certificate-subject", format!("the proof certificate is for other {part}"))
        );
    }
    for claim in certificate.proven.keys() {
        let mut without = certificate.clone();
        without.proven.remove(claim);
        assert_eq!(without.covers(&shipped()).unwrap_err().code(), "certificate-incomplete", "{claim}");
        let mut elsewhere = certificate.clone();
        elsewhere.proven.get_mut(claim).unwrap().environments -= 1;
        assert_eq!(elsewhere.covers(&shipped()).unwrap_err().code(), "certificate-incomplete", "{claim}");
    }
}

#[test]
fn what_was_proven_is_remembered_for_the_same_solver_alone() {
    let Some(first) = solver() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache/proofs.json");
    let report = prove(&shipped(), &first).unwrap();
    ProofMemory::open(&path).remember(&first.name(), report.effort.proven()).unwrap();
    let memory = ProofMemory::open(&path);
    assert!(memory.proven_by("cvc5 1.3.1").is_empty());
    let again = prove(&shipped(), &solver().unwrap().knowing(memory.proven_by(&first.name()))).unwrap();
    assert_eq!((again.effort.asked, again.unproven()), (0, Vec::new()));
    assert_eq!(again.certificate(&shipped()).unwrap(), report.certificate(&shipped()).unwrap());
    std::fs::write(&path, "{").unwrap();
    assert!(ProofMemory::open(&path).proven_by(&first.name()).is_empty());
}

#[test]
fn an_invariant_has_a_name_of_its_own() {
    let named =
        |id: &str| format!("@id(\"{id}\") @owner(\"a\") @rationale(\"b\") permit(principal, action, resource);");
    for (path, id) in [("invariants/always/x.cedar", "never.below-quorum"), ("invariants/never/x.cedar", NO_ERROR)] {
        let error = Engine::new(&changed(&[(path, &named(id))]), None).err().unwrap();
        assert_eq!(error.code(), "policy-duplicate-id", "{id}");
    }
}
