//! The training that is audited: a participant's own, round after round, with the noise that the accountant asks for, or
//! with a defect that an audit must find. Nothing is trained here in another way than at a site.

use participant::train::{Dataset, ExactNoise, train_round};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use shared::local::LocalTraining;
use shared::privacy::Guarantee;
use shared::task::{Recipe, TrainingMechanism};
use shared_model::{Model, ModelError, Noise, NoiseError};
use shared_privacy::PrivacyError;
use shared_privacy::accountant::calibrate;
use shared_privacy::noise::GaussianNoise;

/// δ of every claim, a participant's default.
pub(crate) const DELTA: f64 = 1e-6;
/// Rounds, and steps in each.
const ROUNDS: u32 = 4;
const LOCAL_STEPS: u32 = 25;
/// Steps of all rounds.
pub(crate) const STEPS: u32 = ROUNDS * LOCAL_STEPS;
/// Probability that a record is in a step's sample.
pub(crate) const SAMPLING_RATE: f64 = 0.1;
/// L2 norm to which gradients are clipped.
pub(crate) const CLIP_NORM: f64 = 1.0;

/// What is wrong with the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Defect {
    /// Nothing.
    None,
    /// A tenth of the noise is drawn.
    TenthOfNoise,
    /// No noise is drawn.
    NoNoise,
}

impl Defect {
    /// Which share of the noise is drawn.
    pub(crate) fn share(self) -> f64 {
        match self {
            Self::None => 1.0,
            Self::TenthOfNoise => 0.1,
            Self::NoNoise => 0.0,
        }
    }
}

/// The exact sampler, asked for less than the recipe says.
struct Defective {
    exact: ExactNoise,
    defect: Defect,
}

impl Noise for Defective {
    fn add(&mut self, std_dev: f64, values: &mut [f32]) -> Result<(), NoiseError> {
        match self.defect.share() {
            0.0 => Ok(()),
            share => self.exact.add(share * std_dev, values),
        }
    }
}

/// The noise of a site, with a defect or without, from a seed so that a report can be made again.
pub(crate) fn noise(defect: Defect, seed: u8) -> impl Noise {
    Defective { exact: ExactNoise(GaussianNoise::from_seed([seed; 32])), defect }
}

/// The noise multiplier with which all rounds together keep `epsilon` at [`DELTA`].
pub(crate) fn noise_multiplier(epsilon: f64) -> Result<f64, PrivacyError> {
    calibrate(Guarantee { epsilon, delta: DELTA }, SAMPLING_RATE, STEPS)
}

/// How a site trains. A clipped gradient moves the model by `reach`, however many records the site has: their number
/// counts as public, and must not tell an auditor how many canaries are in.
pub(crate) fn recipe(dataset: &Dataset, reach: f64, noise_multiplier: f64) -> Recipe {
    Recipe {
        local_steps: LOCAL_STEPS,
        sampling_rate: SAMPLING_RATE,
        learning_rate: reach * SAMPLING_RATE * f64::from(dataset.len()),
        momentum: 0.0,
        clip_norm: CLIP_NORM,
        adaptive_clip: None,
        local: LocalTraining::Plain,
        mechanism: TrainingMechanism::default(),
        noise_multiplier: Some(noise_multiplier),
    }
}

/// One step on all of a site's records.
pub(crate) fn single_step(noise_multiplier: f64) -> Recipe {
    Recipe {
        local_steps: 1,
        sampling_rate: 1.0,
        learning_rate: 1.0,
        momentum: 0.0,
        clip_norm: CLIP_NORM,
        adaptive_clip: None,
        local: LocalTraining::Plain,
        mechanism: TrainingMechanism::default(),
        noise_multiplier: Some(noise_multiplier),
    }
}

/// Trains all rounds from `start`. Who sees that and the model returned knows the sum of the updates.
pub(crate) fn train(
    start: &Model,
    dataset: &Dataset,
    recipe: &Recipe,
    noise: &mut dyn Noise,
    seed: u8,
) -> Result<Model, ModelError> {
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    (0..ROUNDS).try_fold(start.clone(), |model, _| {
        let update = train_round(&model, dataset, recipe, &mut rng, noise)?;
        Model::new(model.spec(), &model.params().plus(&update)?)
    })
}
