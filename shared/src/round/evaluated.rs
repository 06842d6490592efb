//! Phase 5: the evaluations are closed and summed; the coordinator signs the round's record.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AcceptedUpdate, Change, Committed, RoundEvent, RoundPlan, RoundState, Step};
use crate::update::Evaluation;
use crate::{Digest, ParticipantId};

/// The cohort's noised hold-out counts, summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// How many sites evaluated.
    pub sites: u32,
    /// Attacks found.
    pub true_positives: i64,
    /// Attacks missed.
    pub false_negatives: i64,
    /// False alarms.
    pub false_positives: i64,
    /// Ordinary events left alone.
    pub true_negatives: i64,
}

impl Tally {
    /// The tally with one more site's evaluation.
    #[must_use]
    pub fn with(self, evaluation: &Evaluation) -> Self {
        Self {
            sites: self.sites.saturating_add(1),
            true_positives: self.true_positives.saturating_add(evaluation.true_positives),
            false_negatives: self.false_negatives.saturating_add(evaluation.false_negatives),
            false_positives: self.false_positives.saturating_add(evaluation.false_positives),
            true_negatives: self.true_negatives.saturating_add(evaluation.true_negatives),
        }
    }

    /// Attacks found over all attacks, from noised counts; `None` where they leave no attacks.
    pub fn true_positive_rate(&self) -> Option<f64> {
        ratio(self.true_positives, self.false_negatives)
    }

    /// False alarms over all ordinary events, from noised counts; `None` where they leave no ordinary events.
    pub fn false_positive_rate(&self) -> Option<f64> {
        ratio(self.false_positives, self.true_negatives)
    }
}

#[expect(clippy::as_conversions, reason = "counts far below 2^53, exact in f64")]
fn ratio(part: i64, rest: i64) -> Option<f64> {
    let (part, rest) = (part.max(0), rest.max(0));
    let whole = part.saturating_add(rest);
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The result, ready to be signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// What was announced.
    pub plan: Arc<RoundPlan>,
    /// Whose update counts, and what of it.
    pub accepted: BTreeMap<ParticipantId, AcceptedUpdate>,
    /// Digest of the candidate's parameters.
    pub candidate: Digest,
    /// Digest of what the server keeps for the next round.
    pub server_state: Option<Digest>,
    /// The summed evaluations.
    pub tally: Tally,
}

impl Evaluated {
    pub(super) fn advance(&self, event: &RoundEvent) -> Step {
        let RoundEvent::Committed { record, at } = event else { return None };
        Some(Ok(Change::To(RoundState::Committed(Committed {
            plan: Arc::clone(&self.plan),
            candidate: self.candidate,
            server_state: self.server_state,
            record: *record,
            at: *at,
        }))))
    }
}
