//! Every layer against its definition: one example at a time, by ordinary autodiff.

use super::*;
use crate::fixture::random;
use crate::{Batch, Noise, NoiseError, PrivateStep, StepSettings, Trainer, clipped_gradient_sum, plain_gradient};

const EXAMPLES: usize = 9;

/// Short and long steps against the width, so that norms come from Gram matrices and from formed gradients.
fn specs() -> Vec<SequenceSpec> {
    let bodies = [Body::Gru, Body::Lstm, Body::Transformer { heads: 2 }];
    let sizes = [(1, 8), (3, 8), (12, 6)];
    let spec = |body: &Body, (steps, width)| SequenceSpec { vocabulary: 7, steps, width, body: body.clone() };
    bodies.iter().flat_map(|body| sizes.map(|size| spec(body, size))).collect()
}

/// No parameter is zero.
fn model(spec: &SequenceSpec) -> SequenceModel {
    let initial = spec.initial_params(5);
    let jitter = random(initial.len(), 8).into_iter().map(|value| value * 0.2).collect();
    SequenceModel::new(spec, &initial.plus(&ParamVector::new(jitter).unwrap()).unwrap()).unwrap()
}

/// Tokens that repeat within a sequence, and labels.
fn examples(spec: &SequenceSpec) -> (Vec<u32>, Vec<f32>) {
    let numbers = random(EXAMPLES * spec.steps(), 3);
    let rows: Vec<u32> = numbers.iter().map(|value| value.to_bits() % spec.vocabulary).collect();
    let labels = rows.chunks(spec.steps()).map(|row| f32::from(u8::from(row[0] > 3))).collect();
    (rows, labels)
}

fn gradients_one_by_one(model: &SequenceModel, rows: &[u32], labels: &[f32]) -> Vec<ParamVector> {
    let singles = rows.chunks(model.row_len()).zip(labels.chunks(1));
    singles.map(|(rows, labels)| plain_gradient(model, &Batch { rows, labels }).unwrap()).collect()
}

/// The distance of two vectors over the second's length.
fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    let differences = found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).powi(2));
    let length: f64 = expected.iter().map(|value| value * value).sum();
    (differences.sum::<f64>() / length).sqrt()
}

