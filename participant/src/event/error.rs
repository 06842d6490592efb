//! Why something is no event. Each reason has a stable code, which dead letters and metrics carry.

use shared::{Explain, Timestamp};

use super::MAX_ENTRIES;

/// Why something is no event. The message never holds the value at fault, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// No JSON object, or a field of the wrong type.
    #[error("not a JSON event: {reason}")]
    Malformed {
        /// What the parser found, and where.
        reason: String,
    },
    /// A field that every event has is absent or empty.
    #[error("the field `{field}` is missing or empty")]
    MissingField {
        /// Which.
        field: &'static str,
    },
    /// The time is not a date and time between 1970 and 9999, or has no zone.
    #[error("the timestamp is not an instant between 1970 and 9999")]
    BadTimestamp,
    /// A text is longer than its limit.
    #[error("the field `{field}` has {length} bytes, more than {limit}")]
    TooLong {
        /// Which.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A list has more entries than its limit.
    #[error("the field `{field}` has {count} entries, more than {MAX_ENTRIES}")]
    TooMany {
        /// Which.
        field: &'static str,
        /// How many.
        count: usize,
    },
    /// A number is negative, not finite, or absurdly large.
    #[error("the field `{field}` is out of range")]
    BadNumber {
        /// Which.
        field: &'static str,
    },
    /// The event claims a later time than the clock skew allows.
    #[error("the event is dated {timestamp}, after {latest}")]
    InFuture {
        /// When the event claims to have happened.
        timestamp: Timestamp,
        /// The latest admissible time.
        latest: Timestamp,
    },
}

impl Explain for EventError {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "event-malformed",
            Self::MissingField { .. } => "event-missing-field",
            Self::BadTimestamp => "event-bad-timestamp",
            Self::TooLong { .. } => "event-too-long",
            Self::TooMany { .. } => "event-too-many",
            Self::BadNumber { .. } => "event-bad-number",
            Self::InFuture { .. } => "event-in-future",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "check that `--as` names the format of the input",
            Self::MissingField { .. } => "let the source fill the field, or drop the record before it comes here",
            Self::BadTimestamp => "write times in UTC (PostgreSQL: `log_timezone = 'UTC'`) or with a numeric offset",
            Self::TooLong { .. } | Self::TooMany { .. } => "look at the source: no honest record is this large",
            Self::BadNumber { .. } => "look at the source: counts and durations are not negative",
            Self::InFuture { .. } => "set the source's clock, or raise the admitted clock skew",
        }
    }
}

pub(super) fn within(field: &'static str, text: &str, limit: usize) -> Result<(), EventError> {
    if text.len() <= limit { Ok(()) } else { Err(EventError::TooLong { field, length: text.len(), limit }) }
}

pub(super) fn few(field: &'static str, count: usize) -> Result<(), EventError> {
    if count <= MAX_ENTRIES { Ok(()) } else { Err(EventError::TooMany { field, count }) }
}
