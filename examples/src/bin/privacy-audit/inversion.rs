//! Gradient inversion: what one update shows of the records behind it (Zhu, Liu and Han 2019; exactly for an affine layer,
//! Geiping et al. 2020, Proposition 3.1).
//!
//! An affine unit's weights move by slope × inputs and its bias by slope, so that their quotient is the record, where one
//! record was in the step; where several were, each hidden unit shows a mixture of those that it did not cut off.

use examples::nsl_kdd::{Row, data_set};
use examples::statistics::median;
use participant::train::train_round;
use rand::{RngExt, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use serde::Serialize;
use shared::ParamVector;
use shared::task::ModelSpec;
use shared_model::{Model, ModelError, initial_params};
use shared_ops::cli::Failure;

use crate::random::stream;
use crate::training::{self, Defect};

/// How often each attack is tried; the median is told.
const TRIALS: u8 = 100;
/// Width of the hidden layer.
const HIDDEN: u16 = 16;
/// Guesses that an update gives: one from each hidden unit, one from the output.
const CANDIDATES: usize = 17;

/// What the attacker sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum View {
    /// The clipped gradient without noise.
    NoNoise,
    /// The clipped gradient with the noise of a claim of ε = 2.
    Noise,
    /// Nothing: another record of the same source is the guess.
    RandomRecord,
}

/// How near the attacker's best candidate comes to a record of the step: medians.
#[derive(Debug, Serialize)]
pub(crate) struct Inversion {
    pub(crate) view: View,
    /// How many records were in the step.
    pub(crate) records: usize,
    /// ‖guess − record‖ / ‖record‖.
    pub(crate) relative_error: f64,
    pub(crate) cosine: f64,
}

/// Attacks steps on `records` random rows each.
pub(crate) fn measure(rows: &[Row], view: View, records: usize) -> anyhow::Result<Inversion> {
    let noise_multiplier = training::noise_multiplier(2.0).map_err(Failure::from)?;
    let trial = |seed: u8| -> anyhow::Result<(f64, f64)> {
        let mut rng = stream(u64::from(seed), 3);
        let batch = draw(rows, records, &mut rng);
        let guesses = match view {
            View::RandomRecord => {
                draw(rows, CANDIDATES, &mut rng).into_iter().map(|row| row.features.clone()).collect()
            }
            View::NoNoise => invert(&update(&batch, noise_multiplier, Defect::NoNoise, seed).map_err(Failure::from)?),
            View::Noise => invert(&update(&batch, noise_multiplier, Defect::None, seed).map_err(Failure::from)?),
        };
        Ok(best(&guesses, &batch))
    };
    let trials: Vec<(f64, f64)> = (0..TRIALS).map(trial).collect::<Result<_, _>>()?;
    let middle = |of: &dyn Fn(&(f64, f64)) -> f64| median(trials.iter().map(of)).unwrap_or(f64::NAN);
    Ok(Inversion { view, records, relative_error: middle(&|trial| trial.0), cosine: middle(&|trial| trial.1) })
}

/// Random rows.
fn draw<'a>(rows: &'a [Row], many: usize, rng: &mut ChaCha8Rng) -> Vec<&'a Row> {
    (0..many).filter_map(|_| rows.get(rng.random_range(0..rows.len().max(1)))).collect()
}

/// The update of a site that takes one step on `batch`.
fn update(batch: &[&Row], noise_multiplier: f64, defect: Defect, seed: u8) -> Result<ParamVector, ModelError> {
    let inputs = batch.first().map_or(0, |row| row.features.len());
    let spec = ModelSpec { inputs: u32::try_from(inputs).unwrap_or(u32::MAX), hidden: vec![HIDDEN.into()] };
    let start = Model::new(&spec, &initial_params(&spec, u64::from(seed)))?;
    let recipe = training::single_step(noise_multiplier);
    let mut noise = training::noise(defect, seed);
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    train_round(&start, &data_set(inputs, batch.iter().copied())?, &recipe, &mut rng, &mut noise)
}

/// What each unit's weights say was its input: the hidden units' in the first layer, and the output's linear path.
fn invert(update: &ParamVector) -> Vec<Vec<f32>> {
    let units = usize::from(HIDDEN);
    // Weights of `inputs × units` and biases, then the output's weights of `units + inputs` and its bias.
    let inputs = update.len().saturating_sub(units.saturating_mul(2).saturating_add(1)) / units.saturating_add(1);
    let (hidden, output) = update.as_slice().split_at(inputs.saturating_add(1).saturating_mul(units).min(update.len()));
    let columns = (0..units).map(|unit| hidden.iter().skip(unit).step_by(units).copied().collect());
    let wide = output.iter().skip(units).copied().collect();
    columns.chain([wide]).filter_map(|unit: Vec<f32>| quotient(&unit)).collect()
}

/// A unit's weight changes over that of its bias, which comes last. A unit that was cut off says nothing.
fn quotient(unit: &[f32]) -> Option<Vec<f32>> {
    let (bias, weights) = unit.split_last()?;
    (*bias != 0.0).then(|| weights.iter().map(|weight| weight / bias).collect())
}

/// Relative error and cosine of the guess that comes nearest to a record of the step.
fn best(guesses: &[Vec<f32>], batch: &[&Row]) -> (f64, f64) {
    let pairs = guesses.iter().flat_map(|guess| batch.iter().map(move |row| near(guess, &row.features)));
    pairs.fold((f64::INFINITY, 0.0), |best, pair| if pair.0 < best.0 { pair } else { best })
}

fn near(guess: &[f32], record: &[f32]) -> (f64, f64) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (guessed, product, length) = (dot(guess, guess), dot(guess, record), dot(record, record));
    let error = (guessed - 2.0 * product + length).max(0.0).sqrt() / length.sqrt();
    (error, product / (guessed * length).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::rows;

    #[test]
    fn a_record_alone_in_a_step_is_read_off_an_update_without_noise_and_not_off_one_with_it() {
        let rows = rows(50);
        let plain = measure(&rows, View::NoNoise, 1).unwrap();
        assert!(plain.relative_error < 1e-3 && plain.cosine > 0.999, "{plain:?}");
        let private = measure(&rows, View::Noise, 1).unwrap();
        assert!(private.relative_error > 0.5, "{private:?}");
    }

    #[test]
    fn a_guess_is_measured_against_the_record_it_comes_nearest_to() {
        let record = |features: &[f32]| Row { features: features.to_vec(), attack: false };
        let (far, near) = (record(&[0.0, 2.0]), record(&[3.0, 4.0]));
        let (error, cosine) = best(&[vec![3.0, 5.0], vec![9.0, 9.0]], &[&far, &near]);
        assert!((error - 0.2).abs() < 1e-6 && cosine > 0.99, "{error} {cosine}");
    }
}
