//! How two policy sets differ: where one lets more happen than the other, tier by tier, each time with an example.
//!
//! Each set is taken within its own domain, as the runtime takes it. `alert_only` is left out: no policy decides it.
//! Policies of governance know no tiers and are compared whole.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use cedar_policy::{Entities, PolicySet, Request};
use cedar_policy_symcc::{CompiledPolicySet, Env, equivalent_asserts, implies_asserts, never_matches_asserts};
use serde::Serialize;
use shared::detection::Tier;

use super::domain::Region;
use super::example::{Example, Ruling};
use super::proof::{SPURIOUS, allows};
use super::replay::replay;
use super::scene::{Environment, Scene};
use super::session::{Answer, Queries, Session, each};
use super::{Bound, Solver};
use crate::CedarError;
use crate::policies::Policies;
use crate::vocabulary::Vocabulary;

/// The tiers that containment policies decide.
const TIERS: [Option<Tier>; 2] = [Some(Tier::Automated), Some(Tier::Assisted)];

/// Differences, and what it cost to find them.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// One for each environment, in a fixed order.
    pub differences: Vec<Difference>,
    /// What the solver was asked.
    pub queries: Queries,
}

/// How two sets differ in one environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The environment.
    pub environment: Environment,
    /// The tiers at which they may differ; none where they are proven equivalent.
    pub tiers: Vec<TierDifference>,
}

/// How two sets differ at one tier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierDifference {
    /// The tier; `None` of policies that know none.
    pub tier: Option<Tier>,
    /// A request that only the new set allows.
    pub widened: Option<Box<Change>>,
    /// A request that only the old set allows.
    pub narrowed: Option<Box<Change>>,
    /// Why it is not known whether there are more.
    pub unknown: Option<String>,
}

/// A request that two sets answer differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The request.
    pub example: Example,
    /// What the old set says to it.
    pub base: Ruling,
    /// What the new set says to it.
    pub head: Ruling,
}

/// A policy set within its domain.
pub(super) struct Side<'a> {
    policies: &'a Policies,
    confined: PolicySet,
}

impl<'a> Side<'a> {
    pub(super) fn new(policies: &'a Policies, bounds: &[Bound]) -> Result<Self, CedarError> {
        Ok(Self { policies, confined: Region::domain(bounds).confine(&policies.policies)? })
    }
}

/// Two policy sets that are compared.
pub(super) struct Pair<'a> {
    pub(super) base: Side<'a>,
    pub(super) head: Side<'a>,
    /// How requests are named; policies of containment have one.
    pub(super) vocabulary: Option<&'a Vocabulary>,
}

