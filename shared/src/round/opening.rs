//! Between collecting and agreeing, where the task asks for it: those who were drawn open their updates. Who does not, or
//! not rightly, dropped out.

use std::collections::BTreeSet;

use super::unmasking::Survived;
use super::{AbortReason, Agreeing, Change, IllegalTransition, Proving, RoundEvent, RoundState, Step, all_came};
use crate::masking::Assurance;
use crate::{ParticipantId, Timestamp};

/// Who opened so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// Who delivered, and who dropped.
    pub survived: Survived,
    /// When the set was closed.
    pub opened_at: Timestamp,
    /// Who is to open.
    pub drawn: BTreeSet<ParticipantId>,
    /// Whose update is open, and what it should be.
    pub opened: BTreeSet<ParticipantId>,
}

impl Opening {
    pub(super) fn new(survived: Survived, drawn: BTreeSet<ParticipantId>, opened_at: Timestamp) -> Self {
        Self { survived, opened_at, drawn, opened: BTreeSet::new() }
    }

    pub(super) fn deadline(&self) -> Timestamp {
        self.opened_at.plus(self.survived.plan.deadlines.unmask())
    }

    /// Who was drawn and has not opened, lost or not.
    pub(super) fn missing(&self) -> impl Iterator<Item = &ParticipantId> {
        self.drawn.difference(&self.opened)
    }

    pub(super) fn is_full(&self) -> bool {
        all_came(self.drawn.iter(), |id| self.opened.contains(id), &self.survived.lost)
    }

    pub(super) fn advance(&mut self, event: &RoundEvent) -> Step {
        match event {
            RoundEvent::Opened { participant_id, .. } => Some(self.open(participant_id)),
            RoundEvent::OpeningsClosed { at } => Some(Ok(Change::To(self.close(*at)))),
            RoundEvent::Excluded { participant_id, .. } => {
                self.drawn.remove(participant_id);
                Some(Ok(Change::within(self.survived.leave_out([participant_id]))))
            }
            _ => self.survived.attend(event),
        }
    }

    fn open(&mut self, participant_id: &ParticipantId) -> Result<Change, IllegalTransition> {
        if !self.drawn.contains(participant_id) {
            return Err(IllegalTransition::NotTakingPart(participant_id.clone()));
        }
        self.survived.check(participant_id)?;
        Ok(Change::within(self.opened.insert(participant_id.clone())))
    }

    fn close(&self, at: Timestamp) -> RoundState {
        let mut survived = self.survived.clone();
        survived.leave_out(self.missing());
        if let Some(ended) = survived.no_quorum(at) {
            return ended;
        }
        match &survived.plan.assurance {
            Assurance::NormProofs { root: Some(root) } if !self.opened.contains(root) => {
                survived.abort(AbortReason::NoRoot { root: root.clone() }, at)
            }
            Assurance::NormProofs { .. } => RoundState::Proving(Proving::new(survived, at)),
            Assurance::Openings { .. } | Assurance::None => RoundState::Agreeing(Agreeing::new(survived, at)),
        }
    }
}
