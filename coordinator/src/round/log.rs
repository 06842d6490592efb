//! A round's events in the store: replayed to a state, and appended one batch at a time.

use std::sync::Arc;

use shared::RoundId;
use shared::round::{RoundEvent, RoundState};
use shared::store::{Batch, Store};

use crate::task::RoundEntry;
use crate::{Error, durable};

/// A round with its state and how many events led to it.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) entry: RoundEntry,
    pub(crate) state: Arc<RoundState>,
    events: u32,
}

/// The round as its stored events leave it.
pub(crate) fn replay(store: &dyn Store, round_id: &RoundId) -> Result<Round, Error> {
    let key = durable::round(round_id);
    let entry: RoundEntry = durable::read(store, &key)?.ok_or_else(|| Error::UnknownRound(round_id.clone()))?;
    let mut state = RoundState::announce(entry.plan.clone());
    let mut events: u32 = 0;
    // How often somebody may be lost and return is not bounded, so that the number of events is not either.
    for bytes in durable::events(store, round_id, usize::MAX)? {
        let event: RoundEvent = durable::decode(key.tree, &bytes)?;
        let advanced = state.advance(&event);
        advanced.map_err(|error| Error::Damaged { tree: key.tree, reason: error.to_string() })?;
        events = events.saturating_add(1);
    }
    Ok(Round { entry, state: Arc::new(state), events })
}

impl Round {
    /// A round that nothing has happened to.
    pub(crate) fn announced(entry: RoundEntry) -> Self {
        let state = Arc::new(RoundState::announce(entry.plan.clone()));
        Self { entry, state, events: 0 }
    }

    /// Lets `event` happen and adds it to `batch`; whether it changed anything. What changes nothing is not added, and
    /// after a refusal both are as they were.
    pub(crate) fn add(&mut self, event: &RoundEvent, batch: &mut Batch) -> Result<bool, Error> {
        let key = durable::event(&self.entry.plan.round_id, self.events);
        let encoded = durable::encode(event)?;
        if !Arc::make_mut(&mut self.state).advance(event)? {
            return Ok(false);
        }
        batch.expectations.push((key.clone(), None));
        batch.writes.push((key, Some(encoded)));
        self.events = self.events.saturating_add(1);
        Ok(true)
    }

    /// How many of the task's rounds are committed, this one included.
    pub(crate) fn committed(&self) -> u32 {
        let committed = matches!(*self.state, RoundState::Committed(_));
        self.entry.committed_before.saturating_add(u32::from(committed))
    }
}
