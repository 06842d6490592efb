//! What is proven, what is refuted and how believably, and what a solver that misbehaves costs.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shared::decision::{ContainmentAction, Requester};
use shared::detection::Tier;
use shared::time::ManualClock;
use shared::{Digest, Explain, Timestamp};

use super::*;
use crate::Source;

const SCHEMA: &str = include_str!("../../../schema/ringfence.cedarschema");
const SCORE: [Bound; 1] = [Bound { holder: Holder::Context, name: "score_bp", min: 0, max: 10_000 }];

fn parse(policies: &str) -> PolicySet {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    PolicySet::parse(&source("schema", SCHEMA), &[source("a.cedar", policies)]).unwrap()
}

fn digest(text: &[u8]) -> Digest {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&hasher.finish().to_le_bytes());
    Digest(bytes)
}

fn config(program: &Path) -> SolverConfig {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    SolverConfig { program: program.to_owned(), time_limit: Duration::from_secs(60), processes: 2, clock, digest }
}

/// The real solver; says so where a test is skipped because there is none.
fn cvc5() -> Option<Solver> {
    let found = Solver::find(config(Path::new("cvc5")));
    found.inspect_err(|error| println!("SKIPPED, nothing is proven here: {error}; {}", error.hint())).ok()
}

const PERMIT: &str = r#"@id("yes") permit(principal, action in Ringfence::Action::"contain", resource)
    when { context.tier == Ringfence::Tier::"automated" && context.score_bp >= 9000 };"#;
const GUARD: &str = r#"@id("guard") forbid(principal, action, resource)
    when { context.tier == Ringfence::Tier::"automated" && context.healthy_peers < 2 };"#;
const OTHER_GUARD: &str = r#"@id("other") forbid(principal, action, resource)
    when { context.tier == Ringfence::Tier::"automated" && context.maintenance_window };"#;
const QUORUM: &str = r#"@id("quorum") permit(principal, action in Ringfence::Action::"contain", resource)
    when { context.tier == Ringfence::Tier::"automated" && context.healthy_peers < 3 };"#;

fn prove(policies: &str, never: &str, always: &str, solver: &Solver) -> Proof {
    parse(policies).prove(&parse(never), &parse(always), &SCORE, solver).unwrap()
}

fn violations(verdict: &Verdict) -> Vec<&Violation> {
    verdict
        .findings
        .iter()
        .filter_map(|finding| match &finding.outcome {
            Outcome::Violated(violation) => Some(violation.as_ref()),
            _ => None,
        })
        .collect()
}

fn proven(verdict: &Verdict) -> bool {
    verdict.findings.iter().all(|finding| finding.outcome == Outcome::Proven)
}

#[test]
fn a_set_that_keeps_an_invariant_is_proven_in_every_environment() {
    let Some(solver) = cvc5() else { return };
    let never = QUORUM.replace("< 3", "< 2");
    let proof = prove(&format!("{PERMIT}{GUARD}"), &never, "", &solver);
    assert_eq!(proof.verdicts.len(), 2);
    for verdict in &proof.verdicts {
        assert_eq!(verdict.findings.len(), 10);
        assert!(proven(verdict), "{verdict:?}");
    }
    assert_eq!(proof.verdicts[0].claim, Claim::Never("quorum".to_owned()));
    assert_eq!(proof.queries.asked + proof.queries.recalled, 8, "four containments by a release and by a responder");
    assert_eq!(proof.queries.proven.len(), 1, "all ask the same");
}

