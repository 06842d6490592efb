//! Privacy terms and costs as both ends write them down. The arithmetic on them is `shared-privacy`'s work.

use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::{Digest, ParticipantId, Timestamp};

/// The most bands that noise may be correlated over: a site holds a vector of the model's length for each.
pub const MAX_BANDS: u32 = 256;

/// What a privacy guarantee protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PrivacyUnit {
    /// One training record (one event's feature vector), present or blank; how many there are counts as public.
    Record,
    /// All records of one entity (one tokenised principal), each present or blank; how many entities and records there
    /// are counts as public. Samples are of entities.
    Entity {
        /// At most so many of an entity's records count in a step or an evaluation, at least 1.
        max_records: u32,
    },
}

impl PrivacyUnit {
    /// How many records of one unit count at most: what a sum moves by at most, in units of the clipping norm.
    pub fn records(self) -> u32 {
        match self {
            Self::Record => 1,
            Self::Entity { max_records } => max_records,
        }
    }

    /// What is protected, in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Entity { .. } => "entity",
        }
    }
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

/// How far a site's privacy ledger goes: whoever has seen a later one knows that an earlier one was rolled back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerHead {
    /// The number of the last debit; 0 where there is none.
    pub debits: u64,
    /// Digest of the last debit's signed document, which carries the digest of the one before it.
    pub head: Option<Digest>,
}

/// A site's word on how far its privacy ledger goes, given before it spends and before it sends what it spent on. The
/// coordinator keeps the furthest and refuses an earlier one. What was spent on what stays at the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerShown {
    /// Whose.
    pub participant_id: ParticipantId,
    /// How far it goes.
    pub ledger: LedgerHead,
    /// When it was shown: of two words that contradict each other, which is the later.
    pub at: Timestamp,
}

impl Document for LedgerShown {
    const DOMAIN: &'static str = "ledger-shown";
}
