//! Phase 3: the set of updates is closed; the coordinator computes the candidate from exactly this set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Aggregated, RoundEvent, RoundPlan, RoundState};
use crate::{Digest, ParticipantId};

/// The closed set of updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collected {
    /// What was announced.
    pub plan: RoundPlan,
    /// Whose update counts, and its digest.
    pub accepted: BTreeMap<ParticipantId, Digest>,
}

impl Collected {
    pub(super) fn apply(&self, event: &RoundEvent) -> Option<RoundState> {
        let RoundEvent::Aggregated { candidate, at } = event else { return None };
        Some(RoundState::Aggregated(Aggregated {
            plan: self.plan.clone(),
            accepted: self.accepted.clone(),
            candidate: *candidate,
            aggregated_at: *at,
            evaluations: BTreeMap::new(),
        }))
    }
}
