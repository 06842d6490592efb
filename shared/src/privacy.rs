//! Privacy terms and costs as both ends write them down. The arithmetic on them is `shared-privacy`'s work.

use serde::{Deserialize, Serialize};

/// The most bands that noise may be correlated over: a site holds a vector of the model's length for each.
pub const MAX_BANDS: u32 = 256;

/// What a privacy guarantee protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivacyUnit {
    /// One training record (one event's feature vector), present or blank; how many there are counts as public.
    Record,
}

/// One noisy thing done with a site's records: what a debit in the privacy ledger stands for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mechanism", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mechanism {
    /// `steps` releases of a Poisson-subsampled sum of L2 sensitivity 1 with Gaussian noise of deviation
    /// `noise_multiplier` (DP-SGD; Abadi et al. 2016).
    SubsampledGaussian {
        /// Noise deviation over sensitivity (σ), above 0.
        noise_multiplier: f64,
        /// Probability that a record is in a step's sample (q), in (0, 1].
        sampling_rate: f64,
        /// How many steps.
        steps: u32,
    },
    /// Releases of `steps` sums of L2 sensitivity 1 without sampling, with Gaussian noise that is correlated over `bands`
    /// steps (DP-FTRL; Choquette-Choo et al. 2023). A record is in at most `participations` of the sums, any two of them at
    /// least `bands` apart.
    BandedGaussian {
        /// Deviation of the noise before it is correlated, over the sensitivity of one sum; above 0.
        noise_multiplier: f64,
        /// Bands of the strategy matrix, 1 to [`MAX_BANDS`].
        bands: u32,
        /// How many sums.
        steps: u32,
        /// In how many of them a record may be.
        participations: u32,
    },
    /// A release that satisfies ρ-zCDP (Bun and Steinke 2016), for instance counts with discrete Gaussian noise.
    ZeroConcentrated {
        /// ρ, above 0.
        rho: f64,
    },
}

/// An (ε, δ) guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarantee {
    /// ε, at least 0.
    pub epsilon: f64,
    /// δ, in (0, 1).
    pub delta: f64,
}
