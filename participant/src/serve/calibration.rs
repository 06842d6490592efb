//! What is usual at this site: how high its ordinary hold-out events score, and what an ordinary event looks like.
//!
//! Both stay at the site; nothing here leaves it, so nothing here costs privacy.

use shared_model::Model;

use crate::error::SiteError;
use crate::train::Dataset;

/// A site's ordinary (not attack) hold-out events under a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Their logits, which keep an order where probabilities saturate.
    ascending: Vec<f32>,
    /// The mean of their feature vectors.
    usual: Vec<f32>,
}

impl Calibration {
    /// The calibration of `model` on a site's hold-out.
    pub fn of(model: &Model, holdout: &Dataset) -> Result<Self, SiteError> {
        let scored = holdout.scored(model)?;
        let logits = scored.iter().filter(|one| !one.attack).map(|one| one.score).collect();
        Ok(Self::new(logits, holdout.mean_ordinary()))
    }

    /// Takes the logits of ordinary events, in any order, and the mean of their feature vectors.
    pub fn new(mut logits: Vec<f32>, usual: Vec<f32>) -> Self {
        logits.sort_unstable_by(f32::total_cmp);
        Self { ascending: logits, usual }
    }

    /// The mean feature vector of an ordinary event.
    pub fn usual(&self) -> &[f32] {
        &self.usual
    }

    /// Share of ordinary events that score at least `logit`, in basis points, rounded up; 10000 (never a detection)
    /// where the site has no ordinary hold-out event to compare with.
    pub fn false_positive_rate_bp(&self, logit: f32) -> u16 {
        let total = self.ascending.len();
        if total == 0 {
            return 10_000;
        }
        let below = self.ascending.partition_point(|ordinary| *ordinary < logit);
        let share = (total - below).saturating_mul(10_000).div_ceil(total);
        u16::try_from(share).unwrap_or(10_000)
    }

    /// How many ordinary events there are: the resolution of the rate is one over this.
    pub fn len(&self) -> usize {
        self.ascending.len()
    }

    /// Whether there is nothing to compare with.
    pub fn is_empty(&self) -> bool {
        self.ascending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_counts_ordinary_events_that_score_as_high() {
        let calibration = Calibration::new(vec![0.4, 0.1, 0.3, 0.2], Vec::new());
        assert_eq!(calibration.false_positive_rate_bp(0.3), 5_000);
        assert_eq!(calibration.false_positive_rate_bp(0.31), 2_500);
        assert_eq!(calibration.false_positive_rate_bp(0.9), 0);
        assert_eq!(calibration.false_positive_rate_bp(0.0), 10_000);
    }

    #[test]
    fn a_site_without_ordinary_events_raises_no_detection() {
        assert_eq!(Calibration::new(Vec::new(), Vec::new()).false_positive_rate_bp(1.0), 10_000);
    }
}
