//! Phase 1: the round is announced and participants join.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Collecting, IllegalTransition, RoundEvent, RoundPlan, RoundState, Step, has_quorum, no_quorum};
use crate::{ParticipantId, Timestamp};

/// Who joined so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// What was announced.
    pub plan: RoundPlan,
    /// Who joined.
    pub joined: BTreeSet<ParticipantId>,
}

impl Announced {
    pub(super) fn deadline(&self) -> Timestamp {
        self.plan.announced_at.plus(self.plan.deadlines.join())
    }

    pub(super) fn is_full(&self) -> bool {
        self.joined == self.plan.cohort
    }

    pub(super) fn apply(&self, event: &RoundEvent) -> Step {
        match event {
            RoundEvent::Joined { participant_id, .. } => Some(self.join(participant_id)),
            RoundEvent::JoinClosed { at } => Some(Ok(self.close(*at))),
            _ => None,
        }
    }

    fn join(&self, participant_id: &ParticipantId) -> Result<RoundState, IllegalTransition> {
        if !self.plan.cohort.contains(participant_id) {
            return Err(IllegalTransition::NotTakingPart(participant_id.clone()));
        }
        let mut next = self.clone();
        next.joined.insert(participant_id.clone());
        Ok(RoundState::Announced(next))
    }

    fn close(&self, at: Timestamp) -> RoundState {
        if !has_quorum(&self.plan, self.joined.len()) {
            return no_quorum(&self.plan, self.joined.len(), at);
        }
        RoundState::Collecting(Collecting {
            plan: self.plan.clone(),
            joined: self.joined.clone(),
            opened_at: at,
            accepted: BTreeMap::new(),
        })
    }
}
