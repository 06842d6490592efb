//! Norms of per-example gradients, and what clipping makes of them. Errs towards clipping too much.

use burn::tensor::Tensor;

use crate::ModelError;
use crate::network::values;
use crate::number::nearest_f32;
use crate::trace::Trace;

/// Squares are summed in f32 over runs of this length, and in f64 over the runs.
const RUN: usize = 256;
/// Parallel f32 sums within a run.
const LANES: usize = 8;
/// Clipping aims this much below the clipping norm, so that rounding lifts no contribution above it: a norm is short by
/// at most half of `(RUN / LANES + LANES) · 2⁻²⁴ = 2.4e-6`, and scaling adds two roundings of `2⁻²⁴`.
const ROUNDING: f64 = 2e-6;

/// How a batch's gradients met the clipping norm. These are bare facts about a site's records: showing them to anyone
/// outside the site is a release that no privacy ledger has accounted for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norms {
    /// How many examples the batch has.
    pub examples: u32,
    /// How many of them were not scaled down.
    pub unclipped: u32,
    /// Median L2 norm of the examples' gradients before clipping; 0 for an empty batch.
    pub median: f64,
}

impl Norms {
    pub(crate) fn of(mut norms: Vec<f64>, clip_norm: f64) -> Self {
        let unclipped = norms.iter().filter(|norm| clip_factor(**norm, clip_norm) >= 1.0).count();
        let [examples, unclipped] = [norms.len(), unclipped].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        norms.sort_unstable_by(f64::total_cmp);
        Self { examples, unclipped, median: norms.get(norms.len() / 2).copied().unwrap_or(0.0) }
    }
}

/// What a gradient of this norm is multiplied with.
pub(crate) fn clip_factor(norm: f64, clip_norm: f64) -> f32 {
    nearest_f32((clip_norm * (1.0 - ROUNDING) / norm).min(1.0))
}

/// The L2 norm of each example's whole gradient, biases included: the root of `Σ (‖inputs‖² + 1) · ‖slopes‖²` over the
/// layers (Goodfellow 2015, "Efficient Per-Example Gradient Computations").
pub(crate) fn example_norms(traces: &[Trace]) -> Result<Vec<f64>, ModelError> {
    let mut sums: Vec<f64> = Vec::new();
    for trace in traces {
        let slopes = squared_norms(&trace.slopes)?;
        sums.resize(slopes.len(), 0.0);
        for ((sum, inputs), slopes) in sums.iter_mut().zip(squared_norms(&trace.inputs)?).zip(slopes) {
            *sum += (inputs + 1.0) * slopes;
        }
    }
    Ok(sums.into_iter().map(f64::sqrt).collect())
}

/// The squared L2 norm of each row.
fn squared_norms(matrix: &Tensor<2>) -> Result<Vec<f64>, ModelError> {
    let [_, width] = matrix.dims();
    Ok(values(matrix.clone())?.chunks_exact(width).map(sum_of_squares).collect())
}

fn sum_of_squares(row: &[f32]) -> f64 {
    row.chunks(RUN).map(|run| f64::from(sum_of_squares_of_run(run))).sum()
}

fn sum_of_squares_of_run(run: &[f32]) -> f32 {
    let (chunks, rest) = run.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value * value);
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::random;

    #[test]
    fn rounding_never_lifts_a_clipped_norm_above_the_bound() {
        for (len, seed) in [(1, 1), (7, 2), (96, 3), (255, 4), (256, 5), (10_007, 6)] {
            let row = random(len, seed);
            let exact: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
            let found = sum_of_squares(&row);
            assert!((found / exact - 1.0).abs() < 2.4e-6, "{len}: {found} is not {exact}");
            let factor = f64::from(clip_factor(found.sqrt(), 0.25));
            assert!(factor * exact.sqrt() < 0.25 * (1.0 - 1.2e-7), "{len}");
        }
    }

    #[test]
    fn a_gradient_of_zero_is_left_alone_and_an_infinite_one_left_out() {
        assert_eq!(clip_factor(0.0, 1.0), 1.0);
        assert_eq!(clip_factor(f64::INFINITY, 1.0), 0.0);
        assert!(clip_factor(f64::NAN, 1.0) <= 1.0);
    }

    #[test]
    fn the_count_is_of_what_was_not_scaled_down() {
        let norms = Norms::of(vec![3.0, 0.5, 2.0, 0.1], 1.0);
        assert_eq!(norms, Norms { examples: 4, unclipped: 2, median: 2.0 });
    }
}
