//! The noise of a round's steps: exact, and correlated as the recipe says.

use shared::task::TrainingMechanism;
use shared_model::{Noise, NoiseError};
use shared_privacy::PrivacyError;
use shared_privacy::banded::{Correlation, Strategy};
use shared_privacy::noise::GaussianNoise;

/// The exact sampler as the trainer's noise source.
pub struct ExactNoise(pub GaussianNoise);

impl Noise for ExactNoise {
    fn add(&mut self, std_dev: f64, values: &mut [f32]) -> Result<(), NoiseError> {
        self.0.add(std_dev, values).map_err(|error| NoiseError::from(Box::new(error)))
    }
}

/// A round's noise, made of another that is independent from step to step.
pub(super) struct RoundNoise<'a> {
    independent: &'a mut dyn Noise,
    correlation: Correlation,
}

impl<'a> RoundNoise<'a> {
    /// Noise from the first step on. The mechanism is one that the recipe's validation accepts.
    pub(super) fn new(mechanism: TrainingMechanism, independent: &'a mut dyn Noise) -> Result<Self, PrivacyError> {
        let strategy = Strategy::square_root(mechanism.bands())?;
        Ok(Self { independent, correlation: Correlation::new(&strategy) })
    }
}

impl Noise for RoundNoise<'_> {
    fn add(&mut self, std_dev: f64, values: &mut [f32]) -> Result<(), NoiseError> {
        self.correlation.add(values, |values| self.independent.add(std_dev, values))
    }
}