#[test]
fn in_every_layer_the_clipped_sum_is_that_of_examples_clipped_one_by_one() {
    for spec in specs() {
        let model = model(&spec);
        let (rows, labels) = examples(&spec);
        let singles = gradients_one_by_one(&model, &rows, &labels);
        let mut norms: Vec<f64> = singles.iter().map(ParamVector::l2_norm).collect();
        norms.sort_by(f64::total_cmp);
        let median = norms[EXAMPLES / 2];
        for clip_norm in [median / 100.0, median, median * 100.0] {
            let (sum, _) = clipped_gradient_sum(&model, &Batch { rows: &rows, labels: &labels }, clip_norm).unwrap();
            let mut expected = vec![0.0; sum.len()];
            for gradient in &singles {
                let factor = (clip_norm / gradient.l2_norm()).min(1.0);
                let values = gradient.as_slice().iter().map(|value| factor * f64::from(*value));
                expected.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            let mut start = 0;
            for part in spec.parts() {
                let range = start..start + part;
                start += part;
                // The key's bias moves all scores of a step alike, which softmax cancels: its gradient is rounding.
                if expected[range.clone()].iter().all(|value| value.abs() < 1e-5 * clip_norm) {
                    continue;
                }
                let error = relative_error(&sum.as_slice()[range.clone()], &expected[range.clone()]);
                assert!(error < 2e-5, "{spec:?}, clip {clip_norm}, parameters {range:?}: {error}");
            }
            assert_eq!(start, sum.len(), "{spec:?}");
            assert!(relative_error(sum.as_slice(), &expected) < 1e-5, "{spec:?}, clip {clip_norm}");
        }
    }
}

#[test]
fn the_norm_is_that_of_the_whole_gradient() {
    for spec in specs() {
        let model = model(&spec);
        let (rows, labels) = examples(&spec);
        for (row, label) in rows.chunks(spec.steps()).zip(labels.chunks(1)) {
            let batch = Batch { rows: row, labels: label };
            let expected = plain_gradient(&model, &batch).unwrap().l2_norm();
            let (_, norms) = clipped_gradient_sum(&model, &batch, 1.0).unwrap();
            assert!((norms.median / expected - 1.0).abs() < 1e-5, "{spec:?}: {} is not {expected}", norms.median);
        }
    }
}

#[test]
fn no_sequence_contributes_more_than_the_clipping_norm_even_where_its_steps_cancel() {
    for spec in specs() {
        let model = model(&spec);
        for row in [vec![3; spec.steps()], examples(&spec).0[..spec.steps()].to_vec()] {
            let batch = Batch { rows: &row, labels: &[1.0] };
            let (sum, _) = clipped_gradient_sum(&model, &batch, 1e-3).unwrap();
            assert!(sum.l2_norm() <= 1e-3, "{spec:?}: {}", sum.l2_norm());
        }
    }
}

struct Silent;

impl Noise for Silent {
    fn add(&mut self, _: f64, _: &mut [f32]) -> Result<(), NoiseError> {
        Ok(())
    }
}

#[test]
fn every_body_learns_by_private_steps_which_token_a_sequence_holds() {
    for body in [Body::Gru, Body::Lstm, Body::Transformer { heads: 2 }] {
        let spec = SequenceSpec { vocabulary: 6, steps: 5, width: 8, body };
        let rows: Vec<u32> = random(400 * 5, 4).iter().map(|value| value.to_bits() % 6).collect();
        let labels: Vec<f32> = rows.chunks(5).map(|row| f32::from(u8::from(row.contains(&2)))).collect();
        let settings = StepSettings { learning_rate: 1.0, momentum: 0.9 };
        let mut trainer = Trainer::new(SequenceModel::initial(&spec, 1).unwrap(), settings);
        let step = PrivateStep { clip_norm: 1.0, noise_std: 1.0, expected_batch: 400.0 };
        for _ in 0..150 {
            trainer.step_private(&Batch { rows: &rows, labels: &labels }, &step, &mut Silent).unwrap();
        }
        let logits = trainer.model().logits(&rows).unwrap();
        let right = logits.iter().zip(&labels).filter(|(logit, label)| (**logit > 0.0) == (**label > 0.5)).count();
        assert!(right > 380, "{spec:?}: {right} of 400");
    }
}

#[test]
fn what_is_no_classifier_or_no_sequence_is_refused() {
    let spec = SequenceSpec { vocabulary: 5, steps: 2, width: 4, body: Body::Transformer { heads: 2 } };
    let refused = [
        SequenceSpec { vocabulary: 0, ..spec.clone() },
        SequenceSpec { steps: MAX_STEPS + 1, ..spec.clone() },
        SequenceSpec { width: 0, ..spec.clone() },
        SequenceSpec { width: 3, ..spec.clone() },
        SequenceSpec { body: Body::Transformer { heads: 0 }, ..spec.clone() },
        SequenceSpec { width: u32::MAX - 1, ..spec.clone() },
    ];
    for spec in refused {
        assert!(matches!(SequenceModel::initial(&spec, 1), Err(ModelError::SequenceSpec(_))), "{spec:?}");
    }
    assert!(SequenceModel::new(&spec, &ParamVector::zeros(3)).is_err());
    let model = model(&spec);
    let token = model.logits(&[0, 1, 2, 5]);
    assert!(matches!(token, Err(ModelError::Token { row: 1, column: 1 })));
    assert!(matches!(model.logits(&[0, 1, 2]), Err(ModelError::RowLength { expected: 2, found: 3 })));
}
