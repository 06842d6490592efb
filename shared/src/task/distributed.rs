//! Noise that the sites of a cohort share (the distributed discrete Gaussian mechanism; Kairouz, Liu and Steinke 2021):
//! each adds a part, and what the task promises holds of a sum that enough honest sites added to. How large a part is, on
//! the grid of secure aggregation, follows from the task alone, so that every site adds the same.
//!
//! Only sizes; clipping, rounding and drawing are the participant's. A task whose parts would not add up is refused.

use super::validate::{above_zero, check};
use super::{InvalidTask, Task, TrainingMechanism};
use crate::local::LocalTraining;
use crate::masking::{MAX_NEIGHBOURS, SecureAggregation, honest_survivors};

/// The least deviation of a part, in steps of the grid: from there on a sum of discrete Gaussians is one, for all that
/// numbers can tell.
pub const MIN_STD_DEV: f64 = 1024.0;
/// How many deviations of a part have room in the ring. More come with a probability below 10⁻³⁴⁰ an entry.
const ROOM: f64 = 40.0;
/// By what share a sensitivity is raised for floating-point arithmetic: half of it for sums of [`GRADIENTS_AT_ONCE`]
/// gradients in single precision, each off by at most 66 · 64 · 2⁻²⁴ clipping norms, of two neighbours together less than
/// 2⁻¹⁰; the other half for what is done with such sums in double precision, of up to 2²³ records.
const SLACK: f64 = 1.0 + 1.0 / 512.0;

/// How many gradients may be added up in single precision before the sum goes on in double precision.
pub const GRADIENTS_AT_ONCE: usize = 64;

/// ρ of a sum whose noise has `noise_multiplier` times the deviation that a unit moves it by (Bun and Steinke 2016, Lemma
/// 2.4; for sums of discrete Gaussians Kairouz, Liu and Steinke 2021, Proposition 14, with [`MIN_STD_DEV`]). Rounded up.
pub(super) fn rho(noise_multiplier: f64) -> f64 {
    (1.0 + 4.0 * f64::EPSILON) / (2.0 * noise_multiplier * noise_multiplier)
}

/// A site's part in the noise of a round, and the update that it hides, all in steps of the grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseShare {
    steps_per_norm: f64,
    radius: f64,
    limit: i32,
    sensitivity: f64,
    std_dev: f64,
    honest: u32,
}

impl NoiseShare {
    /// What a sum of clipped gradients is multiplied by to become an update: a descent, at the task's step size.
    pub fn scale(&self) -> f64 {
        -self.steps_per_norm
    }

    /// A longer update is scaled down to this L2 norm before it is rounded. Of the ring, the other half is the noise's.
    pub fn radius(&self) -> f64 {
        self.radius
    }

    /// No noised entry is larger than this in magnitude.
    pub fn limit(&self) -> i32 {
        self.limit
    }

    /// By how much one unit moves a rounded update at most, in the L2 norm.
    pub fn sensitivity(&self) -> f64 {
        self.sensitivity
    }

    /// Deviation of the discrete Gaussian that a site adds to each entry.
    pub fn std_dev(&self) -> f64 {
        self.std_dev
    }

    /// How many honest sites' parts are in a sum at least; together they have the deviation that the task promises.
    pub fn honest(&self) -> u32 {
        self.honest
    }
}

