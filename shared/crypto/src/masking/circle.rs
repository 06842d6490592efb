//! Who shares masks and secrets with whom: everybody with everybody up to 129 sites, beyond that each site with 128 others
//! (Bell, Bonawitz, Gascón, Lepoint and Raykova 2020, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead").
//! The graph is public: anybody who knows the task draws the same one.

use std::collections::BTreeSet;

use shared::masking::{MAX_NEIGHBOURS, threshold};
use shared::{Digest, ParticipantId};

use crate::DigestWriter;

/// A cohort as a Harary graph over its sites in a random order: a circle on which each site is joined to the next
/// `degree / 2` on either side. A site's secrets are held by its neighbours and itself, and ⌊2 (degree + 1) / 3⌋ + 1 holders give one back.
///
/// With everybody joined to everybody, fewer than a third of the sites may be corrupt and fewer than a third may drop.
/// With 128 neighbours, of whom 87 holders are needed, chance decides, and of n sites these many are borne:
///
/// | n    | corrupt at 2^-40 | dropped at 2^-20 | corrupt at 2^-40, the coordinator choosing who drops |
/// |------|------------------|------------------|-----------------|
/// | 150  | 86               | 41 (27 %)        | 21 (14 %)       |
/// | 200  | 95               | 42 (21 %)        | 21 (10 %)       |
/// | 300  | 126              | 53 (17 %)        | 23 (7 %)        |
/// | 500  | 190              | 76 (15 %)        | 29 (5 %)        |
/// | 1000 | 353              | 135 (13 %)       | 47 (4 %)        |
///
/// *Corrupt*: the most corrupt sites for which the chance that they hold enough shares of any one site's secrets is at most
/// 2^-40. *Dropped*: the most dropped sites, whichever they are, for which the chance that any one site lacks holders
/// is at most 2^-20; with more, rounds begin to be void, and nothing else happens. Up to there and with a third corrupt, the
/// honest survivors fall apart into groups that share no mask (whose sums would show) with a chance below 2^-130.
///
/// *The coordinator choosing*: it knows the graph and may call honest sites dropped. To part the survivors it must cut
/// the circle twice, each time over 64 places in a row; the site at the edge then has at most itself, 64 holders on its
/// other side and the corrupt among the 64. As long as these are fewer than 87, its mask stays on and its group's sum
/// hidden. With more corrupt sites than in the last column, a coordinator that is corrupt as well can learn the sum of a
/// group: never of fewer than 87 less the corrupt holders of one site's secrets. All this presumes that one list of
/// survivors was signed by more than two thirds of all sites, and that who is corrupt was settled before the seed; who
/// can try 2^b seeds gains b of the 40 bits.
#[derive(Debug, Clone)]
pub struct Circle {
    /// The cohort, ascending.
    names: Vec<ParticipantId>,
    /// The sites, by their numbers in `names`, as they stand on the circle.
    circle: Vec<usize>,
    /// Where on the circle each site stands.
    places: Vec<usize>,
}

impl Circle {
    /// The circle of a cohort in the task with this digest. The sites stand in the order of SHA-256 over the digest and
    /// their number in the cohort (8 bytes, big-endian).
    pub fn new(cohort: &BTreeSet<ParticipantId>, task_digest: &Digest) -> Self {
        let names: Vec<ParticipantId> = cohort.iter().cloned().collect();
        let mut circle: Vec<usize> = (0..names.len()).collect();
        circle.sort_by_cached_key(|site| draw(task_digest, *site));
        let mut places: Vec<usize> = (0..names.len()).collect();
        places.sort_by_key(|place| circle.get(*place).copied());
        Self { names, circle, places }
    }

    /// Who holds shares of a dealer's secrets, in the order of their names: its neighbours and itself. Nobody holds any of
    /// who is not in the cohort.
    pub fn holders(&self, dealer: &ParticipantId) -> impl Iterator<Item = &ParticipantId> {
        self.holder_numbers(dealer).into_iter().filter_map(|number| self.names.get(number))
    }

    /// How many hold shares of any dealer's secrets.
    pub fn holder_count(&self) -> usize {
        self.names.len().min(MAX_NEIGHBOURS.saturating_add(1))
    }

