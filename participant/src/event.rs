//! What happened at a data store: one event, checked once when it enters and immutable afterwards.
//!
//! An event never leaves the site, and its `Debug` shows neither principal, address nor statement, so that no log line
//! holds them by accident.

mod error;
mod json;
pub(crate) mod lexer;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use shared::Timestamp;

pub use error::EventError;
pub(crate) use json::duration_of_ms;

/// The longest `event_id`, `source`, `operation`, `principal` and `ip`, in bytes.
pub const MAX_NAME: usize = 1024;
/// The longest statement that is kept, in bytes. What lies beyond is cut off and marked: refusing it would let an
/// attacker hide behind padding.
pub const MAX_SQL: usize = 64 * 1024;
/// The most changed fields and the most tags of an event.
pub const MAX_ENTRIES: usize = 256;
/// The longest changed field, tag name and tag value, in bytes.
pub const MAX_ENTRY: usize = 1024;
/// The longest duration of a statement: ten years, far beyond any and far below overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The fields of an event before they are checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    /// Unique within the site's sources.
    pub event_id: String,
    /// When it happened, by the source's clock.
    pub timestamp: Timestamp,
    /// The telemetry it comes from, such as `postgres.pgaudit`.
    pub source: String,
    /// What was done, in the source's own words, such as `SELECT` or `GetObject`.
    pub operation: String,
    /// Who did it; empty where the source does not say.
    pub principal: String,
    /// Where from: an address, or a service's name; empty where the source does not say.
    pub ip: String,
    /// Rows read or written.
    pub row_count: Option<u64>,
    /// How long the statement ran, to the microsecond.
    pub query_duration: Option<Duration>,
    /// Columns or parameters that were set.
    pub changed_fields: Vec<String>,
    /// The statement as sent.
    pub raw_sql: Option<String>,
    /// Anything else the source says.
    pub tags: BTreeMap<String, String>,
}

/// A checked event.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    draft: Draft,
    sql_truncated: bool,
}

impl Event {
    /// Checks `draft`: names not empty and every text within its limit. A statement longer than [`MAX_SQL`] is cut.
    pub fn new(mut draft: Draft) -> Result<Self, EventError> {
        for (field, text) in [("event_id", &draft.event_id), ("source", &draft.source), ("operation", &draft.operation)]
        {
            if text.is_empty() {
                return Err(EventError::MissingField { field });
            }
            error::within(field, text, MAX_NAME)?;
        }
        error::within("principal", &draft.principal, MAX_NAME)?;
        error::within("ip", &draft.ip, MAX_NAME)?;
        error::few("changed_fields", draft.changed_fields.len())?;
        error::few("tags", draft.tags.len())?;
        for text in &draft.changed_fields {
            error::within("changed_fields", text, MAX_ENTRY)?;
        }
        for text in draft.tags.iter().flat_map(|(name, value)| [name, value]) {
            error::within("tags", text, MAX_ENTRY)?;
        }
        if draft.query_duration.is_some_and(|duration| duration > MAX_DURATION) {
            return Err(EventError::BadNumber { field: "query_duration_ms" });
        }
        draft.query_duration = draft.query_duration.map(whole_micros);
        let sql_truncated = draft.raw_sql.as_mut().is_some_and(cut_statement);
        Ok(Self { draft, sql_truncated })
    }

    /// Reads the JSON event: an object of [`Draft`]'s fields, with the duration as `query_duration_ms`.
    pub fn from_json(line: &[u8]) -> Result<Self, EventError> {
        json::parse(line)
    }

