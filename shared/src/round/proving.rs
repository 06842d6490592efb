//! Between collecting and agreeing, where the task asks for it: all who delivered prove what their hidden updates are. Who
//! does not, or not rightly, dropped out.

use std::collections::BTreeSet;

use super::unmasking::Survived;
use super::{Agreeing, Change, IllegalTransition, RoundEvent, RoundState, Step, all_came};
use crate::{ParticipantId, Timestamp};

/// Whose proof came so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Proving {
    /// Who delivered, and who dropped.
    pub survived: Survived,
    /// When all were asked.
    pub opened_at: Timestamp,
    /// Whose proof is there; what it is worth is seen when all are.
    pub proven: BTreeSet<ParticipantId>,
}

impl Proving {
    pub(super) fn new(survived: Survived, opened_at: Timestamp) -> Self {
        Self { survived, opened_at, proven: BTreeSet::new() }
    }

    pub(super) fn deadline(&self) -> Timestamp {
        self.opened_at.plus(self.survived.plan.deadlines.unmask())
    }

    pub(super) fn is_full(&self) -> bool {
        all_came(self.survived.accepted.keys(), |id| self.proven.contains(id), &self.survived.lost)
    }

    pub(super) fn advance(&mut self, event: &RoundEvent) -> Step {
        match event {
            RoundEvent::Proven { participant_id, .. } => Some(self.prove(participant_id)),
            RoundEvent::ProofsClosed { weightless, at } => Some(Ok(Change::To(self.close(weightless, *at)))),
            RoundEvent::Excluded { participant_id, .. } => {
                Some(Ok(Change::within(self.survived.leave_out([participant_id]))))
            }
            _ => self.survived.attend(event),
        }
    }

    fn prove(&mut self, participant_id: &ParticipantId) -> Result<Change, IllegalTransition> {
        self.survived.check(participant_id)?;
        Ok(Change::within(self.proven.insert(participant_id.clone())))
    }

    fn close(&self, weightless: &BTreeSet<ParticipantId>, at: Timestamp) -> RoundState {
        let mut survived = self.survived.clone();
        survived.leave_out(self.survived.without(&self.proven).chain(weightless));
        survived.no_quorum(at).unwrap_or_else(|| RoundState::Agreeing(Agreeing::new(survived, at)))
    }
}