    /// How many shares a secret takes: ⌊2 h / 3⌋ + 1 of h.
    pub fn threshold(&self) -> usize {
        threshold(self.holder_count())
    }

    /// Whether one site holds shares of the other's secrets, and shares a mask with it if they are two.
    pub fn are_neighbours(&self, one: &ParticipantId, other: &ParticipantId) -> bool {
        let (Some(one), Some(other)) = (self.place(one), self.place(other)) else { return false };
        let gap = one.abs_diff(other);
        gap.min(self.names.len().saturating_sub(gap)) <= MAX_NEIGHBOURS / 2
    }

    /// The number of a holder's share of a dealer's secret, from 1; `None` for who holds none.
    pub fn share_number(&self, dealer: &ParticipantId, holder: &ParticipantId) -> Option<u32> {
        let holder = self.names.binary_search(holder).ok()?;
        let number = self.holder_numbers(dealer).binary_search(&holder).ok()?;
        u32::try_from(number).ok()?.checked_add(1)
    }

    fn place(&self, site: &ParticipantId) -> Option<usize> {
        self.places.get(self.names.binary_search(site).ok()?).copied()
    }

    fn holder_numbers(&self, dealer: &ParticipantId) -> Vec<usize> {
        let Some(place) = self.place(dealer) else { return Vec::new() };
        let count = self.circle.len();
        let first = place.saturating_add(count).saturating_sub(MAX_NEIGHBOURS / 2);
        let around = self.circle.iter().cycle().skip(first % count.max(1));
        let mut holders: Vec<usize> = around.take(self.holder_count()).copied().collect();
        holders.sort_unstable();
        holders
    }
}

fn draw(seed: &Digest, site: usize) -> Digest {
    let mut writer = DigestWriter::new();
    writer.update(&seed.0);
    writer.update(&u64::try_from(site).unwrap_or(u64::MAX).to_be_bytes());
    writer.finish()
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "counts up to 1000 as floating-point numbers")]
mod tests {
    use super::*;

    fn cohort(count: usize) -> BTreeSet<ParticipantId> {
        (0..count).map(site).collect()
    }

    fn site(number: usize) -> ParticipantId {
        ParticipantId::new(format!("s{number:04}")).unwrap()
    }

    fn circle(count: usize) -> Circle {
        Circle::new(&cohort(count), &Digest([3; 32]))
    }

    #[test]
    fn up_to_129_sites_everybody_is_joined_to_everybody() {
        for count in [1, 2, 3, 4, 100, 128, 129] {
            let circle = circle(count);
            for one in cohort(count) {
                assert!(circle.holders(&one).eq(&cohort(count)), "{one} of {count}");
                assert!(cohort(count).iter().all(|other| circle.are_neighbours(&one, other)));
            }
            assert_eq!((circle.holder_count(), circle.threshold()), (count, 2 * count / 3 + 1));
        }
    }

    #[test]
    fn beyond_it_everybody_has_128_neighbours_whose_neighbour_it_is() {
        for count in [130, 131, 300] {
            let circle = circle(count);
            assert_eq!((circle.holder_count(), circle.threshold()), (129, 87));
            for one in cohort(count) {
                let holders: BTreeSet<_> = circle.holders(&one).cloned().collect();
                assert_eq!(holders.len(), 129);
                let neighbours = cohort(count).into_iter().filter(|other| circle.are_neighbours(&one, other));
                assert_eq!(neighbours.collect::<BTreeSet<_>>(), holders);
                assert!(holders.iter().all(|other| circle.are_neighbours(other, &one)));
            }
        }
    }

    #[test]
    fn shares_are_numbered_from_1_in_the_order_of_the_holders() {
        for count in [4, 200] {
            let circle = circle(count);
            for dealer in [site(0), site(count - 1)] {
                let numbers = circle.holders(&dealer).map(|holder| circle.share_number(&dealer, holder));
                assert!(numbers.eq((1..=129.min(u32::try_from(count).unwrap())).map(Some)));
            }
            let strangers = cohort(count).into_iter().filter(|other| !circle.are_neighbours(&site(0), other));
            assert!(strangers.into_iter().all(|other| circle.share_number(&site(0), &other).is_none()));
        }
    }