#[test]
fn a_violation_is_a_believable_request_and_blames_permit_and_guard_by_line() {
    let Some(solver) = cvc5() else { return };
    let proof = prove(&format!("{PERMIT}\n{GUARD}\n{OTHER_GUARD}"), QUORUM, "", &solver);
    let violations = violations(&proof.verdicts[0]);
    assert_eq!(violations.len(), 8, "four containments by a release and by a responder");
    for violation in violations {
        let request = violation.example.request.as_ref().unwrap();
        assert_eq!(request.context.healthy_peers, 2, "{violation}");
        assert_eq!(request.context.score_bp, 9_900, "{violation}");
        assert_eq!(violation.example.context["tier"], "automated");
        assert!(!request.context.maintenance_window && request.asset.tags.is_empty());
        match &request.requester {
            Requester::Release { release_id, .. } => assert_eq!(release_id.as_str(), "release-1"),
            Requester::Responder { name, .. } => assert_eq!(name, "ada"),
        }
        assert!(violation.ruling.allowed);
        let blame: Vec<_> =
            violation.ruling.blame.iter().map(|blame| (blame.policy.as_str(), blame.part, blame.place.line)).collect();
        assert_eq!(blame, [("yes", Part::Permits, Some(1)), ("guard", Part::LetPass, Some(3))]);
    }
}

#[test]
fn what_must_always_be_allowed_and_is_forbidden_blames_the_forbid() {
    let Some(solver) = cvc5() else { return };
    let rollback = r#"@id("rollback") permit(principal is Ringfence::Responder, action == Ringfence::Action::"rollback", resource);"#;
    let freeze = r#"@id("freeze") forbid(principal, action, resource) when { context.active_containments > 100 };"#;
    assert!(proven(&prove(rollback, "", rollback, &solver).verdicts[0]));
    let frozen = prove(&format!("{rollback}{freeze}"), "", rollback, &solver);
    let [violation] = violations(&frozen.verdicts[0])[..] else { panic!("{frozen:?}") };
    let request = violation.example.request.as_ref().unwrap();
    assert_eq!((request.action, request.context.active_containments), (ContainmentAction::Rollback, 101));
    assert_eq!(violation.ruling.blame[0].policy, "freeze");
    let nothing = prove(PERMIT, "", rollback, &solver);
    let [violation] = violations(&nothing.verdicts[0])[..] else { panic!("{nothing:?}") };
    assert!(violation.ruling.to_string().contains("permitted by no policy"), "{violation}");
}

#[test]
fn a_policy_fails_only_where_the_domain_lets_it() {
    let Some(solver) = cvc5() else { return };
    let times = |factor: i64| {
        format!("{PERMIT}@id(\"long\") forbid(principal, action, resource) when {{ context.score_bp * {factor} < 0 }};")
    };
    let safe = i64::MAX / 10_000;
    assert!(proven(&prove(&times(safe), "", "", &solver).verdicts[0]));
    let proof = prove(&times(safe + 1), "", "", &solver);
    let violations = violations(&proof.verdicts[0]);
    assert_eq!(violations.len(), 10);
    for violation in violations {
        assert_eq!(violation.example.request.as_ref().unwrap().context.score_bp, 10_000);
        assert!(
            violation.ruling.blame.iter().any(|blame| (blame.policy.as_str(), blame.part) == ("long", Part::Fails))
        );
        assert!(!violation.ruling.allowed);
    }
}

#[test]
fn an_invariant_written_as_a_forbid_is_refused() {
    let Some(solver) = cvc5() else { return };
    let error = parse(PERMIT).prove(&parse(GUARD), &parse(""), &SCORE, &solver).unwrap_err();
    assert_eq!(error.code(), "policy-invariant-forbids");
    assert!(error.to_string().contains("`a.cedar` line 1"), "{error}");
}

#[test]
fn what_was_proven_is_not_asked_again_and_a_changed_policy_is() {
    let Some(solver) = cvc5() else { return };
    let never = QUORUM.replace("< 3", "< 2");
    let policies = format!("{PERMIT}{GUARD}");
    let first = prove(&policies, &never, "", &solver);
    assert!(first.queries.asked > 0);
    let solver = solver.knowing(first.queries.proven.clone());
    let second = prove(&policies, &never, "", &solver);
    assert_eq!((second.queries.asked, second.queries.recalled), (0, 8));
    assert_eq!(second.verdicts, first.verdicts);
    let third = prove(&policies.replace("peers < 2", "peers < 3"), &never, "", &solver);
    assert!(third.queries.asked > 0);
}

