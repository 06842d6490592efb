//! How records are dealt out: to a test set, to the operator's root sets, and to the sites. It looks at labels only, and
//! gives no record to two of them.

use std::collections::BTreeMap;
use std::fmt;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::Gamma;
use serde::{Serialize, Serializer};

use crate::vector::count;

/// The fewest records a site has.
const SMALLEST_SITE: usize = 40;
/// How often a draw that leaves a site with fewer is repeated.
const MAX_DRAWS: usize = 100_000;

/// How alike the sites' records are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Partition {
    /// Each site has the same mix.
    Iid,
    /// Each kind of attack, and normal traffic, is spread over the sites by a Dirichlet draw with this concentration
    /// (Hsu, Qi, Brown 2019): the smaller, the fewer sites share a kind.
    Dirichlet(f64),
}

impl Partition {
    pub(crate) const ALL: [Self; 3] = [Self::Iid, Self::Dirichlet(0.5), Self::Dirichlet(0.1)];

    /// Deals records, given by their labels' groups, to `sites`. [`None`] when no draw of a great many gives each site
    /// enough, which concentrations and sizes far from those of [`Partition::ALL`] can bring about.
    pub(crate) fn deal(self, groups: &Groups, sites: usize, rng: &mut impl Rng) -> Option<Vec<Vec<usize>>> {
        (0..MAX_DRAWS).find_map(|_| {
            let dealt = self.draw(groups, sites, rng);
            dealt.iter().all(|site| site.len() >= SMALLEST_SITE).then_some(dealt)
        })
    }

    fn draw(self, groups: &Groups, sites: usize, rng: &mut impl Rng) -> Vec<Vec<usize>> {
        let mut dealt = vec![Vec::new(); sites];
        for group in groups.values() {
            let mut group = group.clone();
            group.shuffle(rng);
            let shares = match self {
                Self::Iid => vec![1.0 / count(sites); sites],
                Self::Dirichlet(concentration) => dirichlet(concentration, sites, rng),
            };
            // A kind of few records has its remainder fall to a site by chance, not always to the first.
            let mut reached = rng.random_range(0.0..1.0);
            for (site, share) in dealt.iter_mut().zip(shares) {
                let from = floor(reached);
                reached += share * count(group.len());
                site.extend(group.iter().skip(from).take(floor(reached).saturating_sub(from)));
            }
        }
        dealt
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iid => f.write_str("iid"),
            Self::Dirichlet(concentration) => write!(f, "Dirichlet {concentration}"),
        }
    }
}

impl Serialize for Partition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[expect(clippy::as_conversions, reason = "counts of records")]
fn floor(value: f64) -> usize {
    value.max(0.0) as usize
}

/// Shares that sum to 1, drawn from the symmetric Dirichlet distribution by way of gamma variables.
fn dirichlet(concentration: f64, len: usize, rng: &mut impl Rng) -> Vec<f64> {
    let Ok(gamma) = Gamma::new(concentration, 1.0) else { return vec![0.0; len] };
    let draws: Vec<f64> = (0..len).map(|_| rng.sample(gamma)).collect();
    let sum: f64 = draws.iter().sum();
    draws.into_iter().map(|draw| draw / sum.max(f64::MIN_POSITIVE)).collect()
}

/// Numbers of records by label, in the labels' order.
pub(crate) type Groups = BTreeMap<String, Vec<usize>>;

/// Takes about `share` of each group out of `groups`.
pub(crate) fn split_off(groups: &mut Groups, share: f64, rng: &mut impl Rng) -> Vec<usize> {
    take(groups, |len| floor(count(len) * share), rng)
}

/// Takes about `size` records that cover every group: in proportion to the groups' sizes, but at least `floor` of each,
/// and never more than half of a group.
pub(crate) fn cover(groups: &mut Groups, size: usize, at_least: usize, rng: &mut impl Rng) -> Vec<usize> {
    let all: usize = groups.values().map(Vec::len).sum();
    let share = count(size) / count(all).max(1.0);
    take(groups, |len| floor(count(len) * share).max(at_least).min(len / 2), rng)
}

/// Takes as many of each group as `how_many` says of its size.
fn take(groups: &mut Groups, how_many: impl Fn(usize) -> usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut taken = Vec::new();
    for group in groups.values_mut() {
        group.shuffle(rng);
        taken.extend(group.drain(..how_many(group.len()).min(group.len())));
    }
    taken
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SITES: usize = 20;

    fn groups() -> Groups {
        let sizes = [("normal", 0..6000), ("dos", 6000..9000), ("probe", 9000..9900), ("spy", 9900..9902)];
        sizes.into_iter().map(|(label, numbers)| (label.to_owned(), numbers.collect())).collect()
    }

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    #[test]
    fn every_record_goes_to_one_site_and_every_site_has_enough() {
        for partition in Partition::ALL {
            let sites = partition.deal(&groups(), SITES, &mut rng(1)).unwrap();
            let mut all: Vec<usize> = sites.concat();
            all.sort_unstable();
            assert_eq!(all, (0..9902).collect::<Vec<_>>(), "{partition}");
            assert!(sites.len() == SITES && sites.iter().all(|site| site.len() >= SMALLEST_SITE), "{partition}");
        }
    }

    #[test]
    fn the_smaller_the_concentration_the_less_alike_are_the_sites() {
        let spread = |partition: Partition| -> f64 {
            let sites = partition.deal(&groups(), SITES, &mut rng(2)).unwrap();
            let shares = sites
                .iter()
                .map(|site| count(site.iter().filter(|record| **record < 6000).count()) / count(site.len()));
            shares.map(|share| (share - 0.6).abs()).sum()
        };
        let [iid, half, tenth] = Partition::ALL.map(spread);
        assert!(iid < 0.2 && iid < half && half < tenth, "{iid} {half} {tenth}");
    }

    #[test]
    fn the_same_seed_deals_the_same_records() {
        let deal = |seed| Partition::Dirichlet(0.1).deal(&groups(), SITES, &mut rng(seed));
        assert_eq!(deal(3), deal(3));
        assert_ne!(deal(3), deal(4));
    }

    #[test]
    fn a_root_set_covers_every_group_and_takes_its_records_out_of_the_rest() {
        let mut rest = groups();
        let test = split_off(&mut rest, 0.2, &mut rng(5));
        assert_eq!(test.len(), 1200 + 600 + 180);
        let root = cover(&mut rest, 100, 10, &mut rng(5));
        let of = |range: std::ops::Range<usize>| root.iter().filter(|record| range.contains(record)).count();
        assert_eq!((of(0..6000), of(6000..9000), of(9000..9900), of(9900..9902)), (60, 30, 10, 1));
        let left: usize = rest.values().map(Vec::len).sum();
        assert_eq!(test.len() + root.len() + left, 9902);
        assert!(rest.values().flatten().all(|record| !root.contains(record) && !test.contains(record)));
    }

    #[test]
    fn sites_that_cannot_be_filled_are_refused() {
        let few: Groups = [("normal".to_owned(), (0..100).collect())].into();
        assert_eq!(Partition::Iid.deal(&few, SITES, &mut rng(6)), None);
    }
}
