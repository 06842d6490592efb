//! What a task says of secure aggregation, and what it needs to be safe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Assurance, BLINDING_WORDS, Element, Layout, MIN_COHORT};
use crate::ParticipantId;

/// How many bits an update's entries may have, their sign included.
const VALUE_BITS: std::ops::RangeInclusive<u32> = 8..=24;
/// Sums stay below this in magnitude, so that they never wrap modulo 2³².
const SUM_LIMIT: u64 = 1 << 31;

/// How a task's updates are masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecureAggregation {
    /// A site scales its update, noise and all, down to this L2 norm before it is put on the grid.
    pub clip_norm: f64,
    /// How many bits an entry of an update on the grid has, its sign included: the grid's step is
    /// `clip_norm` / 2^(`value_bits` − 1).
    #[serde(default = "default_bits")]
    pub value_bits: u32,
    /// What is asked of updates that nobody sees.
    #[serde(default)]
    pub assurance: Assurance,
    /// Who may take part, with the keys that identify each: the whole cohort. The coordinator fills it in from its
    /// registry before the operator signs; whoever has taken part with a site before cannot have other keys later.
    #[serde(default)]
    pub roster: BTreeMap<ParticipantId, RosterKeys>,
}

/// A site's long-term keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterKeys {
    /// Checks its signatures (Ed25519).
    pub identity: Element,
    /// Seals what is meant for it alone.
    pub agreement: Element,
}

fn default_bits() -> u32 {
    16
}

/// How many of `sites` must agree and reveal: more than two thirds, so that any two such sets have more than a third in
/// common, and the coordinator cannot have one set reveal a site's keys and another its own mask.
pub fn threshold(sites: usize) -> usize {
    (sites.saturating_mul(2) / 3).saturating_add(1)
}

/// How many honest sites' updates are in a sum at least that `quorum` of `sites` delivered, where fewer than a third are
/// corrupt. Whoever looks counts among the corrupt, also where he keeps to the protocol: he knows what he added.
pub fn honest_survivors(sites: usize, quorum: usize) -> usize {
    quorum.saturating_sub((sites.saturating_sub(1) / 3).max(1))
}

impl SecureAggregation {
    /// The width of the grid.
    pub fn step(&self) -> f64 {
        self.clip_norm / f64::from(self.limit())
    }

    /// No entry of an update on the grid is larger than this in magnitude.
    pub fn limit(&self) -> i32 {
        1_i32.checked_shl(self.value_bits.saturating_sub(1)).unwrap_or(i32::MAX)
    }

    /// No update of `len` entries on the grid is longer than this, in steps: clipped to [`Self::limit`] steps, each entry
    /// rounded by less than one.
    pub fn longest(&self, len: usize) -> f64 {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        f64::from(self.limit()) + f64::from(len).sqrt()
    }

    /// How updates are committed to.
    pub fn layout(&self) -> Layout {
        match self.assurance {
            Assurance::NormProofs { .. } => Layout::Provable,
            Assurance::Openings { .. } | Assurance::None => Layout::packed(self.largest_sum(self.roster.len())),
        }
    }

    /// How many words a masked update of `len` entries has: behind its own stand those of its commitments' blindings.
    pub fn words(&self, len: usize) -> usize {
        len.saturating_add(self.layout().rows(len).saturating_mul(BLINDING_WORDS))
    }

    /// No sum of so many sites' entries is larger than this in magnitude.
    fn largest_sum(&self, sites: usize) -> u64 {
        u64::try_from(sites).unwrap_or(u64::MAX).saturating_mul(self.limit().unsigned_abs().into())
    }

    /// The mean of `updates` updates whose words add up to `sum`, off the grid again. Whoever runs a round and whoever
    /// checks it compute this, so that both get the same bits.
    pub fn mean(&self, sum: &[i32], updates: usize) -> Vec<f64> {
        let updates = u32::try_from(updates).unwrap_or(u32::MAX).max(1);
        let scale = self.step() / f64::from(updates);
        sum.iter().map(|word| f64::from(*word) * scale).collect()
    }

