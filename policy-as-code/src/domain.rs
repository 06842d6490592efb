//! The range of every number that a policy may look at, from `schema/domain.toml`.
//!
//! The runtime refuses a request outside; so whoever proves something about the policies may assume that none exists.

use policy_as_code_cedar::{Bound, Holder};
use serde::{Deserialize, Serialize};
use shared::asset::Asset;
use shared::decision::{DecisionContext, DecisionRequest, Requester};

use crate::PolicyError;

/// The longest text of an asset, tag, reason or responder, in bytes.
pub const MAX_TEXT: usize = 256;
/// How many tags an asset may have.
pub const MAX_TAGS: usize = 64;
/// How many reasons a request may give.
pub const MAX_REASONS: usize = 64;
/// How many numbers a request has.
const NUMBERS: usize = 14;
/// The numbers that are a release's; all others are the context's.
const RELEASE: [&str; 1] = ["age_days"];

/// A range of integers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The lowest value.
    pub min: i64,
    /// The highest value.
    pub max: i64,
}

/// The ranges of a release's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseDomain {
    /// Days since it was published.
    pub age_days: Range,
}

/// The ranges of [`DecisionContext`]'s numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the range of the context's field of the same name")]
pub struct ContextDomain {
    pub score_bp: Range,
    pub false_positive_rate_bp: Range,
    pub false_positive_rate_high_bp: Range,
    pub blast_radius: Range,
    pub service_blast_radius: Range,
    pub site_blast_radius: Range,
    pub healthy_peers: Range,
    pub active_containments: Range,
    pub class_containments: Range,
    pub recent_actions: Range,
    pub playbook_step: Range,
    pub monitored_s: Range,
    pub approvals: Range,
}

/// All ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Of a release that asks.
    pub release: ReleaseDomain,
    /// Of the circumstances.
    pub context: ContextDomain,
}

impl Domain {
    /// Reads `domain.toml`.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let domain: Self = toml::from_str(text).map_err(|error| PolicyError::Domain { reason: error.to_string() })?;
        match domain.ranges().iter().find(|(_, range)| range.min > range.max) {
            Some((name, range)) => {
                Err(PolicyError::Domain { reason: format!("`{name}` has min {} above max {}", range.min, range.max) })
            }
            None => Ok(domain),
        }
    }

    /// Every range with the name of its number.
    pub fn ranges(&self) -> [(&'static str, Range); NUMBERS] {
        let context = &self.context;
        [
            ("age_days", self.release.age_days),
            ("score_bp", context.score_bp),
            ("false_positive_rate_bp", context.false_positive_rate_bp),
            ("false_positive_rate_high_bp", context.false_positive_rate_high_bp),
            ("blast_radius", context.blast_radius),
            ("service_blast_radius", context.service_blast_radius),
            ("site_blast_radius", context.site_blast_radius),
            ("healthy_peers", context.healthy_peers),
            ("active_containments", context.active_containments),
            ("class_containments", context.class_containments),
            ("recent_actions", context.recent_actions),
            ("playbook_step", context.playbook_step),
            ("monitored_s", context.monitored_s),
            ("approvals", context.approvals),
        ]
    }

    /// The ranges as a proof may assume them.
    pub fn bounds(&self) -> Vec<Bound> {
        let holder = |name| if RELEASE.contains(&name) { Holder::Release } else { Holder::Context };
        let bound = |(name, Range { min, max })| Bound { holder: holder(name), name, min, max };
        self.ranges().into_iter().map(bound).collect()
    }

    /// What lies outside, as messages; empty when the request may be asked.
    pub fn violations(&self, request: &DecisionRequest) -> Vec<String> {
        let values = numbers(&request.requester, &request.context);
        let pairs = self.ranges().into_iter().zip(values);
        let outside = pairs.filter_map(|((name, range), value)| value.and_then(|value| outside(name, range, value)));
        outside.chain(oversized(request)).collect()
    }
}

/// The request's numbers, in the order of [`Domain::ranges`].
fn numbers(requester: &Requester, context: &DecisionContext) -> [Option<i64>; NUMBERS] {
    let age_days = match requester {
        Requester::Release { age_days, .. } => Some(*age_days),
        Requester::Responder { .. } => None,
    };
    [
        age_days,
        Some(context.score_bp),
        Some(context.false_positive_rate_bp),
        Some(context.false_positive_rate_high_bp),
        Some(context.blast_radius),
        Some(context.service_blast_radius),
        Some(context.site_blast_radius),
        Some(context.healthy_peers),
        Some(context.active_containments),
        Some(context.class_containments),
        Some(context.recent_actions),
        Some(context.playbook_step),
        Some(context.monitored_s),
        Some(context.approvals),
    ]
}

fn outside(name: &str, range: Range, value: i64) -> Option<String> {
    let Range { min, max } = range;
    (value < min || value > max).then(|| format!("`{name}` is {value}, outside {min} to {max} of `schema/domain.toml`"))
}

fn oversized(request: &DecisionRequest) -> Option<String> {
    let Asset { environment, owner, tags, .. } = &request.asset;
    let name = match &request.requester {
        Requester::Responder { name, .. } => name.as_str(),
        Requester::Release { .. } => "",
    };
    let own = [environment.as_str(), owner.as_str(), name];
    let tag_texts = tags.iter().flat_map(|(tag, value)| [tag.as_str(), value.as_str()]);
    let reasons = &request.context.reasons;
    let mut texts = own.into_iter().chain(tag_texts).chain(reasons.iter().map(String::as_str));
    let too_large = tags.len() > MAX_TAGS || reasons.len() > MAX_REASONS || texts.any(|text| text.len() > MAX_TEXT);
    too_large
        .then(|| format!("it exceeds {MAX_TAGS} tags, {MAX_REASONS} reasons or {MAX_TEXT} bytes in one of its texts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../schema/domain.toml");

    #[test]
    fn a_domain_without_one_of_the_numbers_is_refused() {
        for name in Domain::parse(SHIPPED).unwrap().ranges().map(|(name, _)| name) {
            let renamed = SHIPPED.replace(&format!(".{name}]"), ".something_else]");
            assert!(matches!(Domain::parse(&renamed), Err(PolicyError::Domain { .. })), "{name}");
        }
    }

    #[test]
    fn a_range_that_holds_nothing_is_refused() {
        let empty = SHIPPED.replacen("max = 10000", "max = -1", 1);
        assert!(Domain::parse(&empty).unwrap_err().to_string().contains("min 0 above max -1"));
    }
}
