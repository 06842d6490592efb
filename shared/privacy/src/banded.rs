//! Correlated noise for training without sampling: DP-FTRL with a banded strategy matrix (Choquette-Choo et al. 2023,
//! "(Amplified) Banded Matrix Factorization: A unified approach to private training"; Kairouz et al. 2021).
//!
//! Step t's sum of clipped gradients gets (C⁻¹z)ₜ instead of zₜ, with z independent and C lower-triangular with `bands`
//! diagonals: what one step adds, later ones take back in part, so that sums over many steps carry less noise. C is
//! Toeplitz with the first coefficients of (1 − x)^(−1/2), the square root of the matrix of prefix sums (Kalinin and
//! Lampert 2024, "Banded Square Root Matrix Factorization for Differentially Private Model Training").
//!
//! Columns of C that are `bands` apart have no row in common. A record that takes part in steps at least that far apart
//! therefore moves C times the gradients by at most √participations times a column's norm ([`Strategy::sensitivity`]),
//! and everything released follows from one Gaussian release of that, also where gradients follow from earlier releases
//! (Denisov et al. 2022). Nothing here sees to it that records do keep apart, and no amplification by sampling is claimed.
//! As with plain sums, rounding of C times the gradients to `f32` is not counted.

use std::collections::VecDeque;

use shared::privacy::MAX_BANDS;

use crate::PrivacyError;

/// A strategy matrix C, by the entries of its first column; the first one is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategy {
    coefficients: Vec<f64>,
}

impl Strategy {
    /// The square root of prefix sums, cut to `bands` diagonals. One band makes noise independent.
    ///
    /// # Errors
    /// `bands` is not from 1 to [`MAX_BANDS`].
    pub fn square_root(bands: u32) -> Result<Self, PrivacyError> {
        if !(1..=MAX_BANDS).contains(&bands) {
            return Err(invalid("number of bands", bands, "1 to 256"));
        }
        // The coefficient of xᵏ is (2k choose k)/4ᵏ.
        let next = |coefficient: &mut f64, k: u32| {
            let this = *coefficient;
            *coefficient *= f64::from(2 * k + 1) / f64::from(2 * k + 2);
            Some(this)
        };
        Ok(Self { coefficients: (0..bands).scan(1.0, next).collect() })
    }

    /// By how much C times the gradients moves at most, in the L2 norm, with one record whose gradients have at most norm 1
    /// and which takes part in at most `participations` steps, any two of them at least `bands` apart.
    pub fn sensitivity(&self, participations: u32) -> f64 {
        let column: f64 = self.coefficients.iter().map(|coefficient| coefficient * coefficient).sum();
        (f64::from(participations) * column).sqrt()
    }

    /// The root mean square of the noise on the sums of the first 1, 2, … `steps` steps, where z has deviation 1.
    pub fn prefix_sum_error(&self, steps: u32) -> f64 {
        let (mut prefix, mut variance, mut total) = (0.0, 0.0, 0.0);
        for entry in self.inverse(steps) {
            prefix += entry;
            variance += prefix * prefix;
            total += variance;
        }
        (total / f64::from(steps.max(1))).sqrt()
    }

    /// The first `len` entries of the first column of C⁻¹: the coefficients of 1 over the polynomial of C's.
    fn inverse(&self, len: u32) -> Vec<f64> {
        let mut entries: Vec<f64> = Vec::new();
        for step in 0..len {
            let earlier = self.later_coefficients().zip(entries.iter().rev());
            let taken: f64 = earlier.map(|(coefficient, entry)| coefficient * entry).sum();
            entries.push(if step == 0 { 1.0 } else { -taken });
        }
        entries
    }

    /// All coefficients but the first.
    fn later_coefficients(&self) -> impl Iterator<Item = &f64> {
        self.coefficients.iter().skip(1)
    }
}

/// The noise multiplier of the one release without sampling that [`Mechanism::BandedGaussian`] amounts to.
///
/// # Errors
/// The number of bands is not from 1 to [`MAX_BANDS`], or the steps do not hold that many passes of at least that many
/// steps.
///
/// [`Mechanism::BandedGaussian`]: shared::privacy::Mechanism::BandedGaussian
pub(crate) fn noise_multiplier_of_all(
    noise_multiplier: f64,
    bands: u32,
    steps: u32,
    participations: u32,
) -> Result<f64, PrivacyError> {
    let strategy = Strategy::square_root(bands)?;
    if participations == 0 || participations.saturating_mul(bands) > steps {
        return Err(invalid("number of participations", participations, "1 to the steps over the bands"));
    }
    Ok(noise_multiplier / strategy.sensitivity(participations))
}

fn invalid(parameter: &'static str, value: u32, expected: &'static str) -> PrivacyError {
    PrivacyError::Mechanism { parameter, value: f64::from(value), expected }
}

/// What turns independent noise into correlated noise, step after step. Holds one vector a band.
#[derive(Debug, Clone)]
pub struct Correlation {
    later: Vec<f32>,
    /// The noise of the last steps, the latest first.
    earlier: VecDeque<Vec<f32>>,
}

impl Correlation {
    /// Noise correlated by C⁻¹, from the first step on.
    pub fn new(strategy: &Strategy) -> Self {
        Self { later: strategy.later_coefficients().copied().map(nearest_f32).collect(), earlier: VecDeque::new() }
    }

    /// Adds the next step's noise to `values`; `independent` adds zₜ.
    ///
    /// Row t of Cx = Cg + z, for gradients g and noised gradients x = g + n, says xₜ = (gₜ − Σ cⱼ nₜ₋ⱼ) + zₜ. What is in
    /// parentheses is a function of gradients and of what was released before, so that exact noise added to just that keeps
    /// its exactness, and the rest is post-processing. Nothing changes where `independent` fails.
    ///
    /// # Errors
    /// Those of `independent`.
    pub fn add<E>(
        &mut self,
        values: &mut [f32],
        independent: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut noised = values.to_vec();
        for (coefficient, noise) in self.later.iter().zip(&self.earlier) {
            noised.iter_mut().zip(noise).for_each(|(value, noise)| *value -= coefficient * noise);
        }
        independent(&mut noised)?;
        self.remember(values, &noised);
        values.iter_mut().zip(noised).for_each(|(value, noised)| *value = noised);
        Ok(())
    }

    /// Keeps what was added, in the place of the noise that no later step needs.
    fn remember(&mut self, values: &[f32], noised: &[f32]) {
        if self.later.is_empty() {
            return;
        }
        let freed = if self.earlier.len() == self.later.len() { self.earlier.pop_back() } else { None };
        let mut noise = freed.unwrap_or_default();
        noise.clear();
        noise.extend(noised.iter().zip(values).map(|(noised, value)| noised - value));
        self.earlier.push_front(noise);
    }
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "rounds a number between 0 and 1")]
fn nearest_f32(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
