//! A round's events in the store: replayed to a state, and appended one batch at a time.

use std::sync::Arc;

use shared::RoundId;
use shared::round::{RoundEvent, RoundState};
use shared::store::{Batch, Store};
use shared::task::MAX_COHORT;

use crate::task::RoundEntry;
use crate::{Error, durable};

/// More events than a round can have: a join, an update and an evaluation each, and the phases.
const MAX_EVENTS: usize = 3 * MAX_COHORT + 16;

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
    let mut round = Round::announced(entry);
    for bytes in durable::events(store, round_id, MAX_EVENTS)? {
        let event: RoundEvent = durable::decode(key.tree, &bytes)?;
        let state = round.state.apply(&event);
        round.state = Arc::new(state.map_err(|error| Error::Damaged { tree: key.tree, reason: error.to_string() })?);
        round.events = round.events.saturating_add(1);
    }
    Ok(round)
}

impl Round {
    /// A round that nothing has happened to.
    pub(crate) fn announced(entry: RoundEntry) -> Self {
        let state = Arc::new(RoundState::announce(entry.plan.clone()));
        Self { entry, state, events: 0 }
    }

    /// The round after `event`, and `batch` with that event as the next one. Nothing is stored yet.
    pub(crate) fn after(&self, event: &RoundEvent, batch: Batch) -> Result<(Self, Batch), Error> {
        let state = Arc::new(self.state.apply(event)?);
        let key = durable::event(&self.entry.plan.round_id, self.events);
        let batch = batch.expect_absent(key.clone()).put(key, durable::encode(event)?);
        Ok((Self { entry: self.entry.clone(), state, events: self.events.saturating_add(1) }, batch))
    }

    /// How many of the task's rounds are committed, this one included.
    pub(crate) fn committed(&self) -> u32 {
        let committed = matches!(*self.state, RoundState::Committed(_));
        self.entry.committed_before.saturating_add(u32::from(committed))
    }
}