    #[test]
    fn the_task_decides_who_are_neighbours_and_who_is_not_in_it_has_none() {
        let other = Circle::new(&cohort(300), &Digest([4; 32]));
        assert!(circle(300).holders(&site(0)).eq(circle(300).holders(&site(0))));
        assert!(!circle(300).holders(&site(0)).eq(other.holders(&site(0))));
        assert_eq!(circle(300).holders(&site(300)).count(), 0);
        assert_eq!(circle(0).holders(&site(0)).count(), 0);
        assert!(!circle(3).are_neighbours(&site(0), &site(3)));
    }

    /// Whether the sites of `kept` hang together.
    fn connected(circle: &Circle, kept: &[usize]) -> bool {
        let mut reached = vec![kept[0]];
        let mut next = 0;
        while let Some(one) = reached.get(next).copied() {
            let fresh = circle.holder_numbers(&site(one)).into_iter().filter(|other| kept.contains(other));
            let fresh: Vec<usize> = fresh.filter(|other| !reached.contains(other)).collect();
            reached.extend(fresh);
            next += 1;
        }
        reached.len() == kept.len()
    }

    #[test]
    fn it_takes_two_gaps_of_64_places_to_part_the_circle() {
        let circle = circle(300);
        let without = |gaps: [std::ops::Range<usize>; 2]| -> Vec<usize> {
            let stays = |place: &usize| !gaps.iter().any(|gap| gap.contains(place));
            (0..300).filter(stays).map(|place| circle.circle[place]).collect()
        };
        assert!(connected(&circle, &without([10..74, 100..163])));
        assert!(!connected(&circle, &without([10..74, 100..164])));
    }

    const N: [usize; 5] = [150, 200, 300, 500, 1000];
    const HALF: usize = MAX_NEIGHBOURS / 2;
    const NEEDED: usize = 87;

    fn log2_choose(n: usize, k: usize) -> f64 {
        (0..k).map(|i| ((n - i) as f64 / (k - i) as f64).log2()).sum()
    }

    /// The hypergeometric tail: log2 of the chance that of `drawn` out of `n` sites, `marked` of which are marked, at least
    /// `least` are marked.
    fn log2_tail(n: usize, marked: usize, drawn: usize, least: usize) -> f64 {
        let low = least.max((drawn + marked).saturating_sub(n));
        let term = |x| log2_choose(marked, x) + log2_choose(n - marked, drawn - x) - log2_choose(n, drawn);
        (low..=drawn.min(marked)).map(|x| term(x).exp2()).sum::<f64>().log2()
    }

    /// The most marked sites of `n` for which none of the `n` has `least` of them among `drawn` others, but for a chance of
    /// 2^-bits (by the union bound).
    fn borne(n: usize, drawn: usize, least: usize, bits: f64) -> usize {
        let chance = |marked| (n as f64).log2() + log2_tail(n - 1, marked, drawn, least);
        (0..n).take_while(|marked| chance(*marked) <= -bits).last().unwrap()
    }

    #[test]
    fn the_documented_table_is_the_hypergeometric_one() {
        let table = N.map(|n| {
            [
                borne(n, MAX_NEIGHBOURS, NEEDED, 40.0),
                borne(n, MAX_NEIGHBOURS, MAX_NEIGHBOURS - NEEDED + 1, 20.0),
                borne(n, HALF, NEEDED - HALF - 1, 40.0),
            ]
        });
        assert_eq!(table, [[86, 41, 21], [95, 42, 21], [126, 53, 23], [190, 76, 29], [353, 135, 47]]);
    }

    /// The union bound over two gaps of 64 places, all of them corrupt or dropped.
    #[test]
    fn the_honest_survivors_hang_together() {
        for (n, dropped) in N.into_iter().zip([41, 42, 53, 76, 135]) {
            let removed = n / 3 + dropped;
            let all_removed: f64 =
                (0..MAX_NEIGHBOURS).map(|i| (removed.saturating_sub(i) as f64 / (n - i) as f64).log2()).sum();
            assert!(log2_choose(n, 2) + all_removed < -130.0, "{n} sites");
        }
    }
}
