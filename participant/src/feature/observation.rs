//! An event as the engine's state may see it: tokens instead of names, classes instead of texts.

use std::net::IpAddr;

use super::operation::{Class, Client, Outcome};
use super::statement::{self, MAX_TABLES, Statement};
use super::token::{Kind, Tokeniser};
use crate::event::Event;

/// What one event tells the state.
pub(super) struct Observation<'a> {
    /// Event time in microseconds.
    pub(super) at: i64,
    pub(super) principal: u64,
    pub(super) address: u64,
    /// The address's /24 (IPv4) or /48 (IPv6).
    pub(super) network: u64,
    pub(super) session: u64,
    /// The client program, where the event names one.
    pub(super) application: Option<u64>,
    pub(super) operation: u64,
    pub(super) class: Class,
    pub(super) outcome: Outcome,
    pub(super) client: Client,
    pub(super) rows: u64,
    /// How long a statement that succeeded ran, in microseconds. Sources disagree about those that failed.
    pub(super) duration: Option<u64>,
    pub(super) statement: Option<Statement<'a>>,
    pub(super) tables: [Option<u64>; MAX_TABLES],
    /// The address belongs to no private network.
    pub(super) from_outside: bool,
}

impl<'a> Observation<'a> {
    /// Reads `event`, leaving its names behind.
    pub(super) fn new(event: &'a Event, tokens: &mut Tokeniser, hash_seed: u64) -> Self {
        let address: Option<IpAddr> = event.ip().parse().ok();
        let application = event.tag("application").unwrap_or_default();
        let statement = event.raw_sql().map(|sql| statement::read(sql, hash_seed));
        let outcome = Outcome::of(event);
        let duration = event.query_duration().and_then(|duration| u64::try_from(duration.as_micros()).ok());
        let tables = statement.as_ref().map(|statement| statement.tables).unwrap_or_default();
        Self {
            at: event.timestamp().as_micros(),
            principal: tokens.token(Kind::Principal, event.principal()),
            address: tokens.token(Kind::Address, event.ip()),
            network: network(address, tokens),
            session: tokens.token(Kind::Session, event.tag("session").unwrap_or(event.principal())),
            application: (!application.is_empty()).then(|| tokens.token(Kind::Application, application)),
            operation: tokens.token(Kind::Operation, event.operation()),
            class: Class::of(event.operation()),
            outcome,
            client: Client::of(application),
            rows: event.row_count().unwrap_or(0),
            duration: duration.filter(|_| !outcome.failed()),
            tables: tables.map(|table| table.map(|name| tokens.token(Kind::Asset, name))),
            from_outside: address.is_some_and(|address| !is_private(address)),
            statement,
        }
    }

    /// The statement's shape; for an event without statement its operation.
    pub(super) fn shape(&self) -> u64 {
        self.statement.as_ref().map_or(self.operation, |statement| statement.shape)
    }

    /// Whether the statement looks built rather than written: what injection leaves behind.
    pub(super) fn odd(&self) -> bool {
        self.outcome == Outcome::Malformed
            || self.statement.as_ref().is_some_and(|statement| {
                let injected = statement.comments.any() || statement.unions.any() || statement.tautologies.any();
                injected || statement.sleeps.any() || statement.unterminated.any() || statement.encodings.get() > 4
            })
    }
}

fn network(address: Option<IpAddr>, tokens: &mut Tokeniser) -> u64 {
    match address {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            tokens.token(Kind::Network, &format!("{a}.{b}.{c}"))
        }
        Some(IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            tokens.token(Kind::Network, &format!("{a:x}:{b:x}:{c:x}"))
        }
        None => tokens.token(Kind::Network, ""),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local(),
    }
}
