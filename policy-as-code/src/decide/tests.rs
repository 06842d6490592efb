//! What the shipped policies decide, and that no request breaks an invariant.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use shared::asset::Criticality;
use shared::decision::{ContainmentAction, Requester};

use super::*;
use crate::testing::{changed, engine, release, request, shipped};

fn engine_of(extra: &[(&str, &str)]) -> Engine {
    Engine::new(&changed(extra), None).unwrap()
}

#[test]
fn the_widest_allowed_tier_is_answered_with_the_policies_that_decided() {
    let decision = engine().decide(&request(ContainmentAction::Throttle));
    assert_eq!(decision.tier, Tier::Automated);
    assert_eq!(decision.answers.last().unwrap().policies, ["automated.throttle"]);
    assert_eq!(decision.bundle, shipped().digest().unwrap());

    let mut unsure = request(ContainmentAction::Throttle);
    unsure.context.score_bp = 6_000;
    let decision = engine().decide(&unsure);
    assert_eq!(decision.tier, Tier::Assisted);
    assert_eq!(decision.answers.len(), 2);
    assert_eq!(decision.answers[1].policies, ["assisted.release-proposes"]);

    unsure.context.score_bp = 100;
    assert_eq!(engine().decide(&unsure).tier, Tier::AlertOnly);
}

#[test]
fn an_erroring_forbid_narrows_the_decision() {
    let erroring = r#"@id("site.overflow") forbid(principal, action, resource)
        when { context.tier == Ringfence::Tier::"automated" && context.score_bp * 9223372036854775807 > 0 };"#;
    let decision = engine_of(&[("policies/40-site.cedar", erroring)]).decide(&request(ContainmentAction::Throttle));
    assert_eq!(decision.tier, Tier::Assisted);
    assert!(!decision.answers[0].allowed);
    assert!(decision.answers[0].errors[0].contains("site.overflow"), "{decision:?}");
}

#[test]
fn an_alert_is_raised_even_when_no_policy_says_so() {
    let nothing = engine_of(&[
        ("policies/10-automated.cedar", ""),
        ("policies/20-people.cedar", ""),
        ("policies/30-guardrails.cedar", ""),
    ]);
    let decision = nothing.decide(&request(ContainmentAction::Throttle));
    assert_eq!((decision.tier, decision.answers.len()), (Tier::AlertOnly, 3));
}

#[test]
fn a_request_outside_the_domain_is_not_asked() {
    type Change = fn(&mut DecisionRequest);
    let changes: [(&str, Change); 5] = [
        ("score_bp", |request| request.context.score_bp = 10_001),
        ("false_positive_rate_bp", |request| request.context.false_positive_rate_bp = -1),
        ("playbook_step", |request| request.context.playbook_step = 0),
        ("age_days", |request| {
            let Requester::Release { age_days, .. } = &mut request.requester else { panic!("a release asks") };
            *age_days = i64::MIN;
        }),
        ("tags", |request| drop(request.asset.tags.insert("x".repeat(300), String::new()))),
    ];
    for (name, change) in changes {
        let mut request = request(ContainmentAction::Throttle);
        change(&mut request);
        let decision = engine().decide(&request);
        assert_eq!((decision.tier, decision.answers.len()), (Tier::AlertOnly, 1), "{name}");
        assert!(decision.answers[0].errors[0].contains(name), "{decision:?}");
    }
}

#[test]
fn a_repository_is_loaded_whole_or_not_at_all() {
    use shared::Explain;
    let cases = [
        (("schema/domain.toml", ""), "policy-missing"),
        (("schema/domain.toml", "[context]"), "policy-domain"),
        (("policies/x.cedar", "permit(principal, action, resource);"), "policy-no-id"),
        (("invariants/never/x.cedar", "@id(\"never.x\") permit(principal, action, resource);"), "policy-invariant"),
        (("playbooks/x.json", "{}"), "playbook-syntax"),
    ];
    for (change, code) in cases {
        assert_eq!(Engine::new(&changed(&[change]), None).err().unwrap().code(), code, "{change:?}");
    }
}

