//! Norms of per-example gradients, and what clipping makes of them. Errs towards clipping too much.

use burn::tensor::Tensor;

use crate::ModelError;
use crate::number::{count, nearest_f32};
use crate::pass::Trace;
use crate::tensor::{read, values};

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

/// The L2 norm of each example's whole gradient, over all the layers.
pub(crate) fn example_norms(traces: &[Trace], examples: usize) -> Result<Vec<f64>, ModelError> {
    let mut sums = vec![0.0; examples];
    for trace in traces {
        trace.add_squared_norms(&mut sums)?;
    }
    Ok(sums.into_iter().map(f64::sqrt).collect())
}

/// Adds the squared norm of each row to its sum.
pub(crate) fn add_row_squares<const D: usize>(rows: Tensor<D>, sums: &mut [f64]) -> Result<(), ModelError> {
    read(rows, |rows| {
        let width = rows.len() / sums.len().max(1);
        sums.iter_mut().zip(rows.chunks(width.max(1))).for_each(|(sum, row)| *sum += sum_of_squares(row));
    })
}

/// For affine layers over single rows: `(‖inputs‖² + 1) · ‖slopes‖²` (Goodfellow 2015, "Efficient Per-Example Gradient
/// Computations"), the bias included.
pub(crate) fn row_norms(inputs: &Tensor<2>, slopes: &Tensor<2>, sums: &mut [f64]) -> Result<(), ModelError> {
    let (mut of_inputs, mut of_slopes) = (vec![1.0; sums.len()], vec![0.0; sums.len()]);
    add_row_squares(inputs.clone(), &mut of_inputs)?;
    add_row_squares(slopes.clone(), &mut of_slopes)?;
    for ((sum, inputs), slopes) in sums.iter_mut().zip(of_inputs).zip(of_slopes) {
        *sum += inputs * slopes;
    }
    Ok(())
}

/// For affine layers over sequences: `Σ (⟨inputs_t, inputs_s⟩ + 1) · ⟨slopes_t, slopes_s⟩` over all pairs of steps (Li et
/// al. 2022, "Large Language Models Can Be Strong Differentially Private Learners", section 4), the bias included.
///
/// Where the steps' gradients cancel, rounding does not: the sum is raised by what it may be short of.
pub(crate) fn gram_norms(
    inputs: &Tensor<2>,
    slopes: &Tensor<2>,
    steps: usize,
    sums: &mut [f64],
) -> Result<(), ModelError> {
    let [[_, from], [_, to]] = [inputs.dims(), slopes.dims()];
    let (inputs, slopes) = (gram(inputs, steps)?, gram(slopes, steps)?);
    let rounding = count(from + to).sqrt() * f64::from(f32::EPSILON);
    let grams = inputs.chunks(steps * steps).zip(slopes.chunks(steps * steps));
    for (sum, (inputs, slopes)) in sums.iter_mut().zip(grams) {
        let diagonals = inputs.iter().zip(slopes).step_by(steps + 1);
        let lengths: f64 = diagonals.map(|(input, slope)| (f64::from(input + 1.0) * f64::from(*slope)).sqrt()).sum();
        *sum += dot_plus_one(inputs, slopes).max(0.0) + rounding * lengths * lengths;
    }
    Ok(())
}

/// For affine layers over long sequences: the norms of the gradients themselves, formed for this layer alone (Bu et al.
/// 2022, "Scalable and Efficient Training of Large Convolutional Neural Networks with Differential Privacy").
pub(crate) fn materialised_norms(
    inputs: &Tensor<2>,
    slopes: &Tensor<2>,
    steps: usize,
    sums: &mut [f64],
) -> Result<(), ModelError> {
    let (inputs, slopes) = (sequences(inputs, steps), sequences(slopes, steps));
    add_row_squares(slopes.clone().sum_dim(1), sums)?;
    add_row_squares(inputs.swap_dims(1, 2).matmul(slopes), sums)
}

/// The inner products of each example's steps with one another, `steps × steps` for each.
fn gram(rows: &Tensor<2>, steps: usize) -> Result<Vec<f32>, ModelError> {
    let rows = sequences(rows, steps);
    values(rows.clone().matmul(rows.swap_dims(1, 2)))
}

fn sequences(rows: &Tensor<2>, steps: usize) -> Tensor<3> {
    let [count, width] = rows.dims();
    rows.clone().reshape([count / steps, steps, width])
}

/// `Σ (left + 1) · right`.
fn dot_plus_one(left: &[f32], right: &[f32]) -> f64 {
    let runs = left.chunks(RUN).zip(right.chunks(RUN));
    runs.map(|(left, right)| f64::from(dot_plus_one_of_run(left, right))).sum()
}

fn dot_plus_one_of_run(left: &[f32], right: &[f32]) -> f32 {
    let ((lefts, left_rest), (rights, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (left, right) in lefts.iter().zip(rights) {
        lanes.iter_mut().zip(left.iter().zip(right)).for_each(|(lane, (left, right))| *lane += (left + 1.0) * right);
    }
    lanes.iter().sum::<f32>() + left_rest.iter().zip(right_rest).map(|(left, right)| (left + 1.0) * right).sum::<f32>()
}

pub(crate) fn sum_of_squares(row: &[f32]) -> f64 {
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
