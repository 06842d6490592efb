//! Phase 3 of a masked round: the survivors sign that they were shown the same set of those who delivered.

use std::collections::BTreeSet;

use super::unmasking::{Survived, Unmasking};
use super::{Change, IllegalTransition, RoundEvent, RoundState, Step};
use crate::{ParticipantId, Timestamp};

/// Who agreed so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreeing {
    /// Who delivered, and who dropped.
    pub survived: Survived,
    /// When the set was closed.
    pub opened_at: Timestamp,
    /// Who agreed.
    pub agreed: BTreeSet<ParticipantId>,
}

impl Agreeing {
    pub(super) fn new(survived: Survived, opened_at: Timestamp) -> Self {
        Self { survived, opened_at, agreed: BTreeSet::new() }
    }

    pub(super) fn deadline(&self) -> Timestamp {
        self.opened_at.plus(self.survived.plan.deadlines.unmask())
    }

    /// Whether as many agreed as are needed: nobody waits for more signatures than protect it.
    pub(super) fn is_full(&self) -> bool {
        self.survived.is_enough(&self.agreed)
    }

    pub(super) fn advance(&mut self, event: &RoundEvent) -> Step {
        match event {
            RoundEvent::Agreed { participant_id, .. } => Some(self.agree(participant_id)),
            RoundEvent::AgreementClosed { at } => Some(Ok(Change::To(self.close(*at)))),
            _ => self.survived.attend(event),
        }
    }

    fn agree(&mut self, participant_id: &ParticipantId) -> Result<Change, IllegalTransition> {
        self.survived.check(participant_id)?;
        Ok(Change::within(self.agreed.insert(participant_id.clone())))
    }

    fn close(&self, at: Timestamp) -> RoundState {
        match self.survived.is_enough(&self.agreed) {
            true => RoundState::Unmasking(Unmasking::new(self.survived.clone(), at)),
            false => self.survived.stays_masked(&self.agreed, at),
        }
    }
}
