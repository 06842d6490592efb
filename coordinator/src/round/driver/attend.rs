//! Tells the round who is not heard of any more, who is again, and whose word counts no more.

use std::time::Duration;

use shared::round::{RoundEvent, RoundState};
use shared::store::Batch;
use shared::{ParticipantId, Timestamp};

use super::Driver;
use crate::Error;
use crate::enrol::State;

/// How often presence is looked at.
const ATTEND: Duration = Duration::from_millis(100);

impl Driver {
    /// Looks at presence and at the registry, if that was not done just now, and records what changed, in one batch.
    pub(super) fn attend(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.attended <= now && now.since(self.attended) < ATTEND {
            return Ok(());
        }
        self.attended = now;
        self.context.presence.look(now);
        let events = self.changes_of_presence(now);
        if events.is_empty() {
            return Ok(());
        }
        let (mut round, mut batch) = (self.round.clone(), Batch::new());
        for event in &events {
            if round.add(event, &mut batch)? {
                tracing::info!(round_id = %round.entry.plan.round_id, event = event.name(), ?event, "presence changed");
            }
        }
        self.context.store.apply(batch)?;
        self.round = round;
        Ok(())
    }

    fn changes_of_presence(&self, at: Timestamp) -> Vec<RoundEvent> {
        let state = &*self.round.state;
        let Some(lost) = state.lost() else { return Vec::new() };
        let is_lost = |id: &ParticipantId| self.context.presence.is_lost(id, at);
        let gone = state.awaited().into_iter().filter(|id| !lost.contains(*id) && is_lost(id));
        let gone = gone.map(|id| RoundEvent::Lost { participant_id: id.clone(), at });
        let back = lost.iter().filter(|id| !is_lost(id) && !self.is_shut_out(id));
        let back = back.map(|id| RoundEvent::Returned { participant_id: id.clone(), at });
        let excluded = self.to_be_excluded().into_iter();
        let excluded = excluded.map(|id| RoundEvent::Excluded { participant_id: id.clone(), at });
        gone.chain(back).chain(excluded).collect()
    }

    /// Who counts in the round so far and may contribute no more.
    fn to_be_excluded(&self) -> Vec<&ParticipantId> {
        let shut_out = |id: &&ParticipantId| self.is_shut_out(id);
        match &*self.round.state {
            RoundState::Announced(state) => state.joined.iter().filter(shut_out).collect(),
            RoundState::Collecting(state) => {
                let counted = state.joined.iter().chain(state.accepted.keys().filter(|id| !state.joined.contains(*id)));
                counted.filter(|id| !state.excluded.contains(*id)).filter(shut_out).collect()
            }
            RoundState::Opening(state) => state.survived.accepted.keys().filter(shut_out).collect(),
            RoundState::Proving(state) => state.survived.accepted.keys().filter(shut_out).collect(),
            _ => Vec::new(),
        }
    }

    fn is_shut_out(&self, participant_id: &ParticipantId) -> bool {
        matches!(self.context.registry.state(participant_id), Some(State::Quarantined | State::Revoked))
    }
}
