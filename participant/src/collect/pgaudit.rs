//! PostgreSQL's `jsonlog` with pgaudit's messages: statements, log-ins, refusals.
//!
//! A statement's duration stands in a later line of the same session; the event waits for it. A statement that fails has
//! no duration of its own, and is not given that of the next one.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Deserialize;
use shared::Timestamp;

use super::{Decoder, Rejection};
use crate::event::lexer::{Lexer, Token};
use crate::event::{Draft, Event, EventError, duration_of_ms};

const SOURCE: &str = "postgres.pgaudit";
/// The most sessions that wait for a duration, and the most statements of one session. Past them the oldest go on
/// without.
const MAX_WAITING: usize = 1024;
const MAX_STATEMENTS: usize = 64;

/// The fields of a log line that matter. PostgreSQL leaves out what is empty.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Line<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    dbname: Cow<'a, str>,
    #[serde(borrow)]
    remote_host: Cow<'a, str>,
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    line_num: u64,
    #[serde(borrow)]
    error_severity: Cow<'a, str>,
    #[serde(borrow)]
    state_code: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    statement: Option<String>,
    #[serde(borrow)]
    application_name: Cow<'a, str>,
}

/// Reads log lines. Remembers only the statements that wait for their duration.
#[derive(Default)]
pub(super) struct Pgaudit {
    waiting: HashMap<String, Vec<Event>>,
    /// The sessions that wait, oldest first; may hold sessions that wait no longer.
    order: VecDeque<String>,
}

impl Decoder for Pgaudit {
    fn decode(&mut self, record: &[u8], out: &mut VecDeque<Event>) -> Result<(), Rejection> {
        let malformed = || EventError::Malformed { reason: "not a line of PostgreSQL's jsonlog".to_owned() };
        let line: Line<'_> = serde_json::from_slice(record).map_err(|_| malformed())?;
        if line.message.is_empty() {
            return Err(malformed().into());
        }
        if line.session_id.is_empty() {
            return Ok(());
        }
        if let Some(duration) = line.message.strip_prefix("duration: ") {
            return self.durations(&line, duration, out);
        }
        if let Some(fields) = line.message.strip_prefix("AUDIT: ") {
            let event = audited(&line, fields)?;
            self.wait(&line.session_id, event, out);
            return Ok(());
        }
        let Some((operation, statement)) = other_event(&line) else { return Ok(()) };
        self.release(&line.session_id, out);
        let draft = Draft { raw_sql: statement, ..draft(&line, operation)? };
        out.push_back(Event::new(draft)?);
        Ok(())
    }

    fn finish(&mut self, out: &mut VecDeque<Event>) -> Result<(), Rejection> {
        while let Some(session) = self.order.pop_front() {
            self.release(&session, out);
        }
        Ok(())
    }
}

impl Pgaudit {
    /// Gives the session's waiting statements the duration they waited for.
    fn durations(&mut self, line: &Line<'_>, text: &str, out: &mut VecDeque<Event>) -> Result<(), Rejection> {
        let ms = text.split_once(" ms").and_then(|(ms, _)| ms.parse().ok());
        let duration = duration_of_ms(ms.unwrap_or(f64::NAN))?;
        for event in self.waiting.remove(line.session_id.as_ref()).unwrap_or_default() {
            out.push_back(event.with_duration(duration));
        }
        Ok(())
    }

    fn wait(&mut self, session: &str, event: Event, out: &mut VecDeque<Event>) {
        if !self.waiting.contains_key(session) {
            self.order.push_back(session.to_owned());
        }
        let statements = self.waiting.entry(session.to_owned()).or_default();
        statements.push(event);
        if statements.len() > MAX_STATEMENTS {
            out.push_back(statements.remove(0));
        }
        while self.order.len() > MAX_WAITING {
            let oldest = self.order.pop_front().unwrap_or_default();
            self.release(&oldest, out);
        }
    }

    /// Lets the session's statements go without a duration.
    fn release(&mut self, session: &str, out: &mut VecDeque<Event>) {
        out.extend(self.waiting.remove(session).unwrap_or_default());
    }
}

/// An event of a line that pgaudit did not write: its operation, and the statement where there is one.
fn other_event(line: &Line<'_>) -> Option<(&'static str, Option<String>)> {
    match line.error_severity.as_ref() {
        "FATAL" if line.state_code.starts_with("28") => Some(("LOGIN_FAILED", None)),
        "ERROR" | "FATAL" | "PANIC" => Some(("QUERY_ERROR", line.statement.clone())),
        _ if line.message.starts_with("connection authorized: ") => Some(("LOGIN", None)),
        _ if line.message.starts_with("disconnection: ") => Some(("LOGOUT", None)),
        _ => None,
    }
}

