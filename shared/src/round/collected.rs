//! Phase 3: the set of updates is closed; the coordinator computes the candidate from exactly this set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AcceptedUpdate, Aggregated, Change, RoundEvent, RoundPlan, RoundState, Step};
use crate::ParticipantId;

/// The closed set of updates.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// What was announced.
    pub plan: Arc<RoundPlan>,
    /// Whose update counts, and what of it.
    pub accepted: BTreeMap<ParticipantId, AcceptedUpdate>,
    /// Who joined a masked round and did not deliver; nobody where updates are not masked.
    pub dropped: BTreeSet<ParticipantId>,
    /// Who is not heard of at present.
    pub lost: BTreeSet<ParticipantId>,
}

impl Collected {
    pub(super) fn advance(&self, event: &RoundEvent) -> Step {
        let RoundEvent::Aggregated { candidate, server_state, at } = event else { return None };
        Some(Ok(Change::To(RoundState::Aggregated(Aggregated {
            plan: Arc::clone(&self.plan),
            accepted: self.accepted.clone(),
            lost: self.lost.clone(),
            candidate: *candidate,
            server_state: *server_state,
            aggregated_at: *at,
            evaluations: BTreeMap::new(),
        }))))
    }
}
