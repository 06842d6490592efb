//! How much privacy a history of noisy releases has spent: ε for a given δ.
//!
//! Three accountants, each a proven upper bound: numerical composition of privacy loss distributions ([`pld`]), Rényi
//! differential privacy ([`rdp`]) and zero-concentrated differential privacy ([`zcdp`]). [`epsilon`] reports the least
//! of them, and never an estimate; [`bounds`] shows them side by side. Neighbouring data sets differ by one record, added
//! or removed; samples are Poisson.

mod bounds;
pub mod pld;
pub mod rdp;
pub mod zcdp;

use std::ops::RangeInclusive;

pub use bounds::Bounds;
use shared::privacy::{Guarantee, Mechanism};

use crate::{PrivacyError, banded};

/// The noise multipliers that the accountants cover.
pub const NOISE_MULTIPLIERS: RangeInclusive<f64> = 0.1..=1e6;

/// q where nobody says otherwise.
pub const DEFAULT_SAMPLING_RATE: f64 = 0.05;

/// The largest δ that a lifetime budget should have; see [`default_delta`].
pub const MAX_DELTA: f64 = 1e-6;

/// Relative width of the bracket that [`calibrate`] ends with.
const CALIBRATION_WIDTH: f64 = 1e-4;

/// Relative allowance for floating-point error in sums of divergences; PLD accounts for its own.
const ROUNDING: f64 = 1e-9;

/// By what share of the λ that is best for ε losses are tilted. Under the full tilt a few huge losses become probable
/// where q is small, and sums of them from beyond two windows wrap around onto the losses that decide: ε was up to 0.5 %
/// larger for it.
const TILT: f64 = 0.75;

/// What share of δ the ρ-zCDP releases get where both kinds are in a history; the best one is taken.
const ZCDP_SHARES: [f64; 5] = [0.5, 0.125, 0.03, 0.008, 0.002];

/// The ε of everything in `history` together, at `delta`; 0 for an empty history.
///
/// # Errors
/// A mechanism whose parameters make no sense or are outside [`NOISE_MULTIPLIERS`], or `delta` outside (0, 1).
pub fn epsilon(history: &[Mechanism], delta: f64) -> Result<f64, PrivacyError> {
    Composition::of(history)?.epsilon(delta)
}

/// As [`epsilon`], by each accountant.
///
/// # Errors
/// As [`epsilon`].
pub fn bounds(history: &[Mechanism], delta: f64) -> Result<Bounds, PrivacyError> {
    Composition::of(history)?.bounds(delta)
}

/// The least noise multiplier, to 1e-4 of itself, with which `steps` Poisson-subsampled Gaussian sums keep `target`.
/// The value returned keeps it.
///
/// # Errors
/// As [`epsilon`], and [`PrivacyError::Unreachable`] where no multiplier in [`NOISE_MULTIPLIERS`] does.
pub fn calibrate(target: Guarantee, sampling_rate: f64, steps: u32) -> Result<f64, PrivacyError> {
    let training = |noise_multiplier| Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate, steps };
    calibrate_rounds(target, 1, training)
}

/// As [`calibrate`], for `rounds` rounds that each cost what `round` says of a noise multiplier.
///
/// # Errors
/// As [`calibrate`].
pub fn calibrate_rounds(target: Guarantee, rounds: u32, round: impl Fn(f64) -> Mechanism) -> Result<f64, PrivacyError> {
    let keeps = |noise_multiplier| -> Result<bool, PrivacyError> {
        let mut training = Composition::default();
        training.add(&round(noise_multiplier), rounds.into())?;
        Ok(training.epsilon(target.delta)? <= target.epsilon)
    };
    let (mut low, mut high) = (*NOISE_MULTIPLIERS.start(), 1.0);
    while !keeps(high)? {
        (low, high) = (high, high * 2.0);
        if !NOISE_MULTIPLIERS.contains(&high) {
            return Err(PrivacyError::Unreachable { epsilon: target.epsilon, delta: target.delta, largest: low });
        }
    }
    while high > low * (1.0 + CALIBRATION_WIDTH) {
        let middle = (low * high).sqrt();
        if keeps(middle)? { high = middle } else { low = middle }
    }
    Ok(high)
}

/// The δ for a data set of `records`: the least of [`MAX_DELTA`] and 1/(10 N), so that a release that gives one record of
/// N away with probability 1/N would not pass.
pub fn default_delta(records: u64) -> f64 {
    MAX_DELTA.min((10.0 * rounded(records.max(1))).recip())
}

