//! Phase 4 of a masked round: the survivors reveal what unmasks the sum, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AbortReason, Aborted, AcceptedUpdate, Change, Collected, IllegalTransition, RoundEvent, RoundPlan};
use super::{RoundState, Step, all_came, has_quorum, no_quorum};
use crate::{ParticipantId, Timestamp};

/// Who delivered a masked update, and who did not.
#[derive(Debug, Clone, PartialEq)]
pub struct Survived {
    /// What was announced.
    pub plan: Arc<RoundPlan>,
    /// How many must help.
    pub threshold: u32,
    /// Whose update counts, and what of it.
    pub accepted: BTreeMap<ParticipantId, AcceptedUpdate>,
    /// Who joined and did not deliver, or not what was asked for.
    pub dropped: BTreeSet<ParticipantId>,
    /// Who is not heard of at present.
    pub lost: BTreeSet<ParticipantId>,
}

impl Survived {
    /// Whether `present` are as many as are needed.
    pub(super) fn is_enough(&self, present: &BTreeSet<ParticipantId>) -> bool {
        u32::try_from(present.len()).is_ok_and(|present| present >= self.threshold)
    }

    /// The survivors who are not among `present`.
    pub(super) fn without<'a>(
        &'a self,
        present: &'a BTreeSet<ParticipantId>,
    ) -> impl Iterator<Item = &'a ParticipantId> {
        self.accepted.keys().filter(|id| !present.contains(*id))
    }

    /// Refuses who did not survive.
    pub(super) fn check(&mut self, participant_id: &ParticipantId) -> Result<(), IllegalTransition> {
        if !self.accepted.contains_key(participant_id) {
            return Err(IllegalTransition::NotTakingPart(participant_id.clone()));
        }
        self.lost.remove(participant_id);
        Ok(())
    }

    /// Who comes and goes.
    pub(super) fn attend(&mut self, event: &RoundEvent) -> Step {
        let changed = match event {
            RoundEvent::Lost { participant_id, .. } => self.lost.insert(participant_id.clone()),
            RoundEvent::Returned { participant_id, .. } => self.lost.remove(participant_id),
            _ => return None,
        };
        Some(Ok(Change::within(changed)))
    }

    /// Counts these among those who dropped; whether any of them counted.
    pub(super) fn leave_out<'a>(&mut self, ids: impl IntoIterator<Item = &'a ParticipantId>) -> bool {
        let before = self.accepted.len();
        for id in ids {
            if self.accepted.remove(id).is_some() {
                self.dropped.insert(id.clone());
            }
        }
        self.accepted.len() < before
    }

    /// How the round ends where too few are left.
    pub(super) fn no_quorum(&self, at: Timestamp) -> Option<RoundState> {
        let left = self.accepted.len();
        (!has_quorum(&self.plan, left)).then(|| no_quorum(&self.plan, left, at))
    }

    /// The round's end without a result.
    pub(super) fn abort(&self, reason: AbortReason, at: Timestamp) -> RoundState {
        RoundState::Aborted(Aborted { plan: Arc::clone(&self.plan), reason, at })
    }

    /// The state after too few helped.
    pub(super) fn stays_masked(&self, present: &BTreeSet<ParticipantId>, at: Timestamp) -> RoundState {
        let present = u32::try_from(present.len()).unwrap_or(u32::MAX);
        self.abort(AbortReason::StaysMasked { present, needed: self.threshold }, at)
    }
}

/// Who revealed so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Unmasking {
    /// Who delivered, and who dropped.
    pub survived: Survived,
    /// When enough had agreed.
    pub opened_at: Timestamp,
    /// Who revealed.
    pub revealed: BTreeSet<ParticipantId>,
}

impl Unmasking {
    pub(super) fn new(survived: Survived, opened_at: Timestamp) -> Self {
        Self { survived, opened_at, revealed: BTreeSet::new() }
    }

    pub(super) fn deadline(&self) -> Timestamp {
        self.opened_at.plus(self.survived.plan.deadlines.unmask())
    }

    /// Whether everybody revealed who is still there, and they are enough: more shares than are needed make good for
    /// those that turn out to be wrong.
    pub(super) fn is_full(&self) -> bool {
        let all = all_came(self.survived.accepted.keys(), |id| self.revealed.contains(id), &self.survived.lost);
        all && self.survived.is_enough(&self.revealed)
    }

    pub(super) fn advance(&mut self, event: &RoundEvent) -> Step {
        match event {
            RoundEvent::Revealed { participant_id, .. } => Some(self.reveal(participant_id)),
            RoundEvent::RevealsClosed { at } => Some(Ok(Change::To(self.close(*at)))),
            _ => self.survived.attend(event),
        }
    }

    fn reveal(&mut self, participant_id: &ParticipantId) -> Result<Change, IllegalTransition> {
        self.survived.check(participant_id)?;
        Ok(Change::within(self.revealed.insert(participant_id.clone())))
    }

    fn close(&self, at: Timestamp) -> RoundState {
        if !self.survived.is_enough(&self.revealed) {
            return self.survived.stays_masked(&self.revealed, at);
        }
        let Survived { plan, accepted, dropped, lost, .. } = self.survived.clone();
        RoundState::Collected(Collected { plan, accepted, dropped, lost })
    }
}
