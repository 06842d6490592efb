//! How two policy sets differ: where one lets more happen than the other, tier by tier, each time with an example.
//!
//! Each set is taken within its own domain, as the runtime takes it. `alert_only` is left out: no policy decides it.

use std::collections::BTreeSet;

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

/// The tiers that policies decide.
const TIERS: [Tier; 2] = [Tier::Automated, Tier::Assisted];

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
    /// The tier.
    pub tier: Tier,
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
    pub(super) vocabulary: &'a Vocabulary,
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
        let mut tiers = Vec::new();
        if !equivalent(session, scene, &base, &head)? {
            for tier in TIERS {
                tiers.push(self.at_tier(session, scene, tier, (&base, &head))?);
            }
        }
        tiers.retain(TierDifference::is_one);
        Ok(Difference { environment: scene.environment(), tiers })
    }

    fn at_tier(
        &self,
        session: &mut Session<'_>,
        scene: &Scene<'_>,
        tier: Tier,
        (base, head): (&CompiledPolicySet, &CompiledPolicySet),
    ) -> Result<TierDifference, CedarError> {
        let mut difference = TierDifference { tier, widened: None, narrowed: None, unknown: None };
        let region = Region::tier(tier);
        let only_head = scene.set(&region.confine(&self.head.confined)?)?;
        let answer = session.example(&implies_asserts(&only_head, base))?;
        difference.widened = difference.found(self.change(answer, &self.head, &self.base));
        let only_base = scene.set(&region.confine(&self.base.confined)?)?;
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
        let replayed = replay(found, Some(self.vocabulary), &point).ok_or(SPURIOUS)?;
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

/// Whether the solver proves at one go that both sets allow the same requests.
fn equivalent(
    session: &mut Session<'_>,
    scene: &Scene<'_>,
    base: &CompiledPolicySet,
    head: &CompiledPolicySet,
) -> Result<bool, CedarError> {
    let refusable = scene.policy(&Region::refusable().policy()?)?;
    let mut asserts = equivalent_asserts(base, head).asserts().to_vec();
    asserts.extend(never_matches_asserts(&refusable).asserts().iter().cloned());
    Ok(session.contradiction(asserts.into(), &scene.symbols)? == Ok(true))
}