#[test]
fn a_change_that_no_invariant_looks_at_asks_nothing_new() {
    let Some(solver) = cvc5() else { return };
    let never = QUORUM.replace("< 3", "< 2");
    let policies = format!("{PERMIT}{GUARD}");
    let proven = prove(&policies, &never, "", &solver).queries.proven;
    let solver = solver.knowing(proven);
    let changed = prove(&policies.replace("9000", "9001"), &never, "", &solver);
    assert_eq!(changed.queries.asked, 0);
    assert!(outcomes(&changed).all(|outcome| *outcome == Outcome::Proven));
}

#[test]
fn what_only_the_whole_set_proves_is_proven_and_what_it_breaks_is_shown() {
    let Some(solver) = cvc5() else { return };
    let guards = |reversible: &str| {
        format!(
            r#"{PERMIT}
            @id("a") forbid(principal, action, resource) when {{ context.healthy_peers < 2 && context.maintenance_window }};
            @id("b") forbid(principal, action, resource) when {{ context.healthy_peers < 2 && {reversible} }};"#
        )
    };
    let never = QUORUM.replace("< 3", "< 2");
    let whole = prove(&guards("!context.maintenance_window"), &never, "", &solver);
    assert!(outcomes(&whole).all(|outcome| *outcome == Outcome::Proven), "{whole:?}");
    let broken = prove(&guards("context.reversible"), &never, "", &solver);
    assert!(outcomes(&broken).any(|outcome| matches!(outcome, Outcome::Violated(_))), "{broken:?}");
}

fn outcomes(proof: &Proof) -> impl Iterator<Item = &Outcome> {
    proof.verdicts.iter().flat_map(|verdict| &verdict.findings).map(|finding| &finding.outcome)
}

fn compare(base: &str, head: &str, bounds: [&[Bound]; 2], solver: &Solver) -> Vec<TierDifference> {
    let comparison = parse(head).compare(bounds[1], &parse(base), bounds[0], solver).unwrap();
    comparison.differences.into_iter().flat_map(|difference| difference.tiers).collect()
}

#[test]
fn a_refactor_is_proven_equivalent() {
    let Some(solver) = cvc5() else { return };
    let base = format!("{PERMIT}{GUARD}");
    let head = r#"
        @id("one") permit(principal is Ringfence::Release, action in Ringfence::Action::"contain", resource)
            when { context.score_bp > 8999 && context.tier == Ringfence::Tier::"automated" };
        @id("two") permit(principal is Ringfence::Responder, action, resource)
            when { !(context.score_bp <= 8999) && context.tier == Ringfence::Tier::"automated" }
            unless { action == Ringfence::Action::"rollback" };
        @id("guard") forbid(principal, action, resource)
            when { context.tier == Ringfence::Tier::"automated" && !(context.healthy_peers >= 2) };"#;
    assert_eq!(compare(&base, head, [&SCORE, &SCORE], &solver), []);
}

#[test]
fn a_difference_is_told_by_tier_and_direction_with_an_example() {
    let Some(solver) = cvc5() else { return };
    let head = PERMIT.replace("9000", "9950");
    let narrowed = compare(PERMIT, &head, [&SCORE, &SCORE], &solver);
    assert_eq!(narrowed.len(), 8);
    for difference in narrowed {
        assert_eq!((difference.tier, &difference.widened, &difference.unknown), (Some(Tier::Automated), &None, &None));
        let change = difference.narrowed.unwrap();
        assert!(change.base.allowed && !change.head.allowed);
        assert_eq!(change.base.blame[0].policy, "yes");
        assert_eq!(change.example.request.unwrap().context.score_bp, 9_900);
    }
    let assisted = PERMIT.replace("automated", "assisted").replace("yes", "ask");
    let widened = compare(PERMIT, &format!("{PERMIT}{assisted}"), [&SCORE, &SCORE], &solver);
    assert!(widened.iter().all(|difference| difference.tier == Some(Tier::Assisted) && difference.widened.is_some()));
}

