//! Linear maps of rows to rows, and the steps before a rule that are such maps: nearest-neighbour mixing, bucketing and
//! adaptive clipping. They see the rows' products only, never an entry.

use super::gram::Gram;
use super::rule::{PreStep, widen};

/// A weighted sum of rows: which rows, in their order, and with which weights.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Weights(Vec<(usize, f64)>);

impl Weights {
    /// One row as it is.
    pub(super) fn of_row(row: usize) -> Self {
        Self(vec![(row, 1.0)])
    }

    /// One row times `factor`.
    pub(super) fn of_scaled_row(row: usize, factor: f64) -> Self {
        Self(vec![(row, factor)])
    }

    /// The mean of some rows.
    pub(super) fn mean_of(mut rows: Vec<usize>) -> Self {
        rows.sort_unstable();
        let weight = 1.0 / to_f64(rows.len());
        Self(rows.into_iter().map(|row| (row, weight)).collect())
    }

    /// Row i with weight `weights[i]`.
    pub(super) fn dense(weights: Vec<f64>) -> Self {
        Self(weights.into_iter().enumerate().filter(|(_, weight)| *weight != 0.0).collect())
    }

    /// The rows that have a weight.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        self.0.iter().copied()
    }

    /// The weighted sum of `values`.
    pub(super) fn apply(&self, values: &[f64]) -> f64 {
        self.iter().filter_map(|(row, weight)| Some(weight * values.get(row)?)).sum()
    }
}

/// A linear map of rows to rows (W): each row that comes out is a weighted sum of those that go in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mixing(Vec<Weights>);

impl Mixing {
    /// Keeps the rows that are named, in this order.
    pub(super) fn selection(rows: impl IntoIterator<Item = usize>) -> Self {
        Self(rows.into_iter().map(Weights::of_row).collect())
    }

    /// The rows that come out, each as a weighted sum.
    pub(super) fn of(rows: Vec<Weights>) -> Self {
        Self(rows)
    }

    /// How many rows come out.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The weights of each row that comes out.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Weights> {
        self.0.iter()
    }

    /// Lets `row` pass, after all others.
    pub(super) fn push(&mut self, row: usize) {
        self.0.push(Weights::of_row(row));
    }

    /// This map, and then `next`.
    pub(super) fn then(&self, next: &Self) -> Self {
        Self(next.rows().map(|weights| self.combine(weights)).collect())
    }

    /// A weighted sum of rows that come out, as one of rows that go in.
    pub(super) fn combine(&self, weights: &Weights) -> Weights {
        let mut sums = std::collections::BTreeMap::<usize, f64>::new();
        for (row, weight) in weights.iter() {
            for (source, inner) in self.0.get(row).into_iter().flat_map(Weights::iter) {
                *sums.entry(source).or_default() += weight * inner;
            }
        }
        Weights(sums.into_iter().collect())
    }
}

impl PreStep {
    /// The map that this step is for the first `count` rows of `gram`.
    pub(super) fn mixing(&self, gram: &Gram, count: usize, seed: u64) -> Mixing {
        match self {
            Self::NearestNeighbourMixing { byzantine } => nearest_neighbours(gram, count, widen(*byzantine)),
            Self::Bucketing { size } => buckets(count, widen(*size), seed),
            Self::AdaptiveClipping { byzantine } => clip_longest(gram, count, widen(*byzantine)),
        }
    }
}

fn nearest_neighbours(gram: &Gram, count: usize, byzantine: usize) -> Mixing {
    let mixed = |row| {
        let mut nearest = neighbours(gram, row, 0..count);
        nearest.truncate(count.saturating_sub(byzantine));
        Weights::mean_of(nearest)
    };
    Mixing((0..count).map(mixed).collect())
}

/// `others`, nearest to `row` first; of equally near ones, the first in order first.
pub(super) fn neighbours(gram: &Gram, row: usize, others: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut nearest: Vec<(f64, usize)> = others.map(|other| (gram.squared_distance(row, other), other)).collect();
    nearest.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    nearest.into_iter().map(|(_, other)| other).collect()
}

fn buckets(count: usize, size: usize, seed: u64) -> Mixing {
    let buckets = permutation(count, seed);
    Mixing(buckets.chunks(size.max(1)).map(|bucket| Weights::mean_of(bucket.to_vec())).collect())
}

/// Fisher–Yates shuffle of `0..count` (Knuth, "The Art of Computer Programming" 2, Algorithm 3.4.2P).
fn permutation(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = seed;
    for last in (1..count).rev() {
        order.swap(last, below(last.saturating_add(1), &mut state));
    }
    order
}

/// A number below `bound`, each within 2^-44 of equally likely for the bounds that a cohort's size allows.
fn below(bound: usize, state: &mut u64) -> usize {
    let product = u128::from(split_mix(state)) * u128::try_from(bound).unwrap_or(1);
    usize::try_from(product >> 64).unwrap_or_default()
}

/// SplitMix64 (Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators", Figure 16).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn clip_longest(gram: &Gram, count: usize, byzantine: usize) -> Mixing {
    let clipped = byzantine.saturating_mul(2).saturating_mul(count.saturating_sub(byzantine)).checked_div(count);
    let mut norms: Vec<f64> = (0..count).map(|row| gram.norm(row)).collect();
    norms.sort_unstable_by(f64::total_cmp);
    let longest_kept = count.checked_sub(clipped.unwrap_or_default()).and_then(|kept| kept.checked_sub(1));
    let limit = longest_kept.and_then(|index| norms.get(index)).copied().unwrap_or_default();
    Mixing((0..count).map(|row| Weights(vec![(row, clip_factor(gram.norm(row), limit))])).collect())
}

/// What a vector of length `norm` is multiplied with so that it is `limit` long at most.
pub(super) fn clip_factor(norm: f64, limit: f64) -> f64 {
    if norm > limit { limit / norm } else { 1.0 }
}

#[expect(clippy::as_conversions, reason = "counts of rows, exact in f64")]
pub(super) fn to_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_its_published_sequence() {
        let mut state = 1_234_567;
        let drawn: Vec<u64> = (0..3).map(|_| split_mix(&mut state)).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_shuffle_keeps_every_row_once_and_depends_on_the_seed() {
        let order = permutation(100, 7);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
        assert_ne!(order, permutation(100, 8));
        assert_eq!(order, permutation(100, 7));
    }

    #[test]
    fn every_row_is_in_one_bucket() {
        let buckets = buckets(7, 3, 1);
        let sizes: Vec<usize> = buckets.rows().map(|bucket| bucket.iter().count()).collect();
        assert_eq!(sizes, [3, 3, 1]);
        let mut rows: Vec<usize> = buckets.rows().flat_map(Weights::iter).map(|(row, _)| row).collect();
        rows.sort_unstable();
        assert!(rows.into_iter().eq(0..7));
    }

    #[test]
    fn maps_compose() {
        let halves = Mixing(vec![Weights::mean_of(vec![0, 1]), Weights::mean_of(vec![2, 1])]);
        let mean = Mixing(vec![Weights::mean_of(vec![0, 1])]);
        assert_eq!(halves.then(&mean), Mixing(vec![Weights(vec![(0, 0.25), (1, 0.5), (2, 0.25)])]));
    }
}
