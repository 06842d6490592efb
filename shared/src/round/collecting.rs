//! Phase 2: those who joined train and deliver their updates.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Collected, IllegalTransition, RoundEvent, RoundPlan, RoundState, Step, has_quorum, no_quorum};
use crate::{Digest, ParticipantId, Timestamp};

/// Whose update is durable so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collecting {
    /// What was announced.
    pub plan: RoundPlan,
    /// Who joined.
    pub joined: BTreeSet<ParticipantId>,
    /// When collection began.
    pub opened_at: Timestamp,
    /// Whose update is durable, and its digest.
    pub accepted: BTreeMap<ParticipantId, Digest>,
}

impl Collecting {
    pub(super) fn deadline(&self) -> Timestamp {
        self.opened_at.plus(self.plan.deadlines.collect())
    }

    pub(super) fn is_full(&self) -> bool {
        self.accepted.len() == self.joined.len()
    }

    pub(super) fn apply(&self, event: &RoundEvent) -> Step {
        match event {
            // A participant whose answer was lost joins again; it is told that it has joined.
            RoundEvent::Joined { participant_id, .. } if self.joined.contains(participant_id) => {
                Some(Ok(RoundState::Collecting(self.clone())))
            }
            RoundEvent::UpdateAccepted { participant_id, payload, .. } => Some(self.accept(participant_id, *payload)),
            RoundEvent::CollectionClosed { at } => Some(Ok(self.close(*at))),
            _ => None,
        }
    }

    fn accept(&self, participant_id: &ParticipantId, payload: Digest) -> Result<RoundState, IllegalTransition> {
        if !self.joined.contains(participant_id) {
            return Err(IllegalTransition::NotTakingPart(participant_id.clone()));
        }
        if let Some(first) = self.accepted.get(participant_id).filter(|first| **first != payload) {
            let participant_id = participant_id.clone();
            return Err(IllegalTransition::Equivocation { participant_id, first: *first, second: payload });
        }
        let mut next = self.clone();
        next.accepted.insert(participant_id.clone(), payload);
        Ok(RoundState::Collecting(next))
    }

    fn close(&self, at: Timestamp) -> RoundState {
        if !has_quorum(&self.plan, self.accepted.len()) {
            return no_quorum(&self.plan, self.accepted.len(), at);
        }
        RoundState::Collected(Collected { plan: self.plan.clone(), accepted: self.accepted.clone() })
    }
}
