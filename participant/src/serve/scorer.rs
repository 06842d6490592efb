//! From an event's feature vector to a score, and from a high score to a detection with reasons.

use std::fmt;

use shared::detection::{Detection, Reason};

use crate::config::DetectionConfig;
use crate::error::SiteError;
use crate::event::Event;
use crate::feature;
use crate::serve::{Calibration, Installed};

/// Integration steps of the attribution; at 256 the sum of contributions meets the logit within a per cent.
const ATTRIBUTION_STEPS: u32 = 256;

/// A verified release at work.
pub struct Scorer {
    installed: Installed,
    calibration: Calibration,
    settings: DetectionConfig,
    names: Vec<String>,
}

/// What a release says of one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Probability of an attack.
    pub probability: f32,
    /// Share of the site's ordinary hold-out events that score as high, in basis points.
    pub false_positive_rate_bp: u16,
    /// The detection, where the rate is low enough for one.
    pub detection: Option<Detection>,
}

impl Scorer {
    /// A scorer over a verified release and the site's own calibration.
    pub fn new(installed: Installed, calibration: Calibration, settings: DetectionConfig) -> Self {
        Self { installed, calibration, settings, names: feature::view().features }
    }

    /// The release at work.
    pub fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Scores `event` by its point-in-time feature vector; `principal_token` stands for its principal.
    pub fn score(&self, event: &Event, vector: &[f32], principal_token: &str) -> Result<Scored, SiteError> {
        let logits = self.installed.model.logits(vector)?;
        let logit = logits.first().copied().unwrap_or(f32::NEG_INFINITY);
        let probability = 1.0 / (1.0 + (-logit).exp());
        let false_positive_rate_bp = self.calibration.false_positive_rate_bp(logit);
        metrics::histogram!("ringfence_score").record(probability);
        if false_positive_rate_bp > self.settings.max_false_positive_rate_bp {
            return Ok(Scored { probability, false_positive_rate_bp, detection: None });
        }
        metrics::counter!("ringfence_detections_total").increment(1);
        let detection = Detection {
            event_id: event.event_id().to_owned(),
            event_time: event.timestamp(),
            principal_token: principal_token.to_owned(),
            release_id: self.installed.release.release_id.clone(),
            release_digest: self.installed.digest,
            score_bp: basis_points(probability),
            false_positive_rate_bp,
            false_positive_rate_high_bp: self.calibration.false_positive_rate_high_bp(logit),
            reasons: self.reasons(vector)?,
        };
        Ok(Scored { probability, false_positive_rate_bp, detection: Some(detection) })
    }

    /// The features that raise the score most above that of an ordinary event.
    fn reasons(&self, vector: &[f32]) -> Result<Vec<Reason>, SiteError> {
        let contributions = self.installed.model.attributions(vector, self.calibration.usual(), ATTRIBUTION_STEPS)?;
        let named = self.names.iter().zip(vector).zip(contributions);
        let mut reasons: Vec<Reason> = named
            .map(|((feature, value), contribution)| Reason { feature: feature.clone(), value: *value, contribution })
            .collect();
        reasons.sort_by(|left, right| right.contribution.total_cmp(&left.contribution));
        reasons.truncate(self.settings.reasons);
        Ok(reasons)
    }
}

impl fmt::Debug for Scorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scorer").field("release_id", &self.installed.release.release_id).finish_non_exhaustive()
    }
}

#[expect(clippy::as_conversions, reason = "a probability times 10000, rounded down, is within 0 to 10000")]
fn basis_points(probability: f32) -> u16 {
    (probability.clamp(0.0, 1.0) * 10_000.0) as u16
}
