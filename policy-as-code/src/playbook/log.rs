//! The events of runs, durable, and which runs are open.
//!
//! An event is written only behind the one it follows, so that two executors cannot both drive a run on.

use std::sync::Arc;

use shared::RunId;
use shared::store::{Batch, Key, Store, StoreError};

use super::RunError;
use super::run::{RunEvent, RunPlan, RunState};

/// How many runs may be open at once.
pub const MAX_OPEN_RUNS: usize = 4_096;
/// How many events a run may have.
const MAX_EVENTS: usize = 4_096;

const EVENTS: &str = "run";
const OPEN: &str = "run-open";

/// The events of all runs in a store.
pub struct RunLog {
    store: Arc<dyn Store>,
}

impl RunLog {
    /// The log in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Starts a run.
    pub fn start(&self, plan: RunPlan) -> Result<RunState, RunError> {
        if self.open()?.len() >= MAX_OPEN_RUNS {
            return Err(RunError::TooManyRuns { limit: MAX_OPEN_RUNS });
        }
        let run_id = plan.run_id.clone();
        let event = RunEvent::Started { plan: Box::new(plan.clone()) };
        let first = event_key(&run_id, 0);
        let batch = Batch::new().expect_absent(first.clone()).put(first, bytes(&event)).put(open_key(&run_id), b"");
        match self.store.apply(batch) {
            Ok(()) => Ok(RunState::start(plan)),
            Err(StoreError::Conflict { .. }) => Err(RunError::Exists { run_id }),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves a run on by `event`, durably.
    pub fn append(&self, state: RunState, event: &RunEvent) -> Result<RunState, RunError> {
        let run_id = state.plan.run_id.clone();
        let key = event_key(&run_id, state.events);
        let next = state.apply(event).map_err(|error| RunError::Illegal { run_id, error })?;
        self.store.apply(Batch::new().expect_absent(key.clone()).put(key, bytes(event)))?;
        Ok(next)
    }

    /// The events of a run, oldest first.
    pub fn events(&self, run_id: &RunId) -> Result<Vec<RunEvent>, RunError> {
        let entries = self.store.scan(EVENTS, format!("{run_id}/").as_bytes(), MAX_EVENTS)?;
        let damaged =
            |error: serde_json::Error| RunError::Damaged { run_id: run_id.clone(), reason: error.to_string() };
        entries.into_iter().map(|(_, value)| serde_json::from_slice(&value).map_err(damaged)).collect()
    }

    /// Where a run stands.
    pub fn state(&self, run_id: &RunId) -> Result<RunState, RunError> {
        let events = self.events(run_id)?;
        if events.is_empty() {
            return Err(RunError::Unknown { run_id: run_id.clone() });
        }
        RunState::replay(events).map_err(|error| RunError::Illegal { run_id: run_id.clone(), error })
    }

    /// The runs to which something may still happen.
    pub fn open(&self) -> Result<Vec<RunId>, RunError> {
        let entries = self.store.scan(OPEN, b"", MAX_OPEN_RUNS)?;
        Ok(entries.into_iter().filter_map(|(key, _)| RunId::new(String::from_utf8(key).ok()?).ok()).collect())
    }

    /// Takes a run that is closed off the open ones.
    pub fn close(&self, run_id: &RunId) -> Result<(), RunError> {
        Ok(self.store.apply(Batch::new().delete(open_key(run_id)))?)
    }
}

fn bytes(event: &RunEvent) -> Vec<u8> {
    serde_json::json!(event).to_string().into_bytes()
}

fn event_key(run_id: &RunId, number: u32) -> Key {
    Key::new(EVENTS, format!("{run_id}/{number:06}"))
}

fn open_key(run_id: &RunId) -> Key {
    Key::new(OPEN, run_id.as_str())
}
