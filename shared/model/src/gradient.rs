//! Gradients of the binary cross-entropy: the clipped sum that differential privacy needs, and the ordinary mean.
//!
//! Norms come from what each layer's [`Site`](crate::pass::Site) saw (ghost norms), and the clipped sum is
//! `inputsᵀ · (factor ∘ slopes)` (book-keeping; Bu et al. 2023, "Differentially Private Optimization on Large Model at
//! Small Cost"). It costs one forward and one backward pass.

use shared::ParamVector;

use crate::architecture::Architecture;
use crate::norm::{Norms, clip_factor, example_norms};
use crate::number::{count, nearest_f32};
use crate::pass::Pass;
use crate::{Batch, ModelError};

/// The sum over the examples of their loss gradients, each scaled down to an L2 norm of at most `clip_norm`.
pub fn clipped_gradient_sum<M: Architecture>(
    model: &M,
    batch: &Batch<'_, M::Value>,
    clip_norm: f64,
) -> Result<(ParamVector, Norms), ModelError> {
    if !(clip_norm.is_finite() && clip_norm > 0.0) {
        return Err(ModelError::Setting { name: "clip_norm", value: clip_norm });
    }
    check(model, batch)?;
    let mut sum = vec![0.0; model.param_count()];
    let mut norms = Vec::with_capacity(batch.len());
    for chunk in batch.chunks(model.row_len()) {
        let mut pass = Pass::clipping();
        let logits = model.forward(chunk.rows, &mut pass);
        let traces = pass.traces(logits, chunk.labels);
        let chunk_norms = example_norms(&traces, chunk.len())?;
        let factors: Vec<f32> = chunk_norms.iter().map(|norm| clip_factor(*norm, clip_norm)).collect();
        let mut rest = sum.as_mut_slice();
        for trace in traces {
            rest = add(rest, &trace.scaled_sum(&factors)?);
        }
        norms.extend(chunk_norms);
    }
    Ok((finite(sum)?, Norms::of(norms, clip_norm)))
}

/// The ordinary gradient of the mean loss; zero for an empty batch.
pub fn plain_gradient<M: Architecture>(model: &M, batch: &Batch<'_, M::Value>) -> Result<ParamVector, ModelError> {
    check(model, batch)?;
    let mut sum = vec![0.0; model.param_count()];
    for chunk in batch.chunks(model.row_len()) {
        let mut pass = Pass::gradient();
        let logits = model.forward(chunk.rows, &mut pass);
        add(&mut sum, &pass.summed_gradient(logits, chunk.labels)?);
    }
    let examples = nearest_f32(count(batch.len().max(1)));
    finite(sum.into_iter().map(|value| value / examples).collect())
}

fn check<M: Architecture>(model: &M, batch: &Batch<'_, M::Value>) -> Result<(), ModelError> {
    model.check_rows(batch.rows)?;
    batch.check_labels(model.row_len())
}

/// Adds to the first values of `sum`, and returns the others.
fn add<'a>(sum: &'a mut [f32], summand: &[f32]) -> &'a mut [f32] {
    let (first, rest) = sum.split_at_mut(summand.len().min(sum.len()));
    first.iter_mut().zip(summand).for_each(|(sum, value)| *sum += value);
    rest
}

