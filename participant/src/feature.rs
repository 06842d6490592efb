//! From events to feature vectors: one engine, driven online by ingestion and again by the lake (promise A6).
//!
//! The vector of an event is computed from it and from what came before it, never from what comes after. Nothing here
//! reads a clock or draws a random number, nothing is normalised by data, and state holds tokens, never names (P4).
//! `event_id`, the site and the session's id are never features.

mod flow;
mod memory;
mod novelty;
mod observation;
mod operation;
mod place;
mod principal;
mod relation;
mod scale;
mod session;
mod shape;
mod statement;
mod time;
mod token;
mod vector;
mod wording;

use std::sync::Arc;

use shared::feature::FeatureView;
use shared_crypto::TokenKey;

use self::novelty::Novelties;
use self::observation::Observation;
use self::place::Places;
use self::principal::Principals;
use self::session::Sessions;
use self::time::WorkingHours;
use self::token::{Kind, Tokeniser};
use self::vector::{Names, Row, Values};
use crate::event::{Draft, Event};

pub use vector::{Vector, WIDTH};

/// The view's name.
pub const VIEW_NAME: &str = "datastore";
/// The view's version. Raise it with every change to a feature's meaning.
pub const VIEW_VERSION: u32 = 1;

/// The most principals, addresses and sessions remembered, each.
const REMEMBERED: usize = 32_768;
/// The most pairs remembered of each kind.
const REMEMBERED_PAIRS: usize = 131_072;

/// Computes feature vectors, one event after the other. Its memory is bounded, whatever the events.
pub struct Engine {
    tokens: Tokeniser,
    hash_seed: u64,
    hours: WorkingHours,
    novelties: Novelties,
    principals: Principals,
    places: Places,
    sessions: Sessions,
}

impl Engine {
    /// An engine that has seen nothing. `key` is the site's own.
    pub fn new(key: &Arc<TokenKey>) -> Self {
        let tokens = Tokeniser::new(Arc::clone(key));
        Self {
            hash_seed: tokens.hash_seed(),
            tokens,
            hours: WorkingHours::new(REMEMBERED_PAIRS),
            novelties: Novelties::new(REMEMBERED_PAIRS),
            principals: Principals::new(REMEMBERED),
            places: Places::new(REMEMBERED),
            sessions: Sessions::new(REMEMBERED),
        }
    }

    /// The features of `event`, given all events observed before; from now on it is one of them.
    pub fn observe(&mut self, event: &Event) -> Vector {
        let mut row = Values::new();
        self.fill(event, &mut row);
        row.finish()
    }

    /// The token of the event's principal, as records carry it.
    pub fn entity(&mut self, event: &Event) -> u64 {
        self.tokens.token(Kind::Principal, event.principal())
    }

    /// The token under which detections speak of the event's principal.
    pub fn principal_token(&self, event: &Event) -> String {
        self.tokens.principal(event.principal())
    }

    fn fill(&mut self, event: &Event, row: &mut impl Row) {
        let seen = Observation::new(event, &mut self.tokens, self.hash_seed);
        operation::write(event, seen.class, seen.outcome, seen.client, row);
        let sql_length = event.raw_sql().map_or(0, str::len);
        wording::write(seen.statement.as_ref(), event.sql_truncated(), sql_length, row);
        self.hours.observe(seen.principal, seen.at, row);
        let previous_shape = self.principals.last_shape(seen.principal);
        let novelty = self.novelties.observe(&seen, previous_shape, row);
        self.principals.observe(&seen, &novelty, row);
        self.places.observe(&seen, &novelty, row);
        self.sessions.observe(&seen, &novelty, row);
    }
}

/// The names of the features, in the vector's order.
pub fn view() -> FeatureView {
    let mut names = Names::default();
    if let Ok(event) = blank_event() {
        Engine::new(&Arc::new(TokenKey::from_bytes(&[0; 32]))).fill(&event, &mut names);
    }
    FeatureView { name: VIEW_NAME.to_owned(), version: VIEW_VERSION, features: names.0 }
}

/// Any event has all features; this one serves to name them.
fn blank_event() -> Result<Event, crate::event::EventError> {
    let name = || "-".to_owned();
    Event::new(Draft {
        event_id: name(),
        timestamp: shared::Timestamp::EPOCH,
        source: name(),
        operation: name(),
        principal: name(),
        ip: name(),
        row_count: None,
        query_duration: None,
        changed_fields: Vec::new(),
        raw_sql: None,
        tags: std::collections::BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests;
