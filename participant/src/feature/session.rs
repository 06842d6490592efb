//! What a session has done so far. Its suspicious steps stay visible at its later, harmless-looking ones.

use super::memory::Memory;
use super::novelty::Novelty;
use super::observation::Observation;
use super::operation::Class;
use super::scale::{age, bulk, flag, log, wide};
use super::vector::Row;

/// What is known of one session.
#[derive(Default)]
pub(super) struct Session {
    first_at: i64,
    last_at: i64,
    events: u16,
    failures: u16,
    catalogs: u16,
    sensitives: u16,
    oddities: u16,
    new_shapes: u16,
    tables: u16,
    alterations: u16,
    destructions: u16,
    files: u16,
    reads: u16,
    rows: u64,
    address_surprise: f32,
    application_surprise: f32,
}

/// All sessions.
pub(super) struct Sessions {
    open: Memory<(u64, u64), Session>,
}

impl Sessions {
    /// Remembers at most `capacity` sessions.
    pub(super) fn new(capacity: usize) -> Self {
        Self { open: Memory::new(capacity) }
    }

    /// Writes the session's features as of this event, which counts too. A session belongs to one principal: a client
    /// that names its own sessions cannot hide in another's.
    pub(super) fn observe(&mut self, seen: &Observation<'_>, novelty: &Novelty, row: &mut impl Row) {
        let session = self.open.recall((seen.principal, seen.session));
        if session.events == 0 || seen.class == Class::LogIn {
            *session = Session { first_at: seen.at, last_at: seen.at, ..Session::default() };
        }
        let gap = seen.at.saturating_sub(session.last_at);
        session.last_at = session.last_at.max(seen.at);
        session.count(seen, novelty);
        row.put("session_gap", age(gap));
        row.put("session_age", age(seen.at.saturating_sub(session.first_at)));
        session.write(row);
    }
}

impl Session {
    fn count(&mut self, seen: &Observation<'_>, novelty: &Novelty) {
        tick(&mut self.events, true);
        tick(&mut self.failures, seen.outcome.failed());
        tick(&mut self.oddities, seen.odd());
        tick(&mut self.new_shapes, novelty.shape_new);
        tick(&mut self.alterations, matches!(seen.class, Class::Define | Class::Permit));
        tick(&mut self.reads, matches!(seen.class, Class::Read | Class::Copy));
        self.tables = self.tables.saturating_add(novelty.tables_new_this_hour);
        self.rows = self.rows.saturating_add(seen.rows);
        self.address_surprise = self.address_surprise.max(novelty.address_surprise);
        self.application_surprise = self.application_surprise.max(novelty.application_surprise);
        let Some(statement) = &seen.statement else { return };
        tick(&mut self.catalogs, statement.catalogs.any() || statement.probes.any());
        tick(&mut self.sensitives, statement.sensitive.any());
        tick(&mut self.destructions, statement.destruction.any());
        tick(&mut self.files, statement.files.any());
    }

    fn write(&self, row: &mut impl Row) {
        let some = |count: u16| log(f32::from(count), 50.0);
        row.put("session_events", log(f32::from(self.events), 1e3));
        row.put("session_failures", some(self.failures));
        row.put("session_odd", some(self.oddities));
        row.put("session_new_shapes", some(self.new_shapes));
        row.put("session_tables", some(self.tables));
        row.put("session_alterations", some(self.alterations));
        row.put("session_reads", log(f32::from(self.reads), 1e3));
        row.put("session_rows", log(wide(self.rows), 1e7));
        row.put("session_bulk", bulk(wide(self.rows)));
        row.put("session_catalogs", some(self.catalogs));
        row.put("session_sensitive", some(self.sensitives));
        row.put("session_destruction", flag(self.destructions > 0));
        row.put("session_file_or_program", flag(self.files > 0));
        row.put("session_new_address", self.address_surprise);
        row.put("session_new_application", self.application_surprise);
    }
}

fn tick(count: &mut u16, holds: bool) {
    *count = count.saturating_add(u16::from(holds));
}