#[test]
fn a_wider_domain_widens_what_is_allowed() {
    let Some(solver) = cvc5() else { return };
    let narrow = [Bound { max: 8_999, ..SCORE[0] }];
    let widened = compare(PERMIT, PERMIT, [&narrow, &SCORE], &solver);
    assert_eq!(widened.len(), 8);
    let change = widened[0].widened.as_ref().unwrap();
    assert_eq!(change.example.request.as_ref().unwrap().context.score_bp, 9_900);
}

/// A program that says it is cvc5 and then does as `answers` says.
fn fake(folder: &Path, answers: &str) -> PathBuf {
    let path = folder.join("cvc5");
    let text =
        format!("#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'This is cvc5 version 1.0.3'; exit; fi\n{answers}\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Answers every query with `answer`.
fn always(answer: &str) -> String {
    format!(
        "while read -r line; do case \"$line\" in '(check-sat)') {answer};; '(get-model)') printf '(\\n)\\n';; esac; done"
    )
}

fn ask_fake(answers: &str, time_limit: Duration) -> Result<Proof, CedarError> {
    let folder = tempfile::tempdir().unwrap();
    let solver = Solver::find(SolverConfig { time_limit, ..config(&fake(folder.path(), answers)) }).unwrap();
    parse(PERMIT).prove(&parse(QUORUM), &parse(""), &SCORE, &solver)
}

#[test]
fn a_solver_that_is_absent_or_another_is_refused_before_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let absent = Solver::find(config(&folder.path().join("nothing"))).err().unwrap();
    assert_eq!(absent.code(), "solver-absent");
    assert!(absent.hint().contains("apt-get install cvc5") && absent.hint().contains("--solver"));
    for says in ["Z3 version 4.8.12 - 64 bit", "This is cvc5 version 1.0.2", ""] {
        let path = folder.path().join("other");
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let other = Solver::find(config(&path)).err().unwrap();
        assert_eq!(other.code(), "solver-unfit");
        assert!(other.to_string().contains(says), "{other}");
    }
}

#[test]
fn a_solver_that_dies_or_talks_nonsense_ends_the_proof() {
    let cases = [
        ("read -r line; echo 'out of memory' >&2; exit 7".to_owned(), "solver-died", "out of memory"),
        ("kill -9 $$".to_owned(), "solver-died", "signal"),
        (always("echo unsat-ish"), "solver-nonsense", "unsat-ish"),
        (always("echo '(error \"Parse Error: line 3\")'"), "solver-nonsense", "Parse Error"),
    ];
    for (answers, code, said) in cases {
        let error = ask_fake(&answers, Duration::from_secs(20)).unwrap_err();
        assert_eq!(error.code(), code, "{answers}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_solver_that_gives_up_is_slow_or_lies_proves_nothing() {
    let cases = [
        (always("echo unknown"), "could not decide"),
        (always("exec sleep 60"), "did not answer within"),
        (always("echo sat"), "does not hold when it is replayed"),
    ];
    for (answers, why) in cases {
        let proof = ask_fake(&answers, Duration::from_millis(500)).unwrap();
        assert!(proof.queries.proven.is_empty());
        let outcomes: BTreeSet<_> = proof.verdicts[0]
            .findings
            .iter()
            .map(|finding| match &finding.outcome {
                Outcome::Unknown { reason } => reason.clone(),
                other => format!("{other:?}"),
            })
            .collect();
        assert!(outcomes.iter().any(|outcome| outcome.contains(why)), "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| outcome.contains(why) || outcome == "Proven"), "{outcomes:?}");
    }
}

#[test]
fn an_answer_without_end_is_no_answer() {
    let error = ask_fake("yes u | tr -d '\\n'", Duration::from_secs(60)).unwrap_err();
    assert_eq!(error.code(), "solver-nonsense");
}