impl Task {
    /// A site's part in the noise; `None` where each site's update is private by itself.
    ///
    /// # Errors
    /// The task asks for parts that would not add up to what it promises.
    pub fn noise_share(&self) -> Result<Option<NoiseShare>, InvalidTask> {
        let TrainingMechanism::DistributedGaussian { records_per_site } = self.recipe.mechanism else {
            return Ok(None);
        };
        check(records_per_site > 0, "recipe.mechanism.records_per_site", above_zero)?;
        self.check_one_plain_step()?;
        let terms = self.summing_terms()?;
        let multiplier = self.recipe.noise_multiplier.ok_or(InvalidTask {
            field: "recipe.noise_multiplier",
            reason: "distributed noise needs a multiplier".to_owned(),
        })?;
        let share = self.share(terms, multiplier, records_per_site);
        check(share.std_dev >= MIN_STD_DEV, "secure_aggregation", || {
            format!("the noise of a site would be {:.1} steps of the grid, not {MIN_STD_DEV}: {FINER}", share.std_dev)
        })?;
        check(ROOM * share.std_dev <= share.radius, "secure_aggregation", || {
            let room = ROOM * share.std_dev;
            format!(
                "{ROOM} times the noise of a site would be {room:.0} steps of the grid, more than half of its {}: {WIDER}",
                share.limit
            )
        })?;
        Ok(Some(share))
    }

    /// Rounded against whoever looks: what floating point takes off here is far less than [`SLACK`] adds.
    fn share(&self, terms: &SecureAggregation, multiplier: f64, records_per_site: u32) -> NoiseShare {
        let (sites, quorum) = (self.cohort.len(), usize::try_from(self.quorum).unwrap_or(usize::MAX));
        let honest = u32::try_from(honest_survivors(sites, quorum)).unwrap_or(u32::MAX).max(1);
        let entries = f64::from(u32::try_from(self.update_len()).unwrap_or(u32::MAX));
        let steps_per_norm = self.recipe.learning_rate / (f64::from(records_per_site) * terms.step());
        let moved = f64::from(self.privacy.unit.records()) * self.recipe.clip_norm * steps_per_norm;
        // Rounding moves each entry of either of two neighbours by at most a half.
        let sensitivity = (moved + entries.sqrt()) * SLACK;
        NoiseShare {
            steps_per_norm,
            radius: f64::from(terms.limit() / 2),
            limit: terms.limit(),
            sensitivity,
            std_dev: multiplier * sensitivity / f64::from(honest).sqrt(),
            honest,
        }
    }

    /// One sum of clipped gradients a round is what the accountant knows; anything else would be another function of the
    /// records, with another sensitivity.
    fn check_one_plain_step(&self) -> Result<(), InvalidTask> {
        let recipe = &self.recipe;
        check(recipe.local_steps == 1, "recipe.local_steps", || {
            "distributed noise goes with 1 step a round".to_owned()
        })?;
        check(recipe.sampling_rate == 1.0, "recipe.sampling_rate", || {
            "must be 1: no amplification by sampling is claimed for distributed noise".to_owned()
        })?;
        check(recipe.momentum == 0.0, "recipe.momentum", || "must be 0 with distributed noise".to_owned())?;
        check(recipe.local == LocalTraining::Plain, "recipe.local", || {
            "must be plain: the masks of distributed noise hide one sum of gradients".to_owned()
        })
    }

    /// Terms under which nobody sees anything but sums that enough honest sites added to.
    fn summing_terms(&self) -> Result<&SecureAggregation, InvalidTask> {
        let Some(terms) = &self.secure_aggregation else {
            let reason = "distributed noise needs it: one site's part hides nothing by itself".to_owned();
            return Err(InvalidTask { field: "secure_aggregation", reason });
        };
        check(!terms.assurance.asks(), "secure_aggregation.assurance", || {
            "must be none: with distributed noise an update is not private by itself, and nothing of it may be shown"
                .to_owned()
        })?;
        // Beyond, sites share masks with some others only, and a coordinator may learn the sum of a group.
        let most = MAX_NEIGHBOURS.saturating_add(1);
        check(self.cohort.len() <= most, "cohort", || {
            format!("distributed noise needs masks between all sites, which at most {most} share")
        })?;
        Ok(terms)
    }
}

const FINER: &str = "lower secure_aggregation.clip_norm or raise its value_bits";
const WIDER: &str = "raise secure_aggregation.value_bits or its clip_norm";

#[cfg(test)]
mod tests;
