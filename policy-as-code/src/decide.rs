//! The decision: the widest tier at which the policy set allows a request.
//!
//! Asked automated → assisted → alert-only in turn. Telling a person is never refused; everything else is refused on any
//! error, and a request outside the domain is not asked at all.

pub mod comparison;
mod counters;
mod in_force;

use std::collections::BTreeMap;

use policy_as_code_cedar::{Place, PolicySet};
use shared::Digest;
use shared::decision::{Decision, DecisionRequest, TierAnswer};
use shared::detection::Tier;

use self::counters::Counters;
pub use self::in_force::InForce;
use crate::PolicyError;
use crate::domain::Domain;
use crate::governance::Governance;
use crate::invariant::Invariants;
use crate::playbook::{self, Playbook};
use crate::repository::{Repository, SCHEMA, site_of};
use crate::veto::{self, Veto};

/// A policy repository in force.
pub struct Engine {
    policies: PolicySet,
    domain: Domain,
    governance: Governance,
    invariants: Invariants,
    playbooks: BTreeMap<String, Playbook>,
    bundle: Digest,
    veto: Option<Box<dyn Veto>>,
    counters: Counters,
}

impl Engine {
    /// Loads `repository`, whole or not at all: the policies of all sites and, given one, what `site` adds.
    pub fn new(repository: &Repository, site: Option<&str>) -> Result<Self, PolicyError> {
        if let Some(site) = site.filter(|site| !repository.sites().contains(*site)) {
            return Err(PolicyError::NoSite { site: site.to_owned() });
        }
        let schema = repository.file(SCHEMA)?;
        let policies = PolicySet::parse(&schema, &repository.policies(site))?;
        only_forbids(&policies)?;
        Ok(Self {
            policies,
            domain: Domain::parse(&repository.file("schema/domain.toml")?.text)?,
            governance: Governance::new(repository)?,
            invariants: Invariants::parse(repository)?,
            playbooks: playbook::parse_all(repository)?,
            bundle: repository.digest()?,
            veto: veto::load(repository)?,
            counters: Counters::default(),
        })
    }

    /// Decides. Never fails: what cannot be evaluated is answered more strictly, with the reason in the answer.
    pub fn decide(&self, request: &DecisionRequest) -> Decision {
        let decision = self.decide_by(request, |tier| self.policies.answer(request, tier));
        self.counters.count(request.action, &decision);
        decision
    }

    /// The decision, where `answer` says what the policies allow at a tier.
    fn decide_by(&self, request: &DecisionRequest, answer: impl Fn(Tier) -> TierAnswer) -> Decision {
        let answers = match self.domain.violations(request) {
            violations if violations.is_empty() => {
                let always = self.invariants.always();
                ask(|tier| veto::overrule(self.veto.as_deref(), always, request, answer(tier)))
            }
            errors => vec![TierAnswer { tier: Tier::AlertOnly, allowed: true, policies: Vec::new(), errors }],
        };
        let tier = answers.last().map_or(Tier::AlertOnly, |answer| answer.tier);
        Decision { tier, answers, bundle: self.bundle }
    }

    /// Digest of the repository in force.
    pub fn bundle(&self) -> Digest {
        self.bundle
    }

    /// The policies.
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// The policies that say which tasks a site takes part in.
    pub fn governance(&self) -> &Governance {
        &self.governance
    }

    /// The ranges that requests are held to.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The invariants.
    pub fn invariants(&self) -> &Invariants {
        &self.invariants
    }

    /// The playbook of file `playbooks/<name>.json`.
    pub fn playbook(&self, name: &str) -> Option<&Playbook> {
        self.playbooks.get(name)
    }

    /// All playbooks, by file name without its ending.
    pub fn playbooks(&self) -> &BTreeMap<String, Playbook> {
        &self.playbooks
    }
}

/// A site may only narrow what holds at every site: what was proven of the policies of all then holds there too.
fn only_forbids(policies: &PolicySet) -> Result<(), PolicyError> {
    let widens = |(id, place): &(&String, &Place)| site_of(&place.path).is_some() && policies.permits(id);
    match policies.places().iter().find(widens) {
        Some((id, place)) => Err(PolicyError::SitePermits { place: place.clone(), id: id.clone() }),
        None => Ok(()),
    }
}

/// Asks for one tier after the other, up to the first that is allowed.
fn ask(answer: impl Fn(Tier) -> TierAnswer) -> Vec<TierAnswer> {
    let mut answers = Vec::with_capacity(Tier::WIDEST_FIRST.len());
    for tier in Tier::WIDEST_FIRST {
        let mut answer = answer(tier);
        answer.allowed |= tier == Tier::AlertOnly;
        let allowed = answer.allowed;
        answers.push(answer);
        if allowed {
            break;
        }
    }
    answers
}

#[cfg(test)]
mod tests;
