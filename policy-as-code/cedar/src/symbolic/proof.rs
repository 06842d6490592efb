//! Invariants proven, or refuted by an example, in every request environment.
//!
//! An invariant holds where the solver says that its negation has no model; whatever else happens, it is not proven.

use std::collections::BTreeSet;
use std::fmt;

use cedar_policy::{Authorizer, Decision, Effect, Entities, Policy, PolicySet, Request};
use cedar_policy_symcc::term::Term;
use cedar_policy_symcc::{
    Asserts, CompiledPolicy, CompiledPolicySet, Env, WellFormedAsserts, disjoint_asserts, implies_asserts,
    never_errors_asserts, never_matches_asserts, term_factory,
};
use serde::Serialize;
use shared::Digest;

use super::abstraction::{Side, is_infallible, reduced};
use super::domain::Region;
use super::example::{Example, Ruling};
use super::mentions::mentions;
use super::replay::{Point, replay};
use super::scene::{Environment, Scene};
use super::session::{Answer, Queries, Session, each};
use super::{Bound, Solver};
use crate::policies::Policies;
use crate::vocabulary::Vocabulary;
use crate::{CedarError, Place};

/// What is claimed of a policy set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "claim", content = "invariant", rename_all = "snake_case")]
pub enum Claim {
    /// It allows no request that this invariant describes.
    Never(String),
    /// It allows every request that this invariant describes.
    Always(String),
    /// None of its policies can fail.
    NoError,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The claim.
    pub claim: Claim,
    /// What became of it in each environment, in a fixed order.
    pub findings: Vec<Finding>,
}

/// What became of a claim in one environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The environment.
    pub environment: Environment,
    /// The outcome.
    pub outcome: Outcome,
    /// Digests of the queries, as SMT-LIB texts, that led to it; none where the claim holds or fails at sight.
    pub queries: Vec<Digest>,
    /// How long it took until this was known, in microseconds. Claims that were proven together share that time.
    pub micros: u64,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It holds for every request of the domain.
    Proven,
    /// It does not hold.
    Violated(Box<Violation>),
    /// Nobody knows.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// A request that breaks a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    /// The request.
    pub example: Example,
    /// What the policies say to it.
    pub ruling: Ruling,
}

/// Verdicts, and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    /// One for each claim.
    pub verdicts: Vec<Verdict>,
    /// What the solver was asked.
    pub queries: Queries,
}

/// A claim about an invariant, ready to be asked.
pub(super) struct Stated {
    claim: Claim,
    /// The requests that the invariant describes.
    everywhere: PolicySet,
    /// Those of them that lie within the domain.
    requests: PolicySet,
    /// The policies that it is about, reduced to what it looks at.
    reduced: PolicySet,
    /// What it looks at.
    stakes: BTreeSet<String>,
}

impl Stated {
    /// A claim about `policies` for each of `invariants`.
    pub(super) fn all(
        policies: &PolicySet,
        invariants: &Policies,
        claim: fn(String) -> Claim,
        domain: &Region,
    ) -> Result<Vec<Self>, CedarError> {
        let stated = |policy: &Policy| {
            let id = policy.id().to_string();
            if policy.effect() == Effect::Forbid {
                let place = invariants.places().get(&id).cloned();
                let place = place.unwrap_or(Place { path: String::new(), line: None });
                return Err(CedarError::InvariantForbids { place, id });
            }
            let alone = PolicySet::from_policies([policy.clone()]).map_err(CedarError::symbolic)?;
            let (claim, requests, stakes) = (claim(id), domain.confine(&alone)?, mentions(policy));
            let side = if claim.breaks_when_allowed() { Side::More } else { Side::Less };
            let reduced = reduced(policies, &stakes, side)?;
            Ok(Self { claim, everywhere: alone, requests, reduced, stakes })
        };
        let mut sorted: Vec<Policy> = invariants.policies.policies().cloned().collect();
        sorted.sort_by(|one, other| one.id().cmp(other.id()));
        sorted.iter().map(stated).collect()
    }

    /// What holds for a request that is one of `requests` and breaks the claim about `policies`.
    fn breach<'p>(&self, requests: &'p CompiledPolicySet, policies: &'p CompiledPolicySet) -> WellFormedAsserts<'p> {
        match self.claim {
            Claim::Never(_) => disjoint_asserts(requests, policies),
            _ => implies_asserts(requests, policies),
        }
    }
}

