//! Invariants proven, or refuted by an example, in every request environment.
//!
//! An invariant holds where the solver says that its negation has no model; whatever else happens, it is not proven.

use std::collections::BTreeSet;
use std::fmt;

use cedar_policy::{Authorizer, Decision, Effect, Entities, Policy, PolicySet, Request};
use cedar_policy_symcc::term::Term;
use cedar_policy_symcc::{
    Asserts, CompiledPolicy, CompiledPolicySet, Env, disjoint_asserts, implies_asserts, never_errors_asserts,
    never_matches_asserts, term_factory,
};
use serde::Serialize;
use shared::Digest;

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
    /// How long it took, in microseconds.
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
    /// The requests that the invariant describes, within the domain.
    requests: PolicySet,
    /// What it looks at.
    stakes: BTreeSet<String>,
}

impl Stated {
    /// A claim for each of `invariants`.
    pub(super) fn all(
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
            Ok(Self { claim: claim(id), requests: domain.confine(&alone)?, stakes: mentions(policy) })
        };
        let mut policies: Vec<Policy> = invariants.policies.policies().cloned().collect();
        policies.sort_by(|one, other| one.id().cmp(other.id()));
        policies.iter().map(stated).collect()
    }
}

/// What is asked about a policy set.
pub(super) struct Inquiry<'a> {
    pub(super) policies: &'a Policies,
    pub(super) vocabulary: Option<&'a Vocabulary>,
    pub(super) stated: Vec<Stated>,
    pub(super) domain: Region,
}

impl<'a> Inquiry<'a> {
    /// An inquiry whether any of `policies` can fail within the domain.
    pub(super) fn new(policies: &'a Policies, vocabulary: Option<&'a Vocabulary>, bounds: &[Bound]) -> Self {
        Self { policies, vocabulary, stated: Vec::new(), domain: Region::domain(bounds) }
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

    /// The findings in one environment, in the order of the claims.
    fn examine(&self, session: &mut Session<'_>, scene: &Scene<'_>) -> Result<Vec<Finding>, CedarError> {
        let policies = scene.set(&self.policies.policies)?;
        let mut findings = Vec::with_capacity(self.stated.len().saturating_add(1));
        for stated in &self.stated {
            findings.push(find(session, scene, |session| self.hold(session, scene, stated, &policies))?);
        }
        findings.push(find(session, scene, |session| self.no_error(session, scene))?);
        Ok(findings)
    }

    fn hold(
        &self,
        session: &mut Session<'_>,
        scene: &Scene<'_>,
        stated: &Stated,
        policies: &CompiledPolicySet,
    ) -> Result<Outcome, CedarError> {
        let requests = scene.set(&stated.requests)?;
        let asserts = match stated.claim {
            Claim::Never(_) => disjoint_asserts(&requests, policies),
            _ => implies_asserts(&requests, policies),
        };
        let broken = stated.claim.breaks_when_allowed();
        let point = |request: &Request, entities: &Entities| {
            allows(&stated.requests, request, entities) && allows(&self.policies.policies, request, entities) == broken
        };
        let answer = session.example(&asserts)?;
        Ok(self.outcome(answer, &stated.stakes, &point))
    }

    /// Whether no policy can fail: asked for all policies at once, and policy by policy where the answer is not yes.
    fn no_error(&self, session: &mut Session<'_>, scene: &Scene<'_>) -> Result<Outcome, CedarError> {
        let fallible = self.fallible(scene)?;
        if fallible.is_empty() {
            return Ok(Outcome::Proven);
        }
        let domain = scene.policy(&self.domain.policy()?)?;
        let asserts = any_fails(&fallible, &domain);
        match session.contradiction(asserts, &scene.symbols)? {
            Ok(true) => Ok(Outcome::Proven),
            _ => self.first_error(session, scene, fallible.into_iter().map(|(policy, _)| policy)),
        }
    }

    /// The policies that could fail as far as one can see without a solver.
    fn fallible(&self, scene: &Scene<'_>) -> Result<Vec<(&'a Policy, CompiledPolicy)>, CedarError> {
        let mut fallible = Vec::new();
        for policy in self.policies.policies.policies() {
            let compiled = scene.policy(policy)?;
            if !never_errors_asserts(&compiled).asserts().contains(&Term::from(false)) {
                fallible.push((policy, compiled));
            }
        }
        Ok(fallible)
    }

    fn first_error<'p>(
        &self,
        session: &mut Session<'_>,
        scene: &Scene<'_>,
        fallible: impl Iterator<Item = &'p Policy>,
    ) -> Result<Outcome, CedarError> {
        let alone = PolicySet::from_policies([self.domain.policy()?]).map_err(CedarError::symbolic)?;
        let mut worst = Outcome::Proven;
        for policy in fallible {
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
    let micros = u64::try_from(session.now().since(started).as_micros()).unwrap_or(u64::MAX);
    Ok(Finding { environment: scene.environment(), outcome, queries: session.recent(), micros })
}

/// The assertion that a request of the domain makes one of the policies fail.
fn any_fails(fallible: &[(&Policy, CompiledPolicy)], domain: &CompiledPolicy) -> Asserts {
    let (mut assumed, mut fails) = (Vec::new(), Term::from(false));
    for (_, policy) in fallible {
        let asserts = never_errors_asserts(policy).asserts().clone();
        if let Some((failure, hierarchy)) = asserts.split_last() {
            assumed.extend_from_slice(hierarchy);
            fails = term_factory::or(fails, failure.clone());
        }
    }
    assumed.extend(never_matches_asserts(domain).asserts().iter().cloned());
    assumed.push(fails);
    Asserts::new(assumed)
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
