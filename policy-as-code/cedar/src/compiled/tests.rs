//! Compiled policies say what Cedar says: policies, errors and all.
//!
//! `RINGFENCE_DIFFERENTIAL_REQUESTS` says how many requests are asked of each kind of set, each at all tiers.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shared::detection::Tier;

use super::*;
use crate::{CedarError, PolicySet, Source};

mod random;

const SCHEMA: &str = include_str!("../../../schema/ringfence.cedarschema");
/// What holds everywhere and what the sites add.
const SHIPPED: [&str; 6] = [
    include_str!("../../../policies/10-automated.cedar"),
    include_str!("../../../policies/20-people.cedar"),
    include_str!("../../../policies/30-guardrails.cedar"),
    include_str!("../../../policies/sites/harbour-bank/10-payments.cedar"),
    include_str!("../../../policies/sites/north-clinic/10-patients.cedar"),
    include_str!("../../../policies/sites/river-grid/10-operations.cedar"),
];

fn parse(policies: &str) -> Result<PolicySet, CedarError> {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    PolicySet::parse(&source("schema", SCHEMA), &[source("a.cedar", policies)])
}

fn requests() -> u32 {
    std::env::var("RINGFENCE_DIFFERENTIAL_REQUESTS").map_or(8_000, |count| count.parse().unwrap())
}

/// The same cases every time.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// How often something was answered, and how.
#[derive(Default)]
struct Tally {
    answers: usize,
    allowed: usize,
    refused_by_policy: usize,
    errors: usize,
    left_to_cedar: usize,
}

impl Tally {
    /// Asks at all tiers.
    fn ask(&mut self, set: &PolicySet, request: &DecisionRequest) -> Result<(), TestCaseError> {
        for tier in Tier::WIDEST_FIRST {
            let answer = set.answer(request, tier);
            prop_assert_eq!(&answer, &set.answer_by_cedar(&set.prepare(request, tier)));
            self.answers += 1;
            self.allowed += usize::from(answer.allowed);
            self.errors += usize::from(!answer.errors.is_empty());
            self.refused_by_policy += usize::from(!answer.allowed && !answer.policies.is_empty());
            self.left_to_cedar += usize::from(set.compiled().answer(request, tier).is_none());
        }
        Ok(())
    }
}

#[test]
fn the_shipped_policies_answer_as_cedar_does_and_never_need_it() {
    let (set, tally) = (parse(&SHIPPED.concat()).unwrap(), RefCell::new(Tally::default()));
    runner(requests()).run(&random::request(), |request| tally.borrow_mut().ask(&set, &request)).unwrap();
    let tally = tally.into_inner();
    assert_eq!(tally.left_to_cedar, 0);
    assert!(tally.allowed > tally.answers / 20 && tally.refused_by_policy > tally.answers / 20);
}

/// The valid ones of `policies` as a set: the validator refuses what can never apply.
fn valid(mut policies: Vec<String>) -> PolicySet {
    loop {
        match parse(&policies.concat()) {
            Ok(set) => return set,
            Err(CedarError::Invalid { id, .. }) => {
                policies.retain(|policy| !policy.contains(&format!("@id(\"{id}\")")))
            }
            Err(error) => panic!("{error}: {}", policies.concat()),
        }
    }
}

#[test]
fn any_policies_answer_as_cedar_does() {
    const REQUESTS_A_SET: usize = 64;
    let tally = RefCell::new(Tally::default());
    let cases = (random::policies(), prop::collection::vec(random::request(), REQUESTS_A_SET));
    runner(requests() / 64)
        .run(&cases, |(policies, requests)| {
            let set = valid(policies);
            requests.iter().try_for_each(|request| tally.borrow_mut().ask(&set, request))
        })
        .unwrap();
    let Tally { answers, allowed, refused_by_policy, errors, left_to_cedar } = tally.into_inner();
    assert!(allowed > answers / 20 && refused_by_policy > answers / 20, "{allowed}, {refused_by_policy} of {answers}");
    assert!(errors > answers / 100 && left_to_cedar < answers / 3, "{errors}, {left_to_cedar} of {answers}");
}

