//! Gaussian noise that protects what leaves a site: exact, from cryptographic randomness, rounded only afterwards.
//!
//! [`GaussianNoise::add`] replaces a value s by round(s + σZ), where Z is standard normal over the *real* numbers and
//! the rounding is that of the exact sum. Rounding is post-processing, so whatever an accountant proves of the
//! continuous Gaussian mechanism holds for the bits that come out (the attacks of Mironov 2012 on floating-point noise
//! see nothing). This module draws no noise for integers (see [`crate::counts`]), never rounds before it adds, and
//! approximates no probability.
//!
//! What is exact: every Bernoulli trial of the sampler ([`normal`]), the sum s + σZ, and its rounding down to a grid
//! 2⁻³¹ to 2⁻³² times σ ([`rounding`]). What is post-processing: the last step from the grid to `f32`. What the caller
//! answers for: that the vector's L2 sensitivity is what the accountant is told.

mod envelope;
mod normal;
mod rounding;
mod wedge;

use std::fmt;
use std::ops::RangeInclusive;

use rand::SeedableRng;
use rand::rngs::SysRng;
use rand_chacha::ChaCha20Rng;

use crate::PrivacyError;
use envelope::ENVELOPE;
use rounding::Grid;

/// The standard deviations that noise may have; 2⁻⁴⁰ and 2⁴⁰.
pub const STD_DEV_RANGE: RangeInclusive<f64> = 9.094_947_017_729_282e-13..=1_099_511_627_776.0;

/// A source of exact Gaussian noise.
pub struct GaussianNoise {
    rng: ChaCha20Rng,
}

impl fmt::Debug for GaussianNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GaussianNoise").finish_non_exhaustive()
    }
}

impl GaussianNoise {
    /// Noise from ChaCha20, keyed by the operating system's randomness.
    pub fn from_os() -> Result<Self, PrivacyError> {
        let rng = ChaCha20Rng::try_from_rng(&mut SysRng).map_err(|_| PrivacyError::NoRandomness)?;
        Ok(Self { rng })
    }

    /// Noise that whoever knows `seed` can subtract again: for demonstrations and tests, **not private**.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { rng: ChaCha20Rng::from_seed(seed) }
    }

    /// Adds noise of standard deviation `std_dev` to each value.
    ///
    /// `std_dev` is first rounded up to the next `f32`, and a value beyond 2³⁸ deviations is clamped to that: clamping
    /// moves no two values apart, so the sensitivity stays. Nothing is changed when an error is returned.
    ///
    /// # Errors
    /// `std_dev` outside [`STD_DEV_RANGE`], or a value that is not finite.
    pub fn add(&mut self, std_dev: f64, values: &mut [f32]) -> Result<(), PrivacyError> {
        let grid = Grid::new(std_dev).ok_or(PrivacyError::StandardDeviation(std_dev))?;
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(PrivacyError::NotFinite { index });
        }
        let envelope = &*ENVELOPE;
        for value in values {
            let noise = normal::sample(envelope, &mut self.rng);
            *value = grid.round_sum(*value, noise, &mut self.rng);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
