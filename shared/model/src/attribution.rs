//! Why a row has its logit: Integrated Gradients (Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks").

use crate::batch::check_rows;
use crate::number::nearest_f32;
use crate::pass::Pass;
use crate::tensor::{matrix, take_gradient, values};
use crate::{Model, ModelError};

/// The most points of the path that may be asked for.
pub const MAX_STEPS: u32 = 1024;

impl Model {
    /// What each feature of `row` adds to the logit, against the `baseline` row: what is usual.
    ///
    /// The path integral is taken by the midpoint rule with `steps` points (1 to [`MAX_STEPS`]) in one forward and one
    /// backward pass. The contributions sum to `logit(row) − logit(baseline)`: exactly where the model is linear between
    /// the two, and otherwise but for an error that each kink of a ReLU adds and that falls as 1/`steps`.
    pub fn attributions(&self, row: &[f32], baseline: &[f32], steps: u32) -> Result<Vec<f32>, ModelError> {
        let inputs = self.inputs();
        for one in [row, baseline] {
            if one.len() != inputs {
                return Err(ModelError::RowLength { expected: inputs, found: one.len() });
            }
            check_rows(one, inputs)?;
        }
        if !(1..=MAX_STEPS).contains(&steps) {
            return Err(ModelError::Setting { name: "steps", value: f64::from(steps) });
        }
        let path = matrix(&midpoints(row, baseline, steps), inputs).autodiff().require_grad();
        let mut gradients = self.network().forward(path.clone(), &mut Pass::inputs()).sum().backward();
        let slopes = values(take_gradient(&path, &mut gradients).mean_dim(0))?;
        let moves = row.iter().zip(baseline).map(|(value, usual)| value - usual);
        let contributions: Vec<f32> = moves.zip(slopes).map(|(by, slope)| by * slope).collect();
        match contributions.iter().all(|contribution| contribution.is_finite()) {
            true => Ok(contributions),
            false => Err(ModelError::Overflow { row: 0 }),
        }
    }
}

/// The rows in the middle of `steps` equal pieces of the straight way from `baseline` to `row`.
fn midpoints(row: &[f32], baseline: &[f32], steps: u32) -> Vec<f32> {
    let at = |step: u32| nearest_f32((f64::from(step) + 0.5) / f64::from(steps));
    let between = |step: u32| row.iter().zip(baseline).map(move |(value, usual)| usual + (value - usual) * at(step));
    (0..steps).flat_map(between).collect()
}

#[cfg(test)]
mod tests {
    use shared::task::ModelSpec;

    use super::*;
    use crate::fixture::{Examples, model};
    use crate::number::count;
    use crate::{StepSettings, Trainer, initial_params};

    const BASELINE: [f32; 24] = [0.25; 24];

    #[test]
    fn contributions_sum_to_what_the_row_adds_to_the_logit() {
        let examples = Examples::random(24, 200, 1);
        let spec = ModelSpec { inputs: 24, hidden: vec![32, 16] };
        let start = Model::new(&spec, &initial_params(&spec, 1)).unwrap();
        let mut trainer = Trainer::new(start, StepSettings { learning_rate: 0.1, momentum: 0.9 });
        for _ in 0..100 {
            trainer.step_plain(&examples.batch()).unwrap();
        }
        let model = trainer.into_model();
        for (steps, mean_bound, worst_bound) in [(64, 0.01, 0.05), (1024, 0.001, 0.005)] {
            let errors: Vec<f32> = examples.rows.chunks(24).map(|row| incompleteness(&model, row, steps)).collect();
            let mean = f64::from(errors.iter().sum::<f32>()) / count(errors.len());
            let worst = errors.iter().copied().fold(0.0, f32::max);
            assert!(mean < mean_bound && worst < worst_bound, "{steps} steps: mean {mean}, worst {worst}");
        }
    }

    /// How far the contributions miss the row's gain in logit, as a fraction of it or of 1, whichever is more.
    fn incompleteness(model: &Model, row: &[f32], steps: u32) -> f32 {
        let logits = model.logits(&[row, &BASELINE].concat()).unwrap();
        let gain = logits[0] - logits[1];
        let sum: f32 = model.attributions(row, &BASELINE, steps).unwrap().iter().sum();
        (sum - gain).abs() / gain.abs().max(1.0)
    }

    #[test]
    fn the_linear_path_is_attributed_exactly() {
        let model = model(6, &[]);
        let row = [0.5, -1.0, 2.0, 0.0, 3.0, -0.25];
        let params = model.params();
        for (found, (value, weight)) in
            model.attributions(&row, &[0.0; 6], 1).unwrap().iter().zip(row.iter().zip(params.as_slice()))
        {
            assert!((found - value * weight).abs() < 1e-6);
        }
    }

    #[test]
    fn a_feature_that_is_as_usual_contributes_nothing() {
        let mut row = [0.7; 8];
        row[3] = 0.2;
        assert_eq!(model(8, &[6]).attributions(&row, &[0.2; 8], 16).unwrap()[3], 0.0);
    }

    #[test]
    fn what_cannot_be_attributed_is_refused() {
        let model = model(3, &[2]);
        assert!(matches!(
            model.attributions(&[0.0; 6], &[0.0; 3], 8),
            Err(ModelError::RowLength { expected: 3, found: 6 })
        ));
        assert!(matches!(
            model.attributions(&[0.0; 3], &[0.0; 2], 8),
            Err(ModelError::RowLength { expected: 3, found: 2 })
        ));
        assert!(matches!(
            model.attributions(&[0.0, f32::NAN, 0.0], &[0.0; 3], 8),
            Err(ModelError::InputNotFinite { row: 0, column: 1 })
        ));
        for steps in [0, MAX_STEPS + 1] {
            assert!(matches!(
                model.attributions(&[0.0; 3], &[0.0; 3], steps),
                Err(ModelError::Setting { name: "steps", .. })
            ));
        }
    }
}
