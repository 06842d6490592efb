//! The mean of what the rows say within a box that a trusted row spans. It gives a row no say over a coordinate that the
//! trusted row leaves alone, whichever way the row points.

use super::gram::Gram;
use super::mixing::{Mixing, Weights, to_f64};
use super::sorting::Lanes;

/// The first `count` rows, each scaled to the length of the row after them, and after them that row. Rows of zeros, which
/// have no direction, are left out.
pub(super) fn of_its_length(gram: &Gram, count: usize) -> Mixing {
    let (root, length) = (count, gram.norm(count));
    let rows = (0..count).filter(|row| gram.norm(*row) > 0.0);
    let scaled = rows.map(|row| Weights::of_scaled_row(row, length / gram.norm(row)));
    Mixing::of(scaled.chain([Weights::of_row(root)]).collect())
}

/// Mean of each coordinate of the rows but the last, each value moved to the nearest between 0 and the last row's; 0 where
/// there is no other row.
pub(super) fn mean_within(rows: &[Lanes]) -> Lanes {
    let mut sums = Lanes::default();
    let Some((root, rows)) = rows.split_last() else { return sums };
    for row in rows {
        for ((sum, value), root) in sums.iter_mut().zip(row).zip(root) {
            *sum += value.clamp(root.min(0.0), root.max(0.0));
        }
    }
    sums.map(|sum| sum / to_f64(rows.len().max(1)))
}

#[cfg(test)]
mod tests {
    use super::super::sorting::LANES;
    use super::*;

    fn within(values: &[f64], root: f64) -> f64 {
        let rows: Vec<Lanes> = values.iter().chain([&root]).map(|value| [*value; LANES]).collect();
        mean_within(&rows)[LANES - 1]
    }

    #[test]
    fn a_value_counts_as_far_as_the_root_goes_and_never_against_it() {
        assert_eq!(within(&[1.0, 3.0], 4.0), 2.0);
        assert_eq!(within(&[9.0, 3.0], 4.0), 3.5);
        assert_eq!(within(&[-9.0, 3.0], 4.0), 1.5);
        assert_eq!(within(&[9.0, -3.0], -4.0), -1.5);
    }

    #[test]
    fn where_the_root_stands_still_nobody_moves() {
        assert_eq!(within(&[1e9, 1e9, 1e9], 0.0), 0.0);
        assert_eq!(within(&[], 1.0), 0.0);
    }
}
