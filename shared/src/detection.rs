//! What serving a release yields: a score, the reasons for it, and the tier of response it may ask for.

use serde::{Deserialize, Serialize};

use crate::{Digest, ReleaseId, Timestamp};

/// How far a response may go without a person. The order is from the strictest answer to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Tell a person.
    AlertOnly,
    /// Prepare the action and wait for a person's approval.
    Assisted,
    /// Act, reversibly and for a limited time.
    Automated,
}

impl Tier {
    /// All tiers, widest first: the order in which a policy engine is asked.
    pub const WIDEST_FIRST: [Self; 3] = [Self::Automated, Self::Assisted, Self::AlertOnly];

    /// The name used in policies and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlertOnly => "alert_only",
            Self::Assisted => "assisted",
            Self::Automated => "automated",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One feature's share in a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The feature's name in its view.
    pub feature: String,
    /// The feature's value.
    pub value: f32,
    /// What it adds to the logit, against the mean of the site's ordinary events (Integrated Gradients).
    pub contribution: f32,
}

/// An event that a release scored, with the reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detection {
    /// The event.
    pub event_id: String,
    /// When the event happened.
    pub event_time: Timestamp,
    /// The event's principal as a token under the site's key; raw names stay in the lake.
    pub principal_token: String,
    /// The release that scored.
    pub release_id: ReleaseId,
    /// Digest of the release's signed document.
    pub release_digest: Digest,
    /// Probability of an attack, in basis points (0 to 10000).
    pub score_bp: u16,
    /// False-positive rate at this score on the site's own calibration window, in basis points.
    pub false_positive_rate_bp: u16,
    /// Upper end of that rate's 95 % confidence interval, in basis points.
    pub false_positive_rate_high_bp: u16,
    /// The features that raised the score most, largest first.
    pub reasons: Vec<Reason>,
}
