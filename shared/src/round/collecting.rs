//! Phase 2: those who joined train and deliver their updates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::unmasking::Survived;
use super::{AcceptedUpdate, Agreeing, Change, Collected, IllegalTransition, Opening, Proving, RoundEvent, RoundPlan};
use super::{RoundState, Step, has_quorum, no_quorum};
use crate::masking::Assurance;
use crate::{ParticipantId, Timestamp};

/// Whose update is durable so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Collecting {
    /// What was announced.
    pub plan: Arc<RoundPlan>,
    /// Who joined.
    pub joined: BTreeSet<ParticipantId>,
    /// Who is not heard of at present.
    pub lost: BTreeSet<ParticipantId>,
    /// When collection began.
    pub opened_at: Timestamp,
    /// Whose update is durable, and what counts of it.
    pub accepted: BTreeMap<ParticipantId, AcceptedUpdate>,
    /// Whose updates count no more.
    pub excluded: BTreeSet<ParticipantId>,
}

impl Collecting {
    pub(super) fn deadline(&self) -> Timestamp {
        self.opened_at.plus(self.plan.deadlines.collect())
    }

    /// Who joined and has not delivered, lost or not.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &ParticipantId> {
        self.joined.iter().filter(|id| !self.accepted.contains_key(*id) && !self.excluded.contains(*id))
    }

    /// Whether there is nothing more to wait for: the goal is reached, or everybody delivered who is still there. The
    /// root participant, without whose update there is no aggregate, is waited for in any case.
    pub(super) fn is_full(&self) -> bool {
        let enough = has_quorum(&self.plan, self.accepted.len());
        let goal = usize::try_from(self.plan.goal).is_ok_and(|goal| self.accepted.len() >= goal);
        let mut present = self.awaited().filter(|id| !self.lost.contains(*id));
        enough && if goal { !present.any(|id| self.plan.root.as_ref() == Some(id)) } else { present.next().is_none() }
    }

    pub(super) fn advance(&mut self, event: &RoundEvent) -> Step {
        let changed = match event {
            // A participant whose answer was lost joins again; it is told that it has joined.
            RoundEvent::Joined { participant_id, .. } if !self.joined.contains(participant_id) => return None,
            RoundEvent::Joined { participant_id, .. } | RoundEvent::Returned { participant_id, .. } => {
                self.lost.remove(participant_id)
            }
            RoundEvent::Lost { participant_id, .. } => self.lost.insert(participant_id.clone()),
            RoundEvent::Excluded { participant_id, .. } => {
                self.accepted.remove(participant_id).is_some() | self.excluded.insert(participant_id.clone())
            }
            RoundEvent::UpdateAccepted { participant_id, update, .. } => {
                return Some(self.accept(participant_id, update));
            }
            RoundEvent::CollectionClosed { drawn, at } => return Some(self.close(drawn, *at).map(Change::To)),
            _ => return None,
        };
        Some(Ok(Change::within(changed)))
    }

    fn accept(&mut self, participant_id: &ParticipantId, update: &AcceptedUpdate) -> Result<Change, IllegalTransition> {
        self.plan.staleness(update.trained_in)?;
        // Who joined the earlier round that a late update was trained in, this round cannot know; the intake does.
        let is_late = update.trained_in != self.plan.round_id.number;
        let takes_part = is_late || self.joined.contains(participant_id);
        if !takes_part || self.excluded.contains(participant_id) {
            return Err(IllegalTransition::NotTakingPart(participant_id.clone()));
        }
        match self.accepted.get(participant_id) {
            None => {
                self.lost.remove(participant_id);
                self.accepted.insert(participant_id.clone(), update.clone());
                Ok(Change::Within)
            }
            Some(first) if first.payload == update.payload => Ok(Change::None),
            Some(first) if first.trained_in != update.trained_in => {
                Err(IllegalTransition::Delivered(participant_id.clone()))
            }
            Some(first) => {
                let (participant_id, first, second) = (participant_id.clone(), first.payload, update.payload);
                Err(IllegalTransition::Equivocation { participant_id, first, second })
            }
        }
    }

    fn close(&self, drawn: &BTreeSet<ParticipantId>, at: Timestamp) -> Result<RoundState, IllegalTransition> {
        if !has_quorum(&self.plan, self.accepted.len()) {
            return Ok(no_quorum(&self.plan, self.accepted.len(), at));
        }
        if let Some(stranger) = drawn.iter().find(|id| !self.accepted.contains_key(*id)) {
            return Err(IllegalTransition::NotTakingPart(stranger.clone()));
        }
        let (plan, accepted, lost) = (Arc::clone(&self.plan), self.accepted.clone(), self.lost.clone());
        let Some(threshold) = plan.threshold else {
            return Ok(RoundState::Collected(Collected { plan, accepted, dropped: BTreeSet::new(), lost }));
        };
        let dropped = self.joined.iter().filter(|id| !self.accepted.contains_key(*id)).cloned().collect();
        let survived = Survived { plan, threshold, accepted, dropped, lost };
        Ok(match &self.plan.assurance {
            Assurance::None => RoundState::Agreeing(Agreeing::new(survived, at)),
            Assurance::NormProofs { root: None } => RoundState::Proving(Proving::new(survived, at)),
            Assurance::NormProofs { root: Some(_) } | Assurance::Openings { .. } => {
                RoundState::Opening(Opening::new(survived, drawn.clone(), at))
            }
        })
    }
}
