//! How a step's records are chosen, and how its noise relates to that of the steps before. Terms only; choosing and drawing
//! are the participant's.

use serde::{Deserialize, Serialize};

use crate::privacy::MAX_BANDS;

/// How far the sampling rate may be from passes over steps, relative to it: a decimal number cannot be every quotient.
const RATE_TOLERANCE: f64 = 1e-6;

/// The mechanism that makes a round of training private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainingMechanism {
    /// DP-SGD: each record is in a step's sample by a coin of its own, and each step's noise stands alone. Sampling hides
    /// who was in, so that less noise is needed.
    #[default]
    SampledGaussian,
    /// DP-FTRL with a banded matrix: records in the order of time, as many in each step, without chance; later noise takes
    /// back a part of what earlier noise did. Each round begins anew. For streams, and where no sampling can be vouched for.
    BandedFtrl {
        /// Over how many steps noise is correlated; a site holds a vector of the model's length for each.
        bands: u32,
        /// How often a round goes over the records.
        passes: u32,
    },
    /// One sum of clipped gradients of all of a site's records a round, under noise of which each site of a masked task adds
    /// a part. Far less noise than where each update is private by itself, but private only as long as more than two thirds
    /// of the cohort are honest and masks hold: what one site sends hides little without the others.
    DistributedGaussian {
        /// Every site divides its sum by this, so that a record weighs the same at each. About what a site has; how many
        /// it really has is not told.
        records_per_site: u32,
    },
}

impl TrainingMechanism {
    /// Over how many steps noise is correlated; 1 where each step's stands alone.
    pub fn bands(self) -> u32 {
        match self {
            Self::SampledGaussian | Self::DistributedGaussian { .. } => 1,
            Self::BandedFtrl { bands, .. } => bands,
        }
    }

    /// Checks the numbers against a round of `local_steps` steps that each see `sampling_rate` of the records. What
    /// distributed noise needs is more than that, and [`Task::noise_share`](super::Task::noise_share)'s to say.
    pub fn validate(self, local_steps: u32, sampling_rate: f64) -> Result<(), String> {
        let Self::BandedFtrl { bands, passes } = self else { return Ok(()) };
        if passes == 0 || !local_steps.is_multiple_of(passes) {
            return Err(format!("{local_steps} steps do not make {passes} whole passes"));
        }
        let steps = local_steps / passes;
        if !(1..=MAX_BANDS).contains(&bands) || bands > steps {
            return Err(format!("{bands} bands are not 1 to {MAX_BANDS}, or more than the {steps} steps of a pass"));
        }
        let rate = f64::from(steps).recip();
        if (sampling_rate / rate - 1.0).abs() > RATE_TOLERANCE {
            return Err(format!("without sampling, recipe.sampling_rate must be passes / local_steps = {rate}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_must_fit_into_a_whole_pass_and_the_rate_must_be_that_of_a_pass() {
        let check = |bands, passes, rate| TrainingMechanism::BandedFtrl { bands, passes }.validate(60, rate);
        assert_eq!(check(30, 2, 1.0 / 30.0), Ok(()));
        assert_eq!(check(30, 2, 0.033_333_33), Ok(()));
        for (bands, passes, rate) in
            [(0, 2, 1.0 / 30.0), (31, 2, 1.0 / 30.0), (2, 7, 7.0 / 60.0), (2, 0, 0.1), (2, 2, 0.05)]
        {
            assert!(check(bands, passes, rate).is_err(), "{bands} {passes} {rate}");
        }
        assert_eq!(TrainingMechanism::SampledGaussian.validate(60, 0.05), Ok(()));
    }

    #[test]
    fn a_recipe_that_names_no_mechanism_samples() {
        let read = |json| serde_json::from_value::<TrainingMechanism>(json).unwrap();
        assert_eq!(read(serde_json::json!({"kind": "sampled_gaussian"})), TrainingMechanism::default());
        let banded = read(serde_json::json!({"kind": "banded_ftrl", "bands": 4, "passes": 2}));
        assert_eq!((banded, banded.bands()), (TrainingMechanism::BandedFtrl { bands: 4, passes: 2 }, 4));
        let distributed = read(serde_json::json!({"kind": "distributed_gaussian", "records_per_site": 9}));
        assert_eq!(distributed, TrainingMechanism::DistributedGaussian { records_per_site: 9 });
    }
}
