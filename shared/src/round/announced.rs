//! Phase 1: the round is announced and participants join.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Change, Collecting, IllegalTransition, RoundEvent, RoundPlan, RoundState, Step};
use super::{all_came, has_quorum, no_quorum};
use crate::{ParticipantId, Timestamp};

/// Who joined so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Announced {
    /// What was announced.
    pub plan: Arc<RoundPlan>,
    /// Who joined.
    pub joined: BTreeSet<ParticipantId>,
    /// Who is not heard of at present.
    pub lost: BTreeSet<ParticipantId>,
}

impl Announced {
    pub(super) fn deadline(&self) -> Timestamp {
        self.plan.announced_at.plus(self.plan.deadlines.join())
    }

    /// Whether everybody joined who is still there, and they are enough.
    pub(super) fn is_full(&self) -> bool {
        let enough = has_quorum(&self.plan, self.joined.len());
        enough && all_came(self.plan.cohort.iter(), |id| self.joined.contains(id), &self.lost)
    }

    pub(super) fn advance(&mut self, event: &RoundEvent) -> Step {
        let changed = match event {
            RoundEvent::Joined { participant_id, .. } => return Some(self.join(participant_id)),
            RoundEvent::Lost { participant_id, .. } => self.lost.insert(participant_id.clone()),
            RoundEvent::Returned { participant_id, .. } => self.lost.remove(participant_id),
            RoundEvent::Excluded { participant_id, .. } => {
                self.joined.remove(participant_id) | self.lost.insert(participant_id.clone())
            }
            RoundEvent::JoinClosed { at } => return Some(Ok(Change::To(self.close(*at)))),
            _ => return None,
        };
        Some(Ok(Change::within(changed)))
    }

    fn join(&mut self, participant_id: &ParticipantId) -> Result<Change, IllegalTransition> {
        if !self.plan.cohort.contains(participant_id) {
            return Err(IllegalTransition::NotTakingPart(participant_id.clone()));
        }
        let returned = self.lost.remove(participant_id);
        Ok(Change::within(self.joined.insert(participant_id.clone()) | returned))
    }

    fn close(&self, at: Timestamp) -> RoundState {
        if !has_quorum(&self.plan, self.joined.len()) {
            return no_quorum(&self.plan, self.joined.len(), at);
        }
        RoundState::Collecting(Collecting {
            plan: Arc::clone(&self.plan),
            joined: self.joined.clone(),
            lost: BTreeSet::new(),
            opened_at: at,
            accepted: BTreeMap::new(),
            excluded: BTreeSet::new(),
        })
    }
}