    /// Refuses terms that could wrap or would hide nobody.
    pub(crate) fn validate(&self, cohort: usize, quorum: usize) -> Result<(), String> {
        let check = |holds: bool, reason: String| if holds { Ok(()) } else { Err(reason) };
        check(self.clip_norm.is_finite() && self.clip_norm > 0.0, "clip_norm must be above 0".to_owned())?;
        let (low, high) = (VALUE_BITS.start(), VALUE_BITS.end());
        check(VALUE_BITS.contains(&self.value_bits), format!("value_bits must be {low} to {high}"))?;
        check(cohort >= MIN_COHORT, format!("a cohort of {cohort} hides nobody; it takes {MIN_COHORT}"))?;
        let needed = threshold(cohort);
        check(quorum >= needed, format!("the quorum must be at least {needed} of {cohort}, more than two thirds"))?;
        check(self.largest_sum(cohort) < SUM_LIMIT, format!("{cohort} values of {} bits could wrap", self.value_bits))?;
        self.assurance.validate(cohort, self.value_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(value_bits: u32) -> SecureAggregation {
        SecureAggregation { clip_norm: 2.0, value_bits, assurance: Assurance::None, roster: BTreeMap::new() }
    }

    #[test]
    fn any_two_sets_that_may_reveal_share_more_than_a_third() {
        for sites in 3..=1000 {
            assert!(3 * (2 * threshold(sites) - sites) > sites, "{sites}");
            assert!(threshold(sites) <= sites);
        }
        assert_eq!((threshold(3), threshold(10), threshold(100)), (3, 7, 67));
    }

    #[test]
    fn at_least_two_honest_sites_are_in_every_sum_and_a_third_at_the_least_quorum() {
        for sites in 3..=1000 {
            let honest = honest_survivors(sites, threshold(sites));
            assert!(honest >= 2 && 3 * (honest + 1) > sites, "{honest} of {sites}");
        }
        assert_eq!([(3, 3), (20, 14), (20, 20), (100, 67)].map(|(n, q)| honest_survivors(n, q)), [2, 8, 14, 34]);
    }

    #[test]
    fn a_sum_of_the_largest_values_cannot_wrap() {
        assert!(terms(24).validate(255, 255).is_ok());
        assert!(terms(24).validate(256, 256).unwrap_err().contains("wrap"));
        assert!(terms(16).validate(1000, 1000).is_ok());
    }

    #[test]
    fn at_most_a_third_opens_and_proofs_need_room() {
        let with = |assurance, value_bits| SecureAggregation { assurance, ..terms(value_bits) }.validate(10, 7);
        assert_eq!(with(Assurance::Openings { sites: 3 }, 16), Ok(()));
        assert!(with(Assurance::Openings { sites: 4 }, 16).is_err());
        assert!(with(Assurance::Openings { sites: 0 }, 16).is_err());
        assert_eq!(with(Assurance::NormProofs { root: None }, 16), Ok(()));
        assert!(with(Assurance::NormProofs { root: None }, 17).unwrap_err().contains("at most 16"));
    }

    #[test]
    fn a_masked_update_ends_in_the_blindings_of_its_rows() {
        let with = |assurance| SecureAggregation { assurance, ..terms(16) };
        let plain = with(Assurance::None);
        assert_eq!(plain.words(1_000_000), 1_000_000 + 16 * 16);
        let proven = with(Assurance::NormProofs { root: None });
        assert_eq!(proven.words(10_000), 10_000 + 25 * 16);
    }

    #[test]
    fn an_update_is_packed_as_the_sums_of_the_whole_roster_allow_and_not_where_something_is_proven() {
        let keys = RosterKeys { identity: Element::from([1; 32]), agreement: Element::from([2; 32]) };
        let name = |number| ParticipantId::new(format!("site-{number}")).unwrap();
        let with = |value_bits, sites, assurance| {
            let roster = (0..sites).map(|number| (name(number), keys)).collect();
            SecureAggregation { assurance, roster, ..terms(value_bits) }.layout()
        };
        assert_eq!(with(16, 255, Assurance::None), Layout::Packed24);
        assert_eq!(with(16, 256, Assurance::Openings { sites: 3 }), Layout::Packed32);
        assert_eq!(with(22, 4, Assurance::None), Layout::Packed32);
        assert_eq!(with(16, 10, Assurance::NormProofs { root: None }), Layout::Provable);
    }

    #[test]
    fn terms_that_hide_nobody_or_have_no_grid_are_refused() {
        assert!(terms(16).validate(2, 2).is_err());
        assert!(terms(16).validate(10, 6).unwrap_err().contains("at least 7"));
        assert!(terms(7).validate(10, 7).is_err() && terms(25).validate(10, 7).is_err());
        let unclipped = SecureAggregation { clip_norm: f64::NAN, ..terms(16) };
        assert!(unclipped.validate(10, 7).is_err());
        assert_eq!(terms(16).step(), 2.0 / 32768.0);
    }
}