#[test]
fn the_shipped_policy_tests_pass_and_every_policy_decides_one_of_them() {
    let (mut all, mut decided) = (BTreeSet::new(), BTreeSet::new());
    for site in shipped().everywhere_and_sites() {
        let engine = Engine::new(&shipped(), site.as_deref()).unwrap();
        all.extend(engine.policies().places().keys().cloned());
        for file in shipped().tests(site.as_deref()) {
            for outcome in engine.policies().run_tests(&file).unwrap() {
                assert_eq!(outcome.failure, None, "{}: {}", file.path, outcome.name);
                decided.extend(outcome.policies);
            }
        }
    }
    assert_eq!(all.difference(&decided).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_site_may_narrow_what_holds_everywhere_and_never_widen_it() {
    use shared::Explain;
    let asked = request(ContainmentAction::Throttle);
    let tier = |site| Engine::new(&shipped(), site).unwrap().decide(&asked).tier;
    // The request gives no reasons.
    assert_eq!((tier(None), tier(Some("north-clinic"))), (Tier::Automated, Tier::Assisted));
    assert_eq!(Engine::new(&shipped(), Some("nort-clinic")).err().unwrap().code(), "policy-no-site");
    let permit = "\n@id(\"north-clinic.all\") permit(principal, action, resource);";
    let widened = changed(&[("policies/sites/north-clinic/20-more.cedar", permit)]);
    let refused = Engine::new(&widened, Some("north-clinic")).err().unwrap();
    assert_eq!(refused.code(), "policy-site-permits");
    assert!(refused.to_string().contains("`policies/sites/north-clinic/20-more.cedar` line 2"), "{refused}");
    assert!(Engine::new(&widened, Some("harbour-bank")).is_ok(), "another site does not load it");
}

/// Often the number that every permit accepts, often one around a threshold, sometimes any of the domain.
fn around(accepted: i64, thresholds: &[i64], max: i64) -> BoxedStrategy<i64> {
    let near = thresholds.iter().flat_map(|at| [at - 1, *at, at + 1]).filter(|at| (0..=max).contains(at));
    let near = proptest::sample::select(near.collect::<Vec<_>>());
    prop_oneof![6 => Just(accepted), 3 => near, 1 => 0..=max].boxed()
}

fn requester() -> BoxedStrategy<Requester> {
    let released = (prop::bool::weighted(0.8), prop::bool::weighted(0.8), around(3, &[30], 36_500)).prop_map(
        |(signed, validated, age_days)| {
            let Requester::Release { release_id, .. } = release() else { unreachable!("the release is one") };
            Requester::Release { release_id, signed, validated, age_days }
        },
    );
    let person = any::<bool>().prop_map(|on_call| Requester::Responder { name: "ada".to_owned(), on_call });
    prop_oneof![3 => released, 1 => person].boxed()
}

fn any_request() -> impl Strategy<Value = DecisionRequest> {
    let criticalities = [Criticality::Standard, Criticality::Important, Criticality::BusinessCritical];
    let numbers = (
        around(9_900, &[5_000, 7_000, 8_500, 9_000, 9_500, 9_700, 10_000], 10_000),
        around(1, &[5, 10, 20, 50, 100], 10_000),
        around(1, &[1, 5, 20], 1_000_000),
        around(9, &[0, 2], 1_000_000),
        around(0, &[0, 10], 100_000),
        1..=5_i64,
        around(600, &[0, 300], 31_536_000),
        0..=3_i64,
    );
    let things = (
        requester(),
        proptest::sample::select(ContainmentAction::ALL.to_vec()),
        proptest::sample::select(criticalities.to_vec()),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
    );
    (numbers, things).prop_map(|(numbers, (requester, action, criticality, tagged, reversible, maintenance_window))| {
        let mut request = request(action);
        request.requester = requester;
        request.asset.criticality = criticality;
        if tagged {
            request.asset.tags.insert("business_critical".to_owned(), "true".to_owned());
        }
        let context = &mut request.context;
        (context.score_bp, context.false_positive_rate_bp, context.blast_radius, context.healthy_peers, ..) = numbers;
        (.., context.active_containments, context.playbook_step, context.monitored_s, context.approvals) = numbers;
        context.reversible = reversible;
        context.maintenance_window = maintenance_window;
        request
    })
}

/// The first invariant that some request breaks under `engine`.
fn broken_invariant(engine: &Engine, cases: u32) -> Option<String> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new_with_rng(config, deterministic()).run(&any_request(), |request| {
        for tier in Tier::WIDEST_FIRST {
            let answer = engine.policies().answer(&request, tier);
            let violated = engine.invariants().violated(&request, &answer);
            prop_assert!(violated.is_empty(), "{}", violated.join(" "));
        }
        Ok(())
    });
    outcome.err().map(|error| error.to_string())
}

fn deterministic() -> proptest::test_runner::TestRng {
    proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha)
}

#[test]
fn no_request_that_an_invariant_forbids_is_allowed_and_none_it_grants_is_refused() {
    assert_eq!(broken_invariant(&engine(), 4_000), None);
}

#[test]
fn a_bad_change_of_the_policies_breaks_the_invariant_it_should() {
    let hot_fix = r#"@id("hotfix.ransomware") permit(principal, action, resource)
        when { context.tier == Ringfence::Tier::"automated" && context.score_bp >= 9000 };"#;
    let gag = r#"@id("site.gag") forbid(principal, action, resource)
        when { resource.criticality == Ringfence::Criticality::"important" };"#;
    let guardrails = shipped().folder("policies").into_iter().find(|file| file.path.contains("30-")).unwrap().text;
    let weakened = guardrails.replace("context.healthy_peers < 2", "context.healthy_peers < 1");
    let widened = guardrails.replace("context.blast_radius > 20", "context.blast_radius > 2000");
    let cases = [
        (vec![("policies/40.cedar", hot_fix), ("policies/30-guardrails.cedar", "")], "never."),
        (vec![("policies/30-guardrails.cedar", weakened.as_str())], "never.below-quorum"),
        (vec![("policies/30-guardrails.cedar", widened.as_str())], "never.blast-radius"),
        (vec![("policies/40.cedar", gag)], "always."),
    ];
    for (change, invariant) in cases {
        let broken = broken_invariant(&engine_of(&change), 4_000).expect(invariant);
        assert!(broken.contains(invariant), "{broken}");
    }
}