fn finite(gradient: Vec<f32>) -> Result<ParamVector, ModelError> {
    ParamVector::new(gradient).map_err(|_| ModelError::Diverged)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::Model;
    use crate::fixture::{Examples, model};
    use crate::layer::split;

    const SPECS: [(u32, &[u32]); 4] = [(6, &[]), (6, &[5]), (96, &[64, 32]), (10, &[12, 8, 4])];

    /// The clipped sum by its definition.
    struct Naive {
        /// The sum of the examples' clipped gradients.
        sum: Vec<f64>,
        /// The sum of their squares: with the sum itself the scale of rounding errors, however much cancels.
        squares: Vec<f64>,
    }

    impl Naive {
        fn new(model: &Model, examples: &Examples, clip_norm: f64) -> Self {
            let mut sum = vec![0.0; model.spec().param_count()];
            let mut squares = sum.clone();
            for single in examples.singles() {
                let gradient = plain_gradient(model, &single).unwrap();
                let factor = (clip_norm / gradient.l2_norm()).min(1.0);
                for ((sum, square), value) in sum.iter_mut().zip(&mut squares).zip(gradient.as_slice()) {
                    *sum += factor * f64::from(*value);
                    *square += (factor * f64::from(*value)).powi(2);
                }
            }
            Self { sum, squares }
        }

        fn relative_error(&self, found: &[f32], part: Range<usize>) -> f64 {
            let differences = found[part.clone()].iter().zip(&self.sum[part.clone()]);
            let error: f64 = differences.map(|(found, expected)| (f64::from(*found) - expected).powi(2)).sum();
            let sums: f64 = self.sum[part.clone()].iter().map(|value| value * value).sum();
            (error / (sums + self.squares[part].iter().sum::<f64>())).sqrt()
        }
    }

    fn median_norm(model: &Model, examples: &Examples) -> f64 {
        let mut norms: Vec<f64> =
            examples.singles().map(|single| plain_gradient(model, &single).unwrap().l2_norm()).collect();
        norms.sort_by(f64::total_cmp);
        norms[norms.len() / 2]
    }

    /// Where each weight matrix and each bias lies among the parameters.
    fn parts(model: &Model) -> Vec<Range<usize>> {
        let params = model.params();
        let (layers, output) = split(model.spec(), params.as_slice());
        let mut end = 0;
        let mut part = |len| {
            end += len;
            end - len..end
        };
        let layers = layers.iter().chain([&output]);
        layers.flat_map(|layer| [layer.weights.len(), layer.bias.len()]).map(&mut part).collect()
    }

    #[test]
    fn ghost_clipping_equals_clipping_each_example_in_every_layer() {
        for (inputs, hidden) in SPECS {
            let model = model(inputs, hidden);
            let examples = Examples::random(inputs, 64, 1);
            let median = median_norm(&model, &examples);
            for clip_norm in [median / 100.0, median, median * 100.0] {
                let (sum, _) = clipped_gradient_sum(&model, &examples.batch(), clip_norm).unwrap();
                let naive = Naive::new(&model, &examples, clip_norm);
                let whole = 0..sum.len();
                for part in parts(&model).into_iter().chain([whole]) {
                    let error = naive.relative_error(sum.as_slice(), part.clone());
                    assert!(error < 1e-5, "{hidden:?}, clip {clip_norm}, parameters {part:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn norms_are_those_of_whole_per_example_gradients() {
        for (inputs, hidden) in SPECS {
            let model = model(inputs, hidden);
            let examples = Examples::random(inputs, 65, 2);
            let median = median_norm(&model, &examples);
            let (_, norms) = clipped_gradient_sum(&model, &examples.batch(), median * 1.000_1).unwrap();
            assert!((norms.median / median - 1.0).abs() < 1e-5, "{hidden:?}: {} is not {median}", norms.median);
            assert_eq!((norms.unclipped, norms.examples), (33, 65), "{hidden:?}");
        }
    }

    #[test]
    fn no_example_contributes_more_than_the_clipping_norm() {
        let clip_norm = 0.5;
        for (inputs, hidden) in SPECS {
            let model = model(inputs, hidden);
            let mut examples = Examples::random(inputs, 48, 3);
            examples.rows.iter_mut().take(examples.inputs * 8).for_each(|value| *value *= 1e6);
            for single in examples.singles() {
                let (contribution, _) = clipped_gradient_sum(&model, &single, clip_norm).unwrap();
                assert!(contribution.l2_norm() <= clip_norm, "{hidden:?}: {}", contribution.l2_norm());
            }
            let (all, _) = clipped_gradient_sum(&model, &examples.batch(), clip_norm).unwrap();
            let rest = Batch { rows: &examples.rows[examples.inputs..], labels: &examples.labels[1..] };
            let (rest, _) = clipped_gradient_sum(&model, &rest, clip_norm).unwrap();
            assert!(all.minus(&rest).unwrap().l2_norm() <= clip_norm * (1.0 + 1e-4), "{hidden:?}");
        }
    }

    /// Mean binary cross-entropy, in f64 from the logits that serving computes.
    fn loss(model: &Model, batch: &Batch<'_>) -> f64 {
        let logits = model.logits(batch.rows).unwrap();
        let losses = logits.iter().zip(batch.labels).map(|(logit, label)| {
            let (z, y) = (f64::from(*logit), f64::from(*label));
            z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()
        });
        losses.sum::<f64>() / count(batch.len())
    }

    #[test]
    fn the_gradient_is_that_of_the_cross_entropy_of_what_serving_computes() {
        for (inputs, hidden) in SPECS {
            let model = model(inputs, hidden);
            let examples = Examples::random(inputs, 32, 4);
            let gradient = plain_gradient(&model, &examples.batch()).unwrap();
            // Against a finite difference along the gradient itself, whose slope is the gradient's norm.
            let step = 1e-3 / gradient.l2_norm();
            let at = |sign: f64| {
                let by = gradient.as_slice().iter().map(|slope| nearest_f32(sign * step * f64::from(*slope))).collect();
                let moved = model.params().plus(&ParamVector::new(by).unwrap()).unwrap();
                loss(&Model::new(model.spec(), &moved).unwrap(), &examples.batch())
            };
            let slope = (at(1.0) - at(-1.0)) / 2e-3;
            assert!((slope / gradient.l2_norm() - 1.0).abs() < 2e-3, "{hidden:?}: {slope}");
        }
    }

    #[test]
    fn at_a_logit_of_zero_the_slope_is_one_half_less_the_label() {
        let spec = shared::task::ModelSpec { inputs: 2, hidden: vec![] };
        let model = Model::new(&spec, &ParamVector::zeros(3)).unwrap();
        let batch = Batch { rows: &[3.0, -4.0], labels: &[1.0] };
        assert_eq!(plain_gradient(&model, &batch).unwrap().as_slice(), [-1.5, 2.0, -0.5]);
    }

    #[test]
    fn a_batch_in_several_chunks_gives_the_sum_over_them() {
        let model = model(5, &[4]);
        let examples = Examples::random(5, 2500, 5);
        let (sum, norms) = clipped_gradient_sum(&model, &examples.batch(), 0.1).unwrap();
        assert!(Naive::new(&model, &examples, 0.1).relative_error(sum.as_slice(), 0..sum.len()) < 1e-5);
        assert!(norms.unclipped < 1250);
        let mean = plain_gradient(&model, &examples.batch()).unwrap();
        let total: Vec<f32> = mean.as_slice().iter().map(|value| value * 2500.0).collect();
        assert!(Naive::new(&model, &examples, f64::MAX).relative_error(&total, 0..total.len()) < 1e-5);
    }

    #[test]
    fn an_empty_batch_has_no_gradient() {
        let model = model(5, &[4]);
        let empty = Batch { rows: &[], labels: &[] };
        let zeros = ParamVector::zeros(model.spec().param_count());
        assert_eq!(plain_gradient(&model, &empty).unwrap(), zeros);
        let norms = Norms { examples: 0, unclipped: 0, median: 0.0 };
        assert_eq!(clipped_gradient_sum(&model, &empty, 1.0).unwrap(), (zeros, norms));
    }

    #[test]
    fn a_clipping_norm_that_bounds_nothing_is_refused() {
        let model = model(5, &[]);
        let examples = Examples::random(5, 1, 6);
        for clip_norm in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            let refused = clipped_gradient_sum(&model, &examples.batch(), clip_norm);
            assert!(matches!(refused, Err(ModelError::Setting { name: "clip_norm", .. })), "{clip_norm}");
        }
    }

    #[test]
    fn a_gradient_that_overflows_is_an_error_and_never_a_number() {
        let spec = shared::task::ModelSpec { inputs: 1, hidden: vec![1] };
        let params = ParamVector::new(vec![2.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
        let model = Model::new(&spec, &params).unwrap();
        let batch = Batch { rows: &[f32::MAX], labels: &[0.0] };
        assert!(matches!(clipped_gradient_sum(&model, &batch, 1.0), Err(ModelError::Diverged)));
        assert!(matches!(plain_gradient(&model, &batch), Err(ModelError::Diverged)));
    }
}
