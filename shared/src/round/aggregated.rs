//! Phase 4: the candidate is known and participants evaluate it on their temporal hold-outs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Evaluated, IllegalTransition, RoundEvent, RoundPlan, RoundState, Step, Tally};
use crate::update::Evaluation;
use crate::{Digest, ParticipantId, Timestamp};

/// The candidate, and who evaluated it so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregated {
    /// What was announced.
    pub plan: RoundPlan,
    /// Whose update counts, and its digest.
    pub accepted: BTreeMap<ParticipantId, Digest>,
    /// Digest of the candidate's parameters.
    pub candidate: Digest,
    /// When it was computed.
    pub aggregated_at: Timestamp,
    /// The evaluations so far.
    pub evaluations: BTreeMap<ParticipantId, Evaluation>,
}

impl Aggregated {
    pub(super) fn deadline(&self) -> Timestamp {
        self.aggregated_at.plus(self.plan.deadlines.evaluate())
    }

    pub(super) fn is_full(&self) -> bool {
        self.evaluations.len() == self.accepted.len()
    }

    pub(super) fn apply(&self, event: &RoundEvent) -> Step {
        match event {
            RoundEvent::EvaluationAccepted { evaluation, .. } => Some(self.accept(evaluation)),
            RoundEvent::EvaluationClosed { .. } => Some(Ok(self.close())),
            _ => None,
        }
    }

    fn accept(&self, evaluation: &Evaluation) -> Result<RoundState, IllegalTransition> {
        let participant_id = &evaluation.participant_id;
        if !self.accepted.contains_key(participant_id) {
            return Err(IllegalTransition::NotTakingPart(participant_id.clone()));
        }
        if evaluation.candidate != self.candidate {
            return Err(IllegalTransition::OtherCandidate { expected: self.candidate, found: evaluation.candidate });
        }
        // The first evaluation stands: a second draw of noise over the same counts would cost privacy for nothing.
        let mut next = self.clone();
        next.evaluations.entry(participant_id.clone()).or_insert_with(|| evaluation.clone());
        Ok(RoundState::Aggregated(next))
    }

    fn close(&self) -> RoundState {
        RoundState::Evaluated(Evaluated {
            plan: self.plan.clone(),
            accepted: self.accepted.clone(),
            candidate: self.candidate,
            tally: self.evaluations.values().fold(Tally::default(), Tally::with),
        })
    }
}
