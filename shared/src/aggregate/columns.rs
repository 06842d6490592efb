//! What is made of each coordinate alone: its median, or a mean of the values that remain when outliers are left out.
//! Works on columns that are sorted already.

use super::mixing::to_f64;
use super::sorting::{LANES, Lanes};

/// A statistic of one coordinate's values over n rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statistic {
    /// The middle value; of an even number, the mean of the two middle ones.
    Median,
    /// The mean without the smallest and the largest values, `trim` each.
    TrimmedMean {
        /// How many to leave out at each end, less than half.
        trim: usize,
    },
    /// The mean of the values nearest to the median; of equally near ones, the smaller.
    MeanAroundMedian {
        /// How many values, from 1 to n.
        keep: usize,
    },
}

impl Statistic {
    /// The statistic of each sorted column.
    pub(super) fn of(self, sorted: &[Lanes]) -> Lanes {
        match self {
            Self::Median => median(sorted),
            Self::TrimmedMean { trim } => mean(sorted.get(trim..sorted.len().saturating_sub(trim)).unwrap_or_default()),
            Self::MeanAroundMedian { keep } => mean_around_median(sorted, keep),
        }
    }
}

fn median(sorted: &[Lanes]) -> Lanes {
    let count = sorted.len();
    let lower = sorted.get(count.saturating_sub(1) / 2).copied().unwrap_or_default();
    let upper = sorted.get(count / 2).copied().unwrap_or_default();
    each(|lane| f64::midpoint(at(&lower, lane), at(&upper, lane)))
}

fn mean(rows: &[Lanes]) -> Lanes {
    let mut sums = Lanes::default();
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sums.map(|sum| sum / to_f64(rows.len()))
}

/// The values nearest to the median stand side by side in a sorted column: a window slides up from the smallest value
/// for as long as the next value is nearer than the one it leaves.
fn mean_around_median(sorted: &[Lanes], keep: usize) -> Lanes {
    let medians = median(sorted);
    each(|lane| {
        let median = at(&medians, lane);
        let column = || sorted.iter().map(|row| at(row, lane));
        let nearer = |(leaves, enters): &(f64, f64)| enters - median < median - leaves;
        let start = column().zip(column().skip(keep)).take_while(nearer).count();
        column().skip(start).take(keep).sum::<f64>() / to_f64(keep)
    })
}

fn each(value: impl Fn(usize) -> f64) -> Lanes {
    std::array::from_fn::<f64, LANES, _>(value)
}

fn at(lanes: &Lanes, lane: usize) -> f64 {
    lanes.get(lane).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(statistic: Statistic, column: &[f64]) -> f64 {
        let rows: Vec<Lanes> = column.iter().map(|value| [*value; LANES]).collect();
        statistic.of(&rows)[LANES - 1]
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middles() {
        assert_eq!(of(Statistic::Median, &[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(of(Statistic::Median, &[1.0, 2.0, 4.0, 9.0]), 3.0);
        assert_eq!(of(Statistic::Median, &[5.0]), 5.0);
    }

    #[test]
    fn trimming_leaves_both_ends_out() {
        assert_eq!(of(Statistic::TrimmedMean { trim: 1 }, &[-1e9, 1.0, 3.0, 1e9]), 2.0);
        assert_eq!(of(Statistic::TrimmedMean { trim: 0 }, &[1.0, 2.0, 6.0]), 3.0);
    }

    #[test]
    fn the_mean_around_the_median_takes_the_nearest_values() {
        let column = [-1e9, 0.0, 1.0, 2.0, 3.0, 50.0, 1e9];
        assert_eq!(of(Statistic::MeanAroundMedian { keep: 1 }, &column), 2.0);
        assert_eq!(of(Statistic::MeanAroundMedian { keep: 3 }, &column), 2.0);
        assert_eq!(of(Statistic::MeanAroundMedian { keep: 4 }, &column), 1.5);
        assert_eq!(of(Statistic::MeanAroundMedian { keep: 5 }, &column), 56.0 / 5.0);
        assert_eq!(of(Statistic::MeanAroundMedian { keep: 7 }, &column), 56.0 / 7.0);
    }
}
