//! Policies compiled for the requests that Ringfence makes: specialised, at load, for every kind of requester, action and
//! tier, so that a decision builds no Cedar request and evaluates only what depends on it.
//!
//! An answer is Cedar's answer or none: whatever is not compiled, and whatever fails, is left to Cedar.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::pst::{self, Template};
use cedar_policy::{Effect, Entities, Policy};
use shared::decision::{ContainmentAction, DecisionRequest};
use shared::detection::Tier;

use self::compiler::{ActionGroups, Compiler};
use self::expression::Bool;
use self::shelf::{Rule, Shelf};
use crate::attributes::RequesterKind;
use crate::policies::Answer;

mod compiler;
mod expression;
mod pattern;
mod shelf;
mod value;

/// A compiled policy set.
pub(crate) struct Compiled {
    /// In order, so that policies are named in the order of their ids.
    ids: Vec<String>,
    /// In the order of [`Environment::all`].
    programs: Vec<Program>,
}

/// What is known of a request when policies are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Environment {
    requester: RequesterKind,
    action: ContainmentAction,
    tier: Tier,
}

/// The policies in one environment.
struct Program {
    forbids: Shelf,
    permits: Shelf,
    /// Permits that may fail: an error counts even where a forbid has decided.
    fallible_permits: Shelf,
}

/// The rules of each policy: what is the same in several environments is kept once, which saves memory and cache.
struct Shared(BTreeMap<usize, Vec<Arc<Rule>>>);

/// A policy before it is compiled.
struct Uncompiled {
    id: String,
    effect: Effect,
    /// `None` where Cedar has no syntax tree of it.
    template: Option<Template>,
}

impl Compiled {
    /// Compiles `policies`, which are strictly valid for the actions `actions`.
    pub(crate) fn new(policies: &cedar_policy::PolicySet, actions: &Entities) -> Self {
        let groups = ActionGroups::from(actions);
        let mut policies: Vec<Uncompiled> = policies.policies().map(Uncompiled::from).collect();
        policies.sort_by(|one, other| one.id.cmp(&other.id));
        let mut shared = Shared(BTreeMap::new());
        let program = |environment| Program::new(&policies, &Compiler { environment, groups: &groups }, &mut shared);
        let programs = Environment::all().map(program).collect();
        Self { ids: policies.into_iter().map(|policy| policy.id).collect(), programs }
    }

    /// What the policies say to `request` at `tier`; `None` where only Cedar can tell.
    pub(crate) fn answer(&self, request: &DecisionRequest, tier: Tier) -> Option<Answer> {
        let program = self.programs.get(Environment::of(request, tier).place()?)?;
        let (effect, mut satisfied) = program.determining(request)?;
        satisfied.sort_unstable();
        let allowed = effect == Effect::Permit && !satisfied.is_empty();
        let policies = satisfied.into_iter().filter_map(|policy| self.ids.get(policy).cloned()).collect();
        Some(Answer { allowed, policies, errors: Vec::new() })
    }
}

impl Environment {
    fn all() -> impl Iterator<Item = Self> {
        let pairs = RequesterKind::ALL.into_iter().flat_map(|who| ContainmentAction::ALL.map(|action| (who, action)));
        pairs.flat_map(|(requester, action)| Tier::WIDEST_FIRST.map(|tier| Self { requester, action, tier }))
    }

    fn of(request: &DecisionRequest, tier: Tier) -> Self {
        Self { requester: RequesterKind::of(&request.requester), action: request.action, tier }
    }

    /// Where it stands among [`Environment::all`].
    fn place(self) -> Option<usize> {
        let requester = RequesterKind::ALL.iter().position(|requester| *requester == self.requester)?;
        let action = ContainmentAction::ALL.iter().position(|action| *action == self.action)?;
        let tier = Tier::WIDEST_FIRST.iter().position(|tier| *tier == self.tier)?;
        Some((requester * ContainmentAction::ALL.len() + action) * Tier::WIDEST_FIRST.len() + tier)
    }
}

impl Shared {
    fn rule(&mut self, policy: usize, condition: Bool) -> Arc<Rule> {
        let rule = Rule::new(policy, condition);
        let rules = self.0.entry(policy).or_default();
        if let Some(same) = rules.iter().find(|known| ***known == rule) {
            return Arc::clone(same);
        }
        let rule = Arc::new(rule);
        rules.push(Arc::clone(&rule));
        rule
    }
}

impl From<&Policy> for Uncompiled {
    fn from(policy: &Policy) -> Self {
        let template = match policy.to_pst() {
            Ok(pst::Policy::Static(policy)) => Some(policy.body().clone()),
            Ok(pst::Policy::Linked(_)) | Err(_) => None,
        };
        Self { id: policy.id().to_string(), effect: policy.effect(), template }
    }
}

impl Program {
    fn new(policies: &[Uncompiled], compiler: &Compiler<'_>, shared: &mut Shared) -> Self {
        let (mut forbids, mut permits, mut fallible_permits) = (Vec::new(), Vec::new(), Vec::new());
        for (number, policy) in policies.iter().enumerate() {
            let condition = policy.template.as_ref().map_or(Bool::Unknown, |template| compiler.condition(template));
            if matches!(condition, Bool::Known(false)) {
                continue;
            }
            let rule = shared.rule(number, condition);
            match policy.effect {
                Effect::Forbid => forbids.push(rule),
                Effect::Permit if rule.may_fail() => fallible_permits.push(rule),
                Effect::Permit => permits.push(rule),
            }
        }
        Self {
            forbids: Shelf::new(&forbids),
            permits: Shelf::new(&permits),
            fallible_permits: Shelf::new(&fallible_permits),
        }
    }

    /// The satisfied policies of the effect that decides: forbids where there are any, else permits.
    fn determining(&self, request: &DecisionRequest) -> Option<(Effect, Vec<usize>)> {
        let (mut forbids, mut permits) = (Vec::new(), Vec::new());
        self.forbids.satisfied(request, &mut forbids)?;
        self.fallible_permits.satisfied(request, &mut permits)?;
        if !forbids.is_empty() {
            return Some((Effect::Forbid, forbids));
        }
        self.permits.satisfied(request, &mut permits)?;
        Some((Effect::Permit, permits))
    }
}

#[cfg(test)]
mod tests;
