//! Who opens its update: by a lot for each, from what its site signed and what the coordinator had committed to before. It
//! draws nobody: it tells whether a lot falls on somebody.

use shared::Digest;

use crate::digest;

/// The lots of a round. A site has fixed its header before it can know the beacon, and the coordinator the beacon before it
/// can know the header: neither chooses.
#[derive(Debug, Clone, Copy)]
pub struct Lots {
    beacon: Digest,
}

impl Lots {
    /// The lots that follow from a beacon.
    pub fn new(beacon: Digest) -> Self {
        Self { beacon }
    }

    /// Whether the lot falls on the update with this signed header, with a chance of `sites` in `cohort`: whether the first
    /// 64 bits of SHA-256 over a label, the beacon and the header's digest are below that share of 2⁶⁴. Anybody can draw again.
    pub fn fall_on(&self, header: Digest, sites: u32, cohort: usize) -> bool {
        let Digest(lot) = digest(format!("ringfence/v1/opening\n{}\n{header}", self.beacon).as_bytes());
        let drawn = lot.first_chunk().map_or(u64::MAX, |first| u64::from_be_bytes(*first));
        let cohort = u128::try_from(cohort).unwrap_or(u128::MAX);
        u128::from(drawn).saturating_mul(cohort) < u128::from(sites) << 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lot_falls_as_often_as_the_share_of_the_cohort_and_each_by_itself() {
        let header = |number: u32| digest(&number.to_le_bytes());
        for (sites, cohort) in [(1_u32, 3_usize), (3, 10), (1, 100), (10, 1000)] {
            let falls = |beacon: &[u8], number| Lots::new(digest(beacon)).fall_on(header(number), sites, cohort);
            let expected = 30_000.0 * f64::from(sites) / f64::from(u32::try_from(cohort).unwrap());
            let count = (0..30_000).filter(|number| falls(b"one", *number)).count();
            let both = (0..30_000).filter(|number| falls(b"one", *number) && falls(b"other", *number)).count();
            let near = |count: usize, expected: f64| {
                (f64::from(u32::try_from(count).unwrap()) - expected).abs() < 5.0 * expected.sqrt() + 1.0
            };
            assert!(near(count, expected), "{count} of {expected}");
            assert!(near(both, expected * expected / 30_000.0), "{both} of {expected}");
        }
    }

    #[test]
    fn everybody_is_drawn_where_all_are_to_open_and_nobody_where_none() {
        let lots = Lots::new(digest(b"a beacon"));
        assert!((0..1000_u32).all(|number| lots.fall_on(digest(&number.to_le_bytes()), 7, 7)));
        assert!(!(0..1000_u32).any(|number| lots.fall_on(digest(&number.to_le_bytes()), 0, 7)));
    }
}
