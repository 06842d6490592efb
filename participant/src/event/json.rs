//! The JSON event, in and out. Unknown fields are ignored: sources grow fields faster than we can name them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Draft, Event, EventError, MAX_DURATION};

/// The JSON event as untrusted input: everything may be absent.
#[derive(Deserialize)]
struct Incoming {
    event_id: Option<String>,
    timestamp: Option<String>,
    source: Option<String>,
    operation: Option<String>,
    principal: Option<String>,
    ip: Option<String>,
    row_count: Option<u64>,
    query_duration_ms: Option<f64>,
    #[serde(default)]
    changed_fields: Option<Vec<String>>,
    raw_sql: Option<String>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    sql_truncated: bool,
}

/// The JSON event as the lake keeps it.
#[derive(Serialize)]
struct Outgoing<'a> {
    event_id: &'a str,
    timestamp: Cow<'a, str>,
    source: &'a str,
    operation: &'a str,
    principal: &'a str,
    ip: &'a str,
    row_count: Option<u64>,
    query_duration_ms: Option<f64>,
    changed_fields: &'a [String],
    raw_sql: Option<&'a str>,
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sql_truncated: bool,
}

pub(super) fn parse(line: &[u8]) -> Result<Event, EventError> {
    let incoming: Incoming = serde_json::from_slice(line).map_err(malformed)?;
    let timestamp = present("timestamp", incoming.timestamp)?;
    let sql_truncated = incoming.sql_truncated;
    let mut event = Event::new(Draft {
        event_id: present("event_id", incoming.event_id)?,
        timestamp: timestamp.parse().map_err(|_| EventError::BadTimestamp)?,
        source: present("source", incoming.source)?,
        operation: present("operation", incoming.operation)?,
        principal: incoming.principal.unwrap_or_default(),
        ip: incoming.ip.unwrap_or_default(),
        row_count: incoming.row_count,
        query_duration: incoming.query_duration_ms.map(duration_of_ms).transpose()?,
        changed_fields: incoming.changed_fields.unwrap_or_default(),
        raw_sql: incoming.raw_sql,
        tags: incoming.tags.unwrap_or_default(),
    })?;
    event.sql_truncated |= sql_truncated;
    Ok(event)
}

pub(super) fn write(event: &Event, out: &mut Vec<u8>) -> Result<(), EventError> {
    let outgoing = Outgoing {
        event_id: event.event_id(),
        timestamp: event.timestamp().to_string().into(),
        source: event.source(),
        operation: event.operation(),
        principal: event.principal(),
        ip: event.ip(),
        row_count: event.row_count(),
        query_duration_ms: event.query_duration().map(|duration| duration.as_secs_f64() * 1e3),
        changed_fields: event.changed_fields(),
        raw_sql: event.raw_sql(),
        tags: event.tags(),
        sql_truncated: event.sql_truncated(),
    };
    serde_json::to_writer(out, &outgoing).map_err(malformed)
}

/// Milliseconds to the nearest microsecond: an integer, so that a value written and read again is the same value.
pub(crate) fn duration_of_ms(ms: f64) -> Result<Duration, EventError> {
    let bad = EventError::BadNumber { field: "query_duration_ms" };
    let seconds = Duration::try_from_secs_f64(ms / 1e3).map_err(|_| bad.clone())?;
    let nearest = seconds.saturating_add(Duration::from_nanos(500));
    if seconds > MAX_DURATION { Err(bad) } else { Ok(super::whole_micros(nearest)) }
}

fn present(field: &'static str, value: Option<String>) -> Result<String, EventError> {
    value.ok_or(EventError::MissingField { field })
}

/// The parser's complaint by category and place; its own text may quote the input.
fn malformed(error: serde_json::Error) -> EventError {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field has the wrong type",
        serde_json::error::Category::Eof => "the text ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "the syntax is wrong",
    };
    EventError::Malformed { reason: format!("{what} at column {}", error.column()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::Explain;

    #[test]
    fn hostile_json_is_refused_with_a_code() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let cases: [(&str, &str); 9] = [
            ("", "event-malformed"),
            ("null", "event-malformed"),
            ("{\"event_id\":", "event-malformed"),
            (&deep, "event-malformed"),
            (r#"{"event_id":7}"#, "event-malformed"),
            (r#"{"event_id":"a"}"#, "event-missing-field"),
            (r#"{"event_id":"a","timestamp":"soon","source":"s","operation":"o"}"#, "event-bad-timestamp"),
            (
                r#"{"event_id":"a","timestamp":"2026-01-01T00:00:00Z","source":"s","operation":"o","row_count":-1}"#,
                "event-malformed",
            ),
            (
                r#"{"event_id":"a","timestamp":"2026-01-01T00:00:00Z","source":"s","operation":"o","query_duration_ms":-1}"#,
                "event-bad-number",
            ),
        ];
        for (text, code) in cases {
            assert_eq!(parse(text.as_bytes()).unwrap_err().code(), code, "{text:.80}");
        }
    }

    #[test]
    fn a_complaint_never_quotes_the_input() {
        let error = parse(br#"{"event_id":"a","row_count":"hunter2-password"}"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn what_a_source_does_not_say_may_be_absent_or_null() {
        let line = br#"{"event_id":"a","timestamp":"2026-01-01T00:00:00Z","source":"s","operation":"o","ip":null,"tags":null}"#;
        let event = parse(line).unwrap();
        assert_eq!((event.principal(), event.ip(), event.tags().len()), ("", "", 0));
    }
}
