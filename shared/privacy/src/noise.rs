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

mod normal;
mod rounding;

use std::fmt;
use std::ops::RangeInclusive;

use rand::rngs::SysRng;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::PrivacyError;
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
        for value in values {
            let noise = normal::sample(&mut self.rng);
            *value = grid.round_sum(*value, noise, &mut self.rng);
        }
        Ok(())
    }
}

/// A real number uniform in [0, 1), known to as many 32-bit digits as somebody asked for. Short digits spare
/// randomness, which is what a draw mostly costs; the second has its place because the rounding always asks for it.
#[derive(Debug, Clone)]
struct Uniform {
    first: u32,
    second: Option<u32>,
    more: Vec<u32>,
}

impl Uniform {
    #[inline]
    fn new(rng: &mut impl Rng) -> Self {
        Self { first: rng.next_u32(), second: None, more: Vec::new() }
    }

    /// The digit of weight 2^(−32·(`index` + 1)).
    #[inline]
    fn digit(&mut self, index: usize, rng: &mut impl Rng) -> u32 {
        match index {
            0 => self.first,
            1 => *self.second.get_or_insert_with(|| rng.next_u32()),
            _ => self.later_digit(index - 2, rng),
        }
    }

    #[cold]
    fn later_digit(&mut self, index: usize, rng: &mut impl Rng) -> u32 {
        while self.more.len() <= index {
            self.more.push(rng.next_u32());
        }
        self.more.get(index).copied().unwrap_or_default()
    }

    /// Whether `self < other`; draws further digits as long as all known ones are equal.
    #[inline]
    fn less_than(&mut self, other: &mut Self, rng: &mut impl Rng) -> bool {
        if self.first != other.first { self.first < other.first } else { self.less_beyond_first(other, rng) }
    }

    #[cold]
    fn less_beyond_first(&mut self, other: &mut Self, rng: &mut impl Rng) -> bool {
        let differing = (1..).map(|index| (self.digit(index, rng), other.digit(index, rng)));
        differing.into_iter().find(|(left, right)| left != right).is_some_and(|(left, right)| left < right)
    }
}

#[cfg(test)]
mod tests;
