//! What a site's model is worth at the same ε, by each mechanism: one round on NSL-KDD, judged on records held out.
//!
//! Each mechanism's learning rate is the best of the same few on the very records that judge, so that all look a little
//! better than they are and none better than another by its tuning.

use examples::nsl_kdd::{Row, data_set};
use examples::number::count;
use participant::train::{Dataset, ExactNoise, train_round};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use shared::local::LocalTraining;
use shared::privacy::Guarantee;
use shared::task::{ModelSpec, Recipe, TrainingMechanism};
use shared_model::{Model, ModelError, initial_params};
use shared_ops::cli::Failure;
use shared_privacy::PrivacyError;
use shared_privacy::accountant::calibrate;
use shared_privacy::banded::Strategy;
use shared_privacy::noise::GaussianNoise;

/// δ of every run.
pub(crate) const DELTA: f64 = 1e-6;
/// Records that a site learns from.
pub(crate) const TRAINING: usize = 6000;
/// Records that judge.
pub(crate) const HOLD_OUT: usize = 6000;
const SEEDS: u8 = 5;
/// How far a step goes, in clipped gradients of the whole sample, before noise is considered.
const LEARNING_RATES: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// A way to train.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    steps: u32,
    sampling_rate: f64,
    mechanism: TrainingMechanism,
}

/// The ways that are compared: each sees every record some ten times.
pub(crate) const WAYS: [Way; 4] = [
    Way {
        name: "DP-SGD, 5 % samples, 200 steps",
        steps: 200,
        sampling_rate: 0.05,
        mechanism: TrainingMechanism::SampledGaussian,
    },
    Way {
        name: "10 passes of 20 steps, independent noise",
        steps: 200,
        sampling_rate: 0.05,
        mechanism: TrainingMechanism::BandedFtrl { bands: 1, passes: 10 },
    },
    Way {
        name: "10 passes of 20 steps, 20 bands",
        steps: 200,
        sampling_rate: 0.05,
        mechanism: TrainingMechanism::BandedFtrl { bands: 20, passes: 10 },
    },
    Way {
        name: "1 pass of 200 steps, 200 bands",
        steps: 200,
        sampling_rate: 0.005,
        mechanism: TrainingMechanism::BandedFtrl { bands: 200, passes: 1 },
    },
];

/// A way's accuracy at one ε.
#[derive(Debug, Serialize)]
pub(crate) struct Utility {
    pub(crate) way: &'static str,
    pub(crate) epsilon: f64,
    pub(crate) noise_multiplier: f64,
    pub(crate) learning_rate: f64,
    /// Share of the held-out records told rightly: mean over the seeds.
    pub(crate) accuracy: f64,
}

/// Trains `way` at `epsilon` on the first of `rows` and judges it on the next.
pub(crate) fn utility(rows: &[Row], way: Way, epsilon: f64) -> anyhow::Result<Utility> {
    let inputs = rows.first().map_or(0, |row| row.features.len());
    let (training, rest) = rows.split_at(TRAINING.min(rows.len()));
    let dataset = data_set(inputs, training).map_err(Failure::from)?;
    let noise_multiplier = way.noise_multiplier(epsilon).map_err(Failure::from)?;
    let accuracy = |learning_rate| -> Result<f64, ModelError> {
        let recipe = way.recipe(noise_multiplier, learning_rate);
        let all = (0..SEEDS).map(|seed| accuracy(&train(&dataset, inputs, &recipe, seed)?, rest));
        Ok(all.collect::<Result<Vec<_>, _>>()?.iter().sum::<f64>() / f64::from(SEEDS))
    };
    let mut best = Utility { way: way.name, epsilon, noise_multiplier, learning_rate: 0.0, accuracy: 0.0 };
    for learning_rate in LEARNING_RATES {
        let accuracy = accuracy(learning_rate).map_err(Failure::from)?;
        if accuracy > best.accuracy {
            best = Utility { learning_rate, accuracy, ..best };
        }
    }
    Ok(best)
}

impl Way {
    fn noise_multiplier(self, epsilon: f64) -> Result<f64, PrivacyError> {
        let target = Guarantee { epsilon, delta: DELTA };
        match self.mechanism {
            TrainingMechanism::BandedFtrl { bands, passes } => {
                Ok(calibrate(target, 1.0, 1)? * Strategy::square_root(bands)?.sensitivity(passes))
            }
            _ => calibrate(target, self.sampling_rate, self.steps),
        }
    }

    fn recipe(self, noise_multiplier: f64, learning_rate: f64) -> Recipe {
        Recipe {
            local_steps: self.steps,
            sampling_rate: self.sampling_rate,
            learning_rate,
            momentum: 0.9,
            clip_norm: 0.5,
            adaptive_clip: None,
            local: LocalTraining::Plain,
            mechanism: self.mechanism,
            noise_multiplier: Some(noise_multiplier),
        }
    }
}

fn train(dataset: &Dataset, inputs: usize, recipe: &Recipe, seed: u8) -> Result<Model, ModelError> {
    let spec = ModelSpec { inputs: u32::try_from(inputs).unwrap_or(u32::MAX), hidden: vec![16] };
    let start = Model::new(&spec, &initial_params(&spec, u64::from(seed)))?;
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    let mut noise = ExactNoise(GaussianNoise::from_seed([seed; 32]));
    let update = train_round(&start, dataset, recipe, &mut rng, &mut noise)?;
    Model::new(&spec, &start.params().plus(&update)?)
}

fn accuracy(model: &Model, rest: &[Row]) -> Result<f64, ModelError> {
    let judges = rest.get(..HOLD_OUT).unwrap_or(rest);
    let rows: Vec<f32> = judges.iter().flat_map(|row| row.features.iter().copied()).collect();
    let told = model.logits(&rows)?;
    let right = told.iter().zip(judges).filter(|(logit, row)| (**logit > 0.0) == row.attack).count();
    Ok(count(right) / count(judges.len()).max(1.0))
}

#[cfg(test)]
mod tests {
    use shared_privacy::accountant;

    use super::*;

    #[test]
    fn every_way_spends_the_same_epsilon() {
        for way in WAYS {
            let recipe = way.recipe(way.noise_multiplier(2.0).unwrap(), 1.0);
            let spent = accountant::epsilon(&[recipe.cost_per_round().unwrap()], DELTA).unwrap();
            assert!(spent <= 2.0 + 1e-9 && spent > 1.99, "{}: {spent}", way.name);
            assert_eq!(recipe.mechanism.validate(recipe.local_steps, recipe.sampling_rate), Ok(()));
        }
    }
}