/// What is asked about a policy set.
pub(super) struct Inquiry<'a> {
    pub(super) policies: &'a Policies,
    pub(super) vocabulary: Option<&'a Vocabulary>,
    pub(super) stated: Vec<Stated>,
    pub(super) domain: Region,
    /// The policies that have something in them that can fail.
    fallible: Vec<&'a Policy>,
}

impl<'a> Inquiry<'a> {
    /// An inquiry whether any of `policies` can fail within the domain.
    pub(super) fn new(policies: &'a Policies, vocabulary: Option<&'a Vocabulary>, bounds: &[Bound]) -> Self {
        let fallible = policies.policies.policies().filter(|policy| !is_infallible(policy)).collect();
        Self { policies, vocabulary, stated: Vec::new(), domain: Region::domain(bounds), fallible }
    }

    /// Asks in every environment.
    pub(super) fn run(&self, solver: &Solver) -> Result<Proof, CedarError> {
        let scenes = Scene::all(&self.policies.schema)?;
        let (by_scene, queries) = each(solver, &scenes, |session, scene| self.examine(session, scene))?;
        let claims = self.stated.iter().map(|stated| stated.claim.clone()).chain([Claim::NoError]);
        let mut verdicts: Vec<Verdict> = claims.map(|claim| Verdict { claim, findings: Vec::new() }).collect();
        for findings in by_scene {
            for (verdict, finding) in verdicts.iter_mut().zip(findings) {
                verdict.findings.push(finding);
            }
        }
        Ok(Proof { verdicts, queries })
    }

    /// The findings in one environment, in the order of the claims. Most changes break nothing, so that all claims are
    /// asked at once first, of reduced policies; one by one only where the answer is not yes.
    fn examine(&self, session: &mut Session<'_>, scene: &Scene<'_>) -> Result<Vec<Finding>, CedarError> {
        let started = session.now();
        let fallible = self.fallible(scene)?;
        let breaches = self.breaches(scene, &fallible)?;
        if self.none_breaks(session, scene, breaches.iter().flatten())? {
            let (queries, micros) = (session.recent(), session.micros_since(started));
            let proven = |breaches: &Vec<Asserts>| {
                let queries = if breaches.is_empty() { Vec::new() } else { queries.clone() };
                Finding { environment: scene.environment(), outcome: Outcome::Proven, queries, micros }
            };
            return Ok(breaches.iter().map(proven).collect());
        }
        let policies = scene.set(&self.policies.policies)?;
        let mut findings = Vec::with_capacity(breaches.len());
        for stated in &self.stated {
            findings.push(find(session, scene, |session| self.hold(session, scene, stated, &policies))?);
        }
        findings.push(find(session, scene, |session| self.no_error(session, scene, &fallible))?);
        Ok(findings)
    }

    /// What would break each claim, in their order; nothing where a claim holds at sight.
    fn breaches(
        &self,
        scene: &Scene<'_>,
        fallible: &[(&Policy, CompiledPolicy)],
    ) -> Result<Vec<Vec<Asserts>>, CedarError> {
        let mut breaches = Vec::with_capacity(self.stated.len().saturating_add(1));
        for stated in &self.stated {
            let (requests, policies) = (scene.set(&stated.everywhere)?, scene.set(&stated.reduced)?);
            let asserts = stated.breach(&requests, &policies).asserts().clone();
            breaches.push(if contradicts(&asserts) { Vec::new() } else { vec![asserts] });
        }
        let failures = fallible.iter().map(|(_, policy)| never_errors_asserts(policy).asserts().clone());
        breaches.push(failures.collect());
        Ok(breaches)
    }

