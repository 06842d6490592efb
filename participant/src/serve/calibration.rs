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
        let share = self.as_high(logit).saturating_mul(10_000).div_ceil(total);
        u16::try_from(share).unwrap_or(10_000)
    }

    /// Upper end of that rate's 95 % confidence interval, in basis points, rounded up: what the rate may be although
    /// so few of so many ordinary events score as high.
    ///
    /// Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    pub fn false_positive_rate_high_bp(&self, logit: f32) -> u16 {
        const Z: f64 = 1.96;
        let total = self.ascending.len();
        if total == 0 {
            return 10_000;
        }
        let (as_high, total) = (count(self.as_high(logit)), count(total));
        let (share, z2) = (as_high / total, Z * Z);
        let middle = share + z2 / (2.0 * total);
        let half = Z * (share * (1.0 - share) / total + z2 / (4.0 * total * total)).sqrt();
        basis_points((middle + half) / (1.0 + z2 / total))
    }

    /// How many ordinary events score at least `logit`.
    fn as_high(&self, logit: f32) -> usize {
        self.ascending.len() - self.ascending.partition_point(|ordinary| *ordinary < logit)
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

fn count(events: usize) -> f64 {
    u32::try_from(events).map_or(f64::from(u32::MAX), f64::from)
}

#[expect(clippy::as_conversions, reason = "a share times 10000, rounded up, is within 0 to 10000")]
fn basis_points(share: f64) -> u16 {
    (share.clamp(0.0, 1.0) * 10_000.0).ceil() as u16
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
    fn the_rates_confidence_interval_is_wilsons() {
        // Upper ends by `statsmodels.stats.proportion.proportion_confint(…, method="wilson")`.
        for (above, total, expected) in
            [(0, 100, 0.036_993), (1, 100, 0.054_486), (50, 100, 0.596_168), (0, 10_000, 0.000_384)]
        {
            let ordinary = (0..total).map(|n| if n < above { 1.0 } else { 0.0 }).collect();
            let high = Calibration::new(ordinary, Vec::new()).false_positive_rate_high_bp(0.5);
            let expected: f64 = expected * 10_000.0;
            assert!((f64::from(high) - expected).abs() <= 1.0, "{above} of {total}: {high}, not {expected}");
        }
        assert_eq!(Calibration::new(Vec::new(), Vec::new()).false_positive_rate_high_bp(1.0), 10_000);
    }

    #[test]
    fn a_site_without_ordinary_events_raises_no_detection() {
        assert_eq!(Calibration::new(Vec::new(), Vec::new()).false_positive_rate_bp(1.0), 10_000);
    }
}
