//! Phase 4: the candidate is known and participants evaluate it on their temporal hold-outs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AcceptedUpdate, Change, Evaluated, IllegalTransition, RoundEvent, RoundPlan, RoundState, Step};
use super::{Tally, all_came};
use crate::update::Evaluation;
use crate::{Digest, ParticipantId, Timestamp};

/// The candidate, and who evaluated it so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregated {
    /// What was announced.
    pub plan: Arc<RoundPlan>,
    /// Whose update counts, and what of it.
    pub accepted: BTreeMap<ParticipantId, AcceptedUpdate>,
    /// Who is not heard of at present.
    pub lost: BTreeSet<ParticipantId>,
    /// Digest of the candidate's parameters.
    pub candidate: Digest,
    /// Digest of what the server keeps for the next round.
    pub server_state: Option<Digest>,
    /// When it was computed.
    pub aggregated_at: Timestamp,
    /// The evaluations so far.
    pub evaluations: BTreeMap<ParticipantId, Evaluation>,
}

impl Aggregated {
    pub(super) fn deadline(&self) -> Timestamp {
        self.aggregated_at.plus(self.plan.deadlines.evaluate())
    }

    /// Whether everybody evaluated who is still there.
    pub(super) fn is_full(&self) -> bool {
        let somebody = !self.evaluations.is_empty();
        somebody && all_came(self.accepted.keys(), |id| self.evaluations.contains_key(id), &self.lost)
    }

    pub(super) fn advance(&mut self, event: &RoundEvent) -> Step {
        let changed = match event {
            RoundEvent::EvaluationAccepted { evaluation, .. } => return Some(self.accept(evaluation)),
            RoundEvent::Lost { participant_id, .. } => self.lost.insert(participant_id.clone()),
            RoundEvent::Returned { participant_id, .. } => self.lost.remove(participant_id),
            RoundEvent::EvaluationClosed { .. } => return Some(Ok(Change::To(self.close()))),
            _ => return None,
        };
        Some(Ok(Change::within(changed)))
    }

    fn accept(&mut self, evaluation: &Evaluation) -> Result<Change, IllegalTransition> {
        let participant_id = &evaluation.participant_id;
        if !self.accepted.contains_key(participant_id) {
            return Err(IllegalTransition::NotTakingPart(participant_id.clone()));
        }
        if evaluation.candidate != self.candidate {
            return Err(IllegalTransition::OtherCandidate { expected: self.candidate, found: evaluation.candidate });
        }
        // The first evaluation stands: a second draw of noise over the same counts would cost privacy for nothing.
        if self.evaluations.contains_key(participant_id) {
            return Ok(Change::None);
        }
        self.lost.remove(participant_id);
        self.evaluations.insert(participant_id.clone(), evaluation.clone());
        Ok(Change::Within)
    }

    fn close(&self) -> RoundState {
        RoundState::Evaluated(Evaluated {
            plan: Arc::clone(&self.plan),
            accepted: self.accepted.clone(),
            candidate: self.candidate,
            server_state: self.server_state,
            tally: self.evaluations.values().fold(Tally::default(), Tally::with),
        })
    }
}