/// Many policies, of which one request meets few: filed by asset, owner, environment, tag and requester.
fn filed() -> String {
    let demands = [
        r#"resource.owner == "TEXT""#,
        r#"resource.environment == "TEXT" && resource.owner == "a""#,
        r#"context.reversible && (resource.owner == "TEXT" || resource.owner == "NAME")"#,
        r#"resource == Ringfence::Asset::"NAME""#,
        r#"[Ringfence::Asset::"NAME", Ringfence::Asset::"a"].contains(resource)"#,
        r#"resource.hasTag("site") && resource.getTag("site") == "TEXT""#,
        r#"principal == Ringfence::Responder::"TEXT""#,
        r#"context.monitored_s < 0 && context.approvals * 9223372036854775807 > 0 && resource.owner == "TEXT""#,
    ];
    let policy = |number: usize| {
        let effect = if number.is_multiple_of(3) { "forbid" } else { "permit" };
        let demand = demands[number % demands.len()];
        let text = ["a", "b", "production", "true", "elsewhere"][number % 5];
        let name = ["a", "b", "db-1", "x.y", "elsewhere"][(number / 5) % 5];
        let demand = demand.replace("TEXT", text).replace("NAME", name);
        format!(
            "@id(\"p{number}\") {effect}(principal, action, resource) when {{ {demand} && context.score_bp >= {number} }};"
        )
    };
    (0..600).map(policy).collect()
}

#[test]
fn many_policies_answer_as_cedar_does() {
    let (set, tally) = (parse(&filed()).unwrap(), RefCell::new(Tally::default()));
    runner(requests() / 40).run(&random::request(), |request| tally.borrow_mut().ask(&set, &request)).unwrap();
    let tally = tally.into_inner();
    assert!(tally.allowed > 0 && tally.refused_by_policy > 0 && tally.errors > 0);
    assert!(tally.left_to_cedar < tally.answers / 2, "{} of {}", tally.left_to_cedar, tally.answers);
}

#[test]
fn what_may_fail_is_left_to_cedar_only_where_it_is_reached() {
    let overflow = "context.score_bp * 9223372036854775807 > 0";
    let cases = [
        (format!("permit(principal, action, resource) when {{ {overflow} }};"), true),
        (format!("permit(principal, action, resource) when {{ context.score_bp < 0 && {overflow} }};"), false),
        (format!("permit(principal, action, resource) when {{ {overflow} && context.score_bp < 0 }};"), true),
        (format!("permit(principal, action, resource) when {{ context.score_bp > 0 || {overflow} }};"), false),
        (format!("permit(principal is Ringfence::Responder, action, resource) when {{ {overflow} }};"), false),
        (
            format!(
                "permit(principal, action, resource) when {{ context.tier == Ringfence::Tier::\"assisted\" && {overflow} }};"
            ),
            false,
        ),
        (format!("forbid(principal, action, resource) unless {{ !({overflow}) }};"), true),
        // A forbid has decided, but the error counts.
        (
            format!(
                "forbid(principal, action, resource); @id(\"b\") permit(principal, action, resource) when {{ {overflow} }};"
            ),
            true,
        ),
        ("permit(principal, action, resource) when { { a: 1 }.a == context.approvals };".to_owned(), true),
    ];
    let mut request = random::request().new_tree(&mut runner(1)).unwrap().current();
    request.requester = shared::decision::Requester::Release {
        release_id: shared::ReleaseId::new("a").unwrap(),
        signed: true,
        validated: true,
        age_days: 1,
    };
    request.context.score_bp = 9_000;
    for (policy, left) in cases {
        let set = parse(&format!("@id(\"a\") {policy}")).unwrap();
        assert_eq!(set.compiled().answer(&request, Tier::Automated).is_none(), left, "{policy}");
        Tally::default().ask(&set, &request).unwrap();
    }
}

#[test]
fn every_environment_stands_where_it_is_looked_for() {
    for (place, environment) in Environment::all().enumerate() {
        assert_eq!(environment.place(), Some(place), "{environment:?}");
    }
}
