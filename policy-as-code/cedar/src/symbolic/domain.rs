//! The domain of requests as a condition in Cedar, for a solver to assume.
//!
//! It says what the runtime holds requests to, no more: what is assumed here and not refused there would be a hole in
//! every proof.

use cedar_policy::{Policy, PolicyId, PolicySet};
use shared::detection::Tier;

use crate::CedarError;

/// Whose number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A release that asks.
    Release,
    /// The circumstances.
    Context,
}

/// The range of a number, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Whose number it is.
    pub holder: Holder,
    /// The number's name in the schema.
    pub name: &'static str,
    /// The lowest value.
    pub min: i64,
    /// The highest value.
    pub max: i64,
}

impl Bound {
    fn condition(&self) -> String {
        let Self { name, min, max, .. } = self;
        match self.holder {
            Holder::Context => format!("context.{name} >= {min} && context.{name} <= {max}"),
            Holder::Release => format!(
                "(if principal is Ringfence::Release then principal.{name} >= {min} && principal.{name} <= {max} \
                 else true)"
            ),
        }
    }
}

/// A part of all requests, as a condition in Cedar that cannot fail.
#[derive(Debug, Clone)]
pub(super) struct Region(String);

impl Region {
    /// The requests whose numbers lie in their ranges.
    pub(super) fn domain(bounds: &[Bound]) -> Self {
        let conditions: Vec<String> = bounds.iter().map(Bound::condition).collect();
        Self(if conditions.is_empty() { "true".to_owned() } else { conditions.join(" && ") })
    }

    /// The requests at `tier`.
    pub(super) fn tier(tier: Tier) -> Self {
        Self(format!("context.tier == Ringfence::Tier::\"{tier}\""))
    }

    /// The requests at tiers that a policy can refuse.
    pub(super) fn refusable() -> Self {
        Self(format!("context.tier != Ringfence::Tier::\"{}\"", Tier::AlertOnly))
    }

    /// A policy that matches the region, and nothing else.
    pub(super) fn policy(&self) -> Result<Policy, CedarError> {
        parse(&format!("permit (principal, action, resource) when {{ {} }};", self.0))
    }

    /// `policies`, refusing whatever lies outside the region.
    pub(super) fn confine(&self, policies: &PolicySet) -> Result<PolicySet, CedarError> {
        let mut confined = policies.clone();
        let rest = parse(&format!("forbid (principal, action, resource) unless {{ {} }};", self.0))?;
        // Two regions may confine one set; an id of its own keeps the second from being refused.
        let id = PolicyId::new(format!("outside {}", self.0));
        confined.add(rest.new_id(id)).map_err(CedarError::symbolic)?;
        Ok(confined)
    }

    /// `policy`, looking at a request only when it lies in the region: outside, it neither matches nor fails.
    pub(super) fn guard(&self, policy: &Policy) -> Result<Policy, CedarError> {
        let conditions = |json: &mut serde_json::Value| {
            json.get_mut("conditions").and_then(|list| list.as_array_mut().map(std::mem::take))
        };
        let mut region = self.policy()?.to_json().map_err(CedarError::symbolic)?;
        let mut guarded = policy.to_json().map_err(CedarError::symbolic)?;
        let own = conditions(&mut guarded).unwrap_or_default();
        let first = conditions(&mut region).unwrap_or_default();
        if let Some(object) = guarded.as_object_mut() {
            object.insert("conditions".to_owned(), first.into_iter().chain(own).collect());
        }
        Policy::from_json(Some(policy.id().clone()), guarded).map_err(CedarError::symbolic)
    }
}

fn parse(text: &str) -> Result<Policy, CedarError> {
    Policy::parse(None, text).map_err(CedarError::symbolic)
}