impl Pair<'_> {
    /// Compares in every environment.
    pub(super) fn run(&self, solver: &Solver) -> Result<Comparison, CedarError> {
        let scenes = Scene::all(&self.head.policies.schema)?;
        let (differences, queries) = each(solver, &scenes, |session, scene| self.examine(session, scene))?;
        Ok(Comparison { differences, queries })
    }

    fn examine(&self, session: &mut Session<'_>, scene: &Scene<'_>) -> Result<Difference, CedarError> {
        let (base, head) = (scene.set(&self.base.confined)?, scene.set(&self.head.confined)?);
        let (compared, asked): (Region, &[_]) =
            if self.vocabulary.is_some() { (Region::refusable(), &TIERS) } else { (Region::domain(&[]), &[None]) };
        let mut tiers = Vec::new();
        if !equivalent(session, scene, &base, &head, &compared)? {
            for tier in asked {
                tiers.push(self.at_tier(session, scene, *tier, (&base, &head))?);
            }
        }
        tiers.retain(TierDifference::is_one);
        Ok(Difference { environment: scene.environment(), tiers })
    }

    fn at_tier(
        &self,
        session: &mut Session<'_>,
        scene: &Scene<'_>,
        tier: Option<Tier>,
        (base, head): (&CompiledPolicySet, &CompiledPolicySet),
    ) -> Result<TierDifference, CedarError> {
        let mut difference = TierDifference { tier, widened: None, narrowed: None, unknown: None };
        let at = |side: &Side<'_>| match tier {
            Some(tier) => Region::tier(tier).confine(&side.confined),
            None => Ok(side.confined.clone()),
        };
        let only_head = scene.set(&at(&self.head)?)?;
        let answer = session.example(&implies_asserts(&only_head, base))?;
        difference.widened = difference.found(self.change(answer, &self.head, &self.base));
        let only_base = scene.set(&at(&self.base)?)?;
        let answer = session.example(&implies_asserts(&only_base, head))?;
        difference.narrowed = difference.found(self.change(answer, &self.base, &self.head));
        Ok(difference)
    }

    /// A request that `allowing` allows and `refusing` does not.
    fn change(
        &self,
        answer: Answer<Option<Env>>,
        allowing: &Side<'_>,
        refusing: &Side<'_>,
    ) -> Answer<Option<Box<Change>>> {
        let point = |request: &Request, entities: &Entities| {
            allows(&allowing.confined, request, entities) && !allows(&refusing.confined, request, entities)
        };
        let Some(found) = answer? else { return Ok(None) };
        let replayed = replay(found, self.vocabulary, &point).ok_or(SPURIOUS)?;
        let rule = |side: &Side<'_>| Ruling::of(side.policies, &replayed.request, &replayed.entities, &BTreeSet::new());
        let (base, head) = (rule(&self.base), rule(&self.head));
        Ok(Some(Box::new(Change { example: replayed.example, base, head })))
    }
}

impl TierDifference {
    fn is_one(&self) -> bool {
        self.widened.is_some() || self.narrowed.is_some() || self.unknown.is_some()
    }

    fn found(&mut self, answer: Answer<Option<Box<Change>>>) -> Option<Box<Change>> {
        answer.unwrap_or_else(|reason| {
            self.unknown = Some(reason);
            None
        })
    }
}

/// Those of `suspects` without any one of which `policies` would answer every request within `bounds` as they do. One of
/// which the solver cannot tell is none of them.
pub(super) fn shadowed(
    policies: &Policies,
    suspects: &BTreeSet<String>,
    bounds: &[Bound],
    solver: &Solver,
) -> Result<(BTreeSet<String>, Queries), CedarError> {
    let domain = Region::domain(bounds);
    let whole = domain.confine(&policies.policies)?;
    let mut without = Vec::new();
    for id in suspects {
        let others = policies.policies.policies().filter(|policy| policy.id().to_string() != *id).cloned();
        let others = PolicySet::from_policies(others).map_err(CedarError::symbolic)?;
        without.push((id, domain.confine(&others)?));
    }
    let needed = Mutex::new(BTreeSet::new());
    let examine = |session: &mut Session<'_>, scene: &Scene<'_>| {
        let base = scene.set(&whole)?;
        for (id, others) in &without {
            let known = needed.lock().unwrap_or_else(PoisonError::into_inner).contains(id);
            if !known && !equivalent(session, scene, &base, &scene.set(others)?, &Region::domain(&[]))? {
                needed.lock().unwrap_or_else(PoisonError::into_inner).insert(*id);
            }
        }
        Ok(())
    };
    let (_, queries) = each(solver, &Scene::all(&policies.schema)?, examine)?;
    let needed = needed.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((suspects.iter().filter(|id| !needed.contains(id)).cloned().collect(), queries))
}

/// Whether the solver proves at one go that both sets allow the same requests of `region`.
fn equivalent(
    session: &mut Session<'_>,
    scene: &Scene<'_>,
    base: &CompiledPolicySet,
    head: &CompiledPolicySet,
    region: &Region,
) -> Result<bool, CedarError> {
    let region = scene.policy(&region.policy()?)?;
    let mut asserts = equivalent_asserts(base, head).asserts().to_vec();
    asserts.extend(never_matches_asserts(&region).asserts().iter().cloned());
    Ok(session.contradiction(asserts.into(), &scene.symbols)? == Ok(true))
}