    /// Appends the event's JSON, without a line feed.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), EventError> {
        json::write(self, out)
    }

    /// The event with the duration that its source told later.
    pub(crate) fn with_duration(mut self, duration: Duration) -> Self {
        self.draft.query_duration = Some(duration);
        self
    }

    /// Refuses an event that claims to happen after `latest`: its source's clock is wrong, or it lies.
    pub fn not_after(self, latest: Timestamp) -> Result<Self, EventError> {
        if self.timestamp() > latest {
            return Err(EventError::InFuture { timestamp: self.timestamp(), latest });
        }
        Ok(self)
    }

    /// Unique within the site's sources.
    pub fn event_id(&self) -> &str {
        &self.draft.event_id
    }

    /// When it happened, by the source's clock.
    pub fn timestamp(&self) -> Timestamp {
        self.draft.timestamp
    }

    /// The telemetry it comes from.
    pub fn source(&self) -> &str {
        &self.draft.source
    }

    /// What was done, in the source's own words.
    pub fn operation(&self) -> &str {
        &self.draft.operation
    }

    /// Who did it; empty where the source does not say.
    pub fn principal(&self) -> &str {
        &self.draft.principal
    }

    /// Where from; empty where the source does not say.
    pub fn ip(&self) -> &str {
        &self.draft.ip
    }

    /// Rows read or written.
    pub fn row_count(&self) -> Option<u64> {
        self.draft.row_count
    }

    /// How long the statement ran, in whole microseconds.
    pub fn query_duration(&self) -> Option<Duration> {
        self.draft.query_duration
    }

    /// Columns or parameters that were set.
    pub fn changed_fields(&self) -> &[String] {
        &self.draft.changed_fields
    }

    /// The statement, at most [`MAX_SQL`] bytes of it.
    pub fn raw_sql(&self) -> Option<&str> {
        self.draft.raw_sql.as_deref()
    }

    /// Whether the statement was longer than [`MAX_SQL`].
    pub fn sql_truncated(&self) -> bool {
        self.sql_truncated
    }

    /// One tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.draft.tags.get(name).map(String::as_str)
    }

    /// All tags.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.draft.tags
    }

    /// What events are ordered by: time first, id where times are equal.
    pub fn order(&self) -> (Timestamp, &str) {
        (self.timestamp(), self.event_id())
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("event_id", &self.event_id)
            .field("timestamp", &self.timestamp)
            .field("source", &self.source)
            .field("operation", &self.operation)
            .field("row_count", &self.row_count)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_id", &self.event_id())
            .field("timestamp", &self.timestamp())
            .field("source", &self.source())
            .field("operation", &self.operation())
            .field("row_count", &self.row_count())
            .finish_non_exhaustive()
    }
}

/// Cuts a statement to [`MAX_SQL`] bytes at a character's edge. Says whether it was longer.
fn cut_statement(sql: &mut String) -> bool {
    let too_long = sql.len() > MAX_SQL;
    if too_long {
        sql.truncate(sql.floor_char_boundary(MAX_SQL));
    }
    too_long
}

fn whole_micros(duration: Duration) -> Duration {
    Duration::new(duration.as_secs(), duration.subsec_micros() * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            event_id: "e1".into(),
            timestamp: "2026-03-02T00:00:00Z".parse().unwrap(),
            source: "postgres.pgaudit".into(),
            operation: "SELECT".into(),
            principal: "alice-secret".into(),
            ip: "10.9.8.7".into(),
            row_count: Some(1),
            query_duration: Some(Duration::from_nanos(1_234_567)),
            changed_fields: vec![],
            raw_sql: Some("SELECT 'secret-value'".into()),
            tags: BTreeMap::from([("session".into(), "secret-session".into())]),
        }
    }

    #[test]
    fn debug_shows_no_principal_address_statement_or_tag() {
        let event = Event::new(draft()).unwrap();
        for shown in [format!("{event:?}"), format!("{:?}", draft())] {
            assert!(shown.contains("e1") && !shown.contains("secret") && !shown.contains("10.9.8.7"), "{shown}");
        }
    }

    #[test]
    fn an_event_survives_its_json_exactly() {
        let mut sample = draft();
        for micros in [0, 1, 3, 91, 1_091, 123_456_789, 98_765_432_101] {
            sample.query_duration = Some(Duration::from_micros(micros));
            let event = Event::new(sample.clone()).unwrap();
            let mut line = Vec::new();
            event.write_json(&mut line).unwrap();
            assert_eq!(Event::from_json(&line).unwrap(), event);
        }
    }

    #[test]
    fn a_padded_statement_is_cut_and_marked_and_stays_so() {
        let event = Event::new(Draft { raw_sql: Some("ä".repeat(MAX_SQL)), ..draft() }).unwrap();
        assert!(event.sql_truncated() && event.raw_sql().unwrap().len() <= MAX_SQL);
        let mut line = Vec::new();
        event.write_json(&mut line).unwrap();
        assert_eq!(Event::from_json(&line).unwrap(), event);
    }

    #[test]
    fn each_limit_refuses_with_its_own_code() {
        use shared::Explain;
        let long = "x".repeat(MAX_NAME + 1);
        let many = vec!["f".to_owned(); MAX_ENTRIES + 1];
        let cases = [
            (Draft { event_id: String::new(), ..draft() }, "event-missing-field"),
            (Draft { principal: long.clone(), ..draft() }, "event-too-long"),
            (Draft { changed_fields: many, ..draft() }, "event-too-many"),
            (Draft { tags: BTreeMap::from([(long, String::new())]), ..draft() }, "event-too-long"),
            (Draft { query_duration: Some(Duration::MAX), ..draft() }, "event-bad-number"),
        ];
        for (case, code) in cases {
            assert_eq!(Event::new(case).unwrap_err().code(), code);
        }
    }

    #[test]
    fn an_event_from_the_future_is_refused() {
        let event = Event::new(draft()).unwrap();
        let at = event.timestamp();
        assert!(event.clone().not_after(at).is_ok());
        assert!(matches!(event.not_after(Timestamp::EPOCH), Err(EventError::InFuture { .. })));
    }
}
