//! What the audit log writes while somebody works: log-ins, statements, refusals, one event after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::Timestamp;

use super::draw::Draw;
use super::site::{Account, Site};
use crate::event::Draft;

/// PostgreSQL's error states that the range uses.
pub(super) mod sqlstate {
    pub(crate) const INVALID_PASSWORD: &str = "28P01";
    pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub(crate) const SYNTAX_ERROR: &str = "42601";
    pub(crate) const INVALID_COLUMN_REFERENCE: &str = "42P10";
    pub(crate) const UNDEFINED_FUNCTION: &str = "42883";
    pub(crate) const FAILED_TRANSACTION: &str = "25P02";
}

/// The events of one activity. Sessions may overlap; the range puts all events into time order.
pub(super) struct Transcript<'a> {
    pub(super) site: &'a Site,
    pub(super) draw: &'a mut Draw,
    now: Timestamp,
    account: Account,
    session: String,
    events: Vec<Draft>,
}

impl<'a> Transcript<'a> {
    pub(super) fn new(site: &'a Site, draw: &'a mut Draw, start: Timestamp) -> Self {
        Self { site, draw, now: start, account: Account::default(), session: String::new(), events: Vec::new() }
    }

    /// Lets `low` to `high` seconds pass.
    pub(super) fn wait(&mut self, low: u64, high: u64) {
        let micros = self.draw.between(low * 1_000_000, high * 1_000_000);
        self.now = self.now.plus(Duration::from_micros(micros));
    }

    /// Moves to `at`, forward or back: what follows happens beside what went before.
    pub(super) fn go_to(&mut self, at: Timestamp) {
        self.now = at;
    }

    /// Moves to some moment within the staff's hours of `day`.
    pub(super) fn go_to_work(&mut self, day: u32) {
        self.now = self.site.office_time(day, self.draw);
    }

    pub(super) fn login(&mut self, account: &Account) {
        self.connect(account);
        self.push(Entry { operation: "LOGIN", ..Entry::default() });
    }

    pub(super) fn fail_login(&mut self, account: &Account) {
        self.connect(account);
        let error = Some(("error", sqlstate::INVALID_PASSWORD));
        self.push(Entry { operation: "LOGIN_FAILED", extra: error, ..Entry::default() });
    }

    pub(super) fn logout(&mut self) {
        self.wait(1, 3);
        self.logout_at_once();
    }

    pub(super) fn logout_at_once(&mut self) {
        self.push(Entry { operation: "LOGOUT", named: true, ..Entry::default() });
    }

    /// A statement that succeeds. `micros` is its usual duration, around which the actual one varies.
    pub(super) fn run(&mut self, operation: &str, sql: &str, rows: u64, micros: u64) {
        let duration = self.duration(micros);
        self.record(operation, sql, rows, Some(duration));
    }

    /// A read that succeeds.
    pub(super) fn select(&mut self, sql: &str, rows: u64, micros: u64) {
        self.run("SELECT", sql, rows, micros);
    }

    /// A read whose duration the server did not log, as with drivers that use the extended protocol.
    pub(super) fn select_untimed(&mut self, sql: &str, rows: u64) {
        self.record("SELECT", sql, rows, None);
    }

    /// `COPY (query) TO STDOUT`, which the server logs as the query and as the copy.
    pub(super) fn copy_query(&mut self, query: &str, rows: u64, micros: u64) {
        let sql = format!("COPY ({query}) TO STDOUT");
        let duration = Some(self.duration(micros));
        self.record("SELECT", &sql, rows, duration);
        self.record("COPY", &sql, 0, duration);
    }

    /// A statement that the server refuses with an error state.
    pub(super) fn refused(&mut self, sql: &str, state: &str) {
        self.push(Entry {
            operation: "QUERY_ERROR",
            sql,
            extra: Some(("error", state)),
            named: true,
            ..Entry::default()
        });
    }

    pub(super) fn finish(self) -> Vec<Draft> {
        self.events
    }

    fn connect(&mut self, account: &Account) {
        self.account = account.clone();
        self.session = self.draw.hex(12);
    }

    /// Half to double the usual duration, and at times, on a busy server, much more.
    fn duration(&mut self, micros: u64) -> Duration {
        let busy = if self.draw.chance(3) { 12 } else { 1 };
        let spread = 500 + self.draw.below(750) + self.draw.below(750);
        Duration::from_micros(micros * busy * spread / 1000)
    }

    fn record(&mut self, operation: &str, sql: &str, rows: u64, duration: Option<Duration>) {
        let extra = Some(("class", class(operation)));
        self.push(Entry { operation, sql, rows: Some(rows), duration, extra, named: true });
        self.now = self.now.plus(Duration::from_micros(1));
    }

    fn push(&mut self, entry: Entry<'_>) {
        let application = if entry.named { self.account.application.as_str() } else { "" };
        let database = self.site.profile.database.as_str();
        let tags = [("application", application), ("database", database), ("session", &self.session)];
        let tags = tags.into_iter().chain(entry.extra).map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.events.push(Draft {
            event_id: String::new(),
            timestamp: self.now,
            source: "postgres.pgaudit".to_owned(),
            operation: entry.operation.to_owned(),
            principal: self.account.name.clone(),
            ip: self.account.ip.clone(),
            row_count: entry.rows,
            query_duration: entry.duration,
            changed_fields: changed_fields(entry.operation, entry.sql),
            raw_sql: (!entry.sql.is_empty()).then(|| entry.sql.to_owned()),
            tags: tags.collect::<BTreeMap<_, _>>(),
        });
    }
}

/// What one line of the audit log has of its own.
#[derive(Default)]
struct Entry<'a> {
    operation: &'a str,
    sql: &'a str,
    rows: Option<u64>,
    duration: Option<Duration>,
    /// The tag that goes with the kind of line: a statement's class or an error's state.
    extra: Option<(&'a str, &'a str)>,
    /// Whether the client has told its application name by then.
    named: bool,
}

/// The columns that an update sets: the words before each `=` between SET and WHERE.
fn changed_fields(operation: &str, sql: &str) -> Vec<String> {
    let Some((_, assignments)) = sql.split_once(" SET ").filter(|_| operation == "UPDATE") else {
        return Vec::new();
    };
    let assignments = assignments.split(" WHERE ").next().unwrap_or_default();
    let columns = assignments.split(", ").filter_map(|assignment| assignment.split_once(" = "));
    columns.map(|(column, _)| column.to_owned()).collect()
}

/// pgaudit's class of an operation.
fn class(operation: &str) -> &'static str {
    match operation {
        "SELECT" | "COPY" => "READ",
        "INSERT" | "UPDATE" | "DELETE" => "WRITE",
        "GRANT" | "GRANT ROLE" | "CREATE ROLE" | "ALTER ROLE" => "ROLE",
        "CREATE TABLE" | "CREATE INDEX" | "CREATE FUNCTION" | "ALTER TABLE" | "DROP TABLE" => "DDL",
        _ => "MISC",
    }
}