/// An audited statement: `SESSION,1,1,READ,SELECT,,,"SELECT …",<none>,rows` (pgaudit, "Format"; the last with
/// `pgaudit.log_rows`).
fn audited(line: &Line<'_>, text: &str) -> Result<Event, EventError> {
    let malformed = || EventError::Malformed { reason: "pgaudit's fields are incomplete".to_owned() };
    let fields = csv_fields(text);
    let [_kind, _statement_id, _substatement_id, class, command, _object_type, object, statement, rest @ ..] =
        fields.as_slice()
    else {
        return Err(malformed());
    };
    let mut draft = draft(line, command)?;
    draft.tags.insert("class".to_owned(), class.clone());
    if !object.is_empty() {
        draft.tags.insert("object".to_owned(), object.clone());
    }
    draft.row_count = rest.get(1).and_then(|rows| rows.parse().ok());
    draft.changed_fields = changed_fields(statement);
    draft.raw_sql = Some(statement.clone());
    Event::new(draft)
}

/// What every line says.
fn draft(line: &Line<'_>, operation: &str) -> Result<Draft, EventError> {
    let mut tags = BTreeMap::from([
        ("database".to_owned(), line.dbname.to_string()),
        ("session".to_owned(), line.session_id.to_string()),
        ("application".to_owned(), line.application_name.to_string()),
    ]);
    if !line.state_code.is_empty() {
        tags.insert("error".to_owned(), line.state_code.to_string());
    }
    Ok(Draft {
        event_id: format!("{}/{}", line.session_id, line.line_num),
        timestamp: timestamp(&line.timestamp)?,
        source: SOURCE.to_owned(),
        operation: operation.to_owned(),
        principal: line.user.to_string(),
        ip: line.remote_host.to_string(),
        row_count: None,
        query_duration: None,
        changed_fields: Vec::new(),
        raw_sql: None,
        tags,
    })
}

/// `2026-03-02 00:03:32.850 UTC`: PostgreSQL's own way to write time. Other zones need their offset.
fn timestamp(text: &str) -> Result<Timestamp, EventError> {
    let mut parts = text.splitn(3, ' ');
    let (Some(date), Some(time), Some(zone)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(EventError::BadTimestamp);
    };
    let zone = if matches!(zone, "UTC" | "GMT") { "Z" } else { zone };
    format!("{date}T{time}{zone}").parse().map_err(|_| EventError::BadTimestamp)
}

/// The fields of one CSV record, which may span lines.
fn csv_fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => push(&mut fields, '"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => push(&mut fields, other),
        }
    }
    fields
}

fn push(fields: &mut [String], next: char) {
    if let Some(field) = fields.last_mut() {
        field.push(next);
    }
}

/// The columns that an `UPDATE` sets. Several statements in one are not told apart and yield none.
fn changed_fields(statement: &str) -> Vec<String> {
    let mut tokens = Lexer::new(statement);
    let is = |token: &Token<'_>, word: &str| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
    if !tokens.next().is_some_and(|first| is(&first, "update")) || !tokens.any(|token| is(&token, "set")) {
        return Vec::new();
    }
    let mut fields = Vec::new();
    let mut depth = 0_i64;
    let mut expected = true;
    for token in tokens.take_while(|token| !is(token, "where") && !is(token, "from") && !is(token, "returning")) {
        match token {
            Token::Symbol(b'(') => depth = depth.saturating_add(1),
            Token::Symbol(b')') => depth = depth.saturating_sub(1),
            Token::Symbol(b',') if depth == 0 => expected = true,
            Token::Symbol(b'=') => expected = false,
            Token::Word(name) | Token::Quoted(name) if expected => fields.push(name.to_owned()),
            _ => {}
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_quotes_commas_and_line_feeds_are_taken_apart() {
        assert_eq!(csv_fields("a,,\"b \"\"c\"\",\nd\",e"), ["a", "", "b \"c\",\nd", "e"]);
    }

    #[test]
    fn the_columns_of_an_update_are_found() {
        let cases: [(&str, &[&str]); 5] = [
            ("UPDATE t SET a = 1, b = f(x, y), \"C\" = 'q, r' WHERE d = 2", &["a", "b", "C"]),
            ("update only t set (a, b) = (1, 2)", &["a", "b"]),
            ("SELECT 1", &[]),
            ("BEGIN; UPDATE t SET a = 1", &[]),
            ("UPDATE", &[]),
        ];
        for (statement, expected) in cases {
            assert_eq!(changed_fields(statement), expected, "{statement}");
        }
    }

    #[test]
    fn a_zone_without_offset_is_refused_rather_than_guessed() {
        assert!(timestamp("2026-03-02 00:03:32.850 UTC").is_ok());
        assert!(timestamp("2026-03-02 00:03:32.850 +02").is_ok());
        assert_eq!(timestamp("2026-03-02 00:03:32.850 CET"), Err(EventError::BadTimestamp));
        assert_eq!(timestamp(""), Err(EventError::BadTimestamp));
    }
}