/// Releases of one subsampled Gaussian mechanism.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gaussian {
    noise_multiplier: f64,
    sampling_rate: f64,
    steps: u64,
}

impl Gaussian {
    fn count(&self) -> f64 {
        rounded(self.steps)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.noise_multiplier == other.noise_multiplier && self.sampling_rate == other.sampling_rate
    }

    fn sort_key(&self, other: &Self) -> std::cmp::Ordering {
        let by_noise = self.noise_multiplier.total_cmp(&other.noise_multiplier);
        by_noise.then(self.sampling_rate.total_cmp(&other.sampling_rate))
    }
}

/// A history with its order forgotten: equal mechanisms are counted together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Composition {
    gaussians: Vec<Gaussian>,
    rho: f64,
}

impl Composition {
    pub(crate) fn of(history: &[Mechanism]) -> Result<Self, PrivacyError> {
        let mut composition = Self::default();
        for mechanism in history {
            composition.add(mechanism, 1)?;
        }
        Ok(composition)
    }

    /// Appends `mechanism`, `times` times.
    pub(crate) fn add(&mut self, mechanism: &Mechanism, times: u64) -> Result<(), PrivacyError> {
        match *mechanism {
            Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate, steps } => {
                check_noise(noise_multiplier)?;
                check(
                    sampling_rate > 0.0 && sampling_rate <= 1.0,
                    "sampling rate",
                    sampling_rate,
                    "above 0, at most 1",
                )?;
                let steps = u64::from(steps).saturating_mul(times);
                self.add_gaussian(Gaussian { noise_multiplier, sampling_rate, steps });
            }
            Mechanism::BandedGaussian { noise_multiplier, bands, steps, participations } => {
                let noise_multiplier = banded::noise_multiplier_of_all(noise_multiplier, bands, steps, participations)?;
                check_noise(noise_multiplier)?;
                self.add_gaussian(Gaussian { noise_multiplier, sampling_rate: 1.0, steps: times });
            }
            Mechanism::ZeroConcentrated { rho } => {
                check(rho > 0.0 && rho.is_finite(), "rho", rho, "above 0")?;
                self.rho += rho * rounded(times);
            }
        }
        Ok(())
    }

    fn add_gaussian(&mut self, added: Gaussian) {
        match self.gaussians.iter_mut().find(|known| known.is_like(&added)) {
            Some(known) => known.steps = known.steps.saturating_add(added.steps),
            None if added.steps > 0 => self.gaussians.push(added),
            None => {}
        }
        self.gaussians.sort_by(Gaussian::sort_key);
    }

    /// The least ε that one of the accountants proves.
    pub(crate) fn epsilon(&self, delta: f64) -> Result<f64, PrivacyError> {
        Ok(self.bounds(delta)?.official)
    }

    /// By PLD for the Gaussian part and zCDP for the rest, each with a share of `delta`.
    fn pld_epsilon(&self, delta: f64) -> f64 {
        let best = rdp::best(|order| self.gaussian_divergence(order), delta);
        let order = 1.0 + TILT * (best.order - 1.0);
        let tilt = pld::Tilt { order, divergence: self.gaussian_divergence(order) };
        let Some(loss) = pld::Composed::new(&self.gaussians, &tilt, delta) else { return f64::INFINITY };
        if self.rho == 0.0 {
            return loss.epsilon(delta);
        }
        let split = |share: f64| loss.epsilon(delta * (1.0 - share)) + zcdp::epsilon(self.rho, delta * share);
        ZCDP_SHARES.into_iter().map(split).fold(f64::INFINITY, f64::min)
    }

    fn gaussian_divergence(&self, order: f64) -> f64 {
        let one = |part: &Gaussian| rdp::subsampled_gaussian(part.noise_multiplier, part.sampling_rate, order);
        self.gaussians.iter().map(|part| part.count() * one(part)).sum()
    }
}

/// A count as a float; from 2⁵³ on to within one part in 2⁵³.
#[expect(clippy::as_conversions, reason = "the rounding is far below the allowance for it")]
fn rounded(count: u64) -> f64 {
    count as f64
}

fn check_noise(multiplier: f64) -> Result<(), PrivacyError> {
    check(NOISE_MULTIPLIERS.contains(&multiplier), "noise multiplier", multiplier, "0.1 to 1e6")
}

fn check(valid: bool, parameter: &'static str, value: f64, expected: &'static str) -> Result<(), PrivacyError> {
    if valid { Ok(()) } else { Err(PrivacyError::Mechanism { parameter, value, expected }) }
}

#[cfg(test)]
mod tests;