    /// Whether the solver proves at one go that no request of the domain is one of `breaches`.
    fn none_breaks<'b>(
        &self,
        session: &mut Session<'_>,
        scene: &Scene<'_>,
        breaches: impl Iterator<Item = &'b Asserts>,
    ) -> Result<bool, CedarError> {
        let (mut assumed, mut broken) = (Vec::new(), Term::from(false));
        for asserts in breaches {
            if let Some((breach, hierarchy)) = asserts.split_last() {
                assumed.extend_from_slice(hierarchy);
                broken = term_factory::or(broken, breach.clone());
            }
        }
        if broken == Term::from(false) {
            return Ok(true);
        }
        let domain = scene.policy(&self.domain.policy()?)?;
        assumed.extend_from_slice(never_matches_asserts(&domain).asserts());
        assumed.push(broken);
        Ok(session.contradiction(Asserts::new(assumed), &scene.symbols)? == Ok(true))
    }

    fn hold(
        &self,
        session: &mut Session<'_>,
        scene: &Scene<'_>,
        stated: &Stated,
        policies: &CompiledPolicySet,
    ) -> Result<Outcome, CedarError> {
        let reduced = scene.set(&stated.reduced)?;
        let breach = stated.breach(&scene.set(&stated.everywhere)?, &reduced).asserts().clone();
        if self.none_breaks(session, scene, [breach].iter())? {
            return Ok(Outcome::Proven);
        }
        let requests = scene.set(&stated.requests)?;
        let broken = stated.claim.breaks_when_allowed();
        let point = |request: &Request, entities: &Entities| {
            allows(&stated.requests, request, entities) && allows(&self.policies.policies, request, entities) == broken
        };
        let answer = session.example(&stated.breach(&requests, policies))?;
        Ok(self.outcome(answer, &stated.stakes, &point))
    }

    /// The policies that could fail as far as one can see without a solver.
    fn fallible(&self, scene: &Scene<'_>) -> Result<Vec<(&'a Policy, CompiledPolicy)>, CedarError> {
        let mut fallible = Vec::new();
        for policy in self.fallible.iter().copied() {
            let compiled = scene.policy(policy)?;
            if !contradicts(never_errors_asserts(&compiled).asserts()) {
                fallible.push((policy, compiled));
            }
        }
        Ok(fallible)
    }

    fn no_error(
        &self,
        session: &mut Session<'_>,
        scene: &Scene<'_>,
        fallible: &[(&Policy, CompiledPolicy)],
    ) -> Result<Outcome, CedarError> {
        let alone = PolicySet::from_policies([self.domain.policy()?]).map_err(CedarError::symbolic)?;
        let mut worst = Outcome::Proven;
        for (policy, _) in fallible {
            let guarded = scene.policy(&self.domain.guard(policy)?)?;
            let point = |request: &Request, entities: &Entities| {
                allows(&alone, request, entities) && fails(&self.policies.policies, policy, request, entities)
            };
            let answer = session.example(&never_errors_asserts(&guarded))?;
            match self.outcome(answer, &BTreeSet::new(), &point) {
                Outcome::Proven => {}
                violated @ Outcome::Violated(_) => return Ok(violated),
                unknown => worst = unknown,
            }
        }
        Ok(worst)
    }

    fn outcome(&self, answer: Answer<Option<Env>>, stakes: &BTreeSet<String>, point: Point<'_>) -> Outcome {
        match answer {
            Ok(None) => Outcome::Proven,
            Ok(Some(found)) => match replay(found, self.vocabulary, point) {
                Some(replayed) => {
                    let ruling = Ruling::of(self.policies, &replayed.request, &replayed.entities, stakes);
                    Outcome::Violated(Box::new(Violation { example: replayed.example, ruling }))
                }
                None => Outcome::Unknown { reason: SPURIOUS.to_owned() },
            },
            Err(reason) => Outcome::Unknown { reason },
        }
    }
}

/// Said of an example that the authorizer answers differently.
pub(super) const SPURIOUS: &str = "the solver's example does not hold when it is replayed";

impl Claim {
    fn breaks_when_allowed(&self) -> bool {
        matches!(self, Self::Never(_))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.example, self.ruling)
    }
}

fn find(
    session: &mut Session<'_>,
    scene: &Scene<'_>,
    ask: impl FnOnce(&mut Session<'_>) -> Result<Outcome, CedarError>,
) -> Result<Finding, CedarError> {
    let started = session.now();
    let outcome = ask(session)?;
    let micros = session.micros_since(started);
    Ok(Finding { environment: scene.environment(), outcome, queries: session.recent(), micros })
}

/// Whether no request can make all of `asserts` hold, as far as one can see without a solver.
fn contradicts(asserts: &Asserts) -> bool {
    asserts.contains(&Term::from(false))
}

pub(super) fn allows(policies: &PolicySet, request: &Request, entities: &Entities) -> bool {
    Authorizer::new().is_authorized(request, policies, entities).decision() == Decision::Allow
}

fn fails(policies: &PolicySet, policy: &Policy, request: &Request, entities: &Entities) -> bool {
    let response = Authorizer::new().is_authorized(request, policies, entities);
    let failed = |error: &cedar_policy::AuthorizationError| match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id() == policy.id(),
    };
    response.diagnostics().errors().any(failed)
}
