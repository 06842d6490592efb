//! Why a record is rejected, and why an input cannot be read at all.

use std::path::PathBuf;
use std::{fmt, io};

use shared::Explain;

use super::{Format, MAX_RECORD};
use crate::event::EventError;
use crate::lake::LakeError;

/// Why a record yields no event.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The record is no event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The record is longer than any honest one.
    #[error("the record is longer than {MAX_RECORD} bytes")]
    TooLong,
    /// The compressed input ends in the middle.
    #[error("the input is cut off; what stood before was read")]
    Truncated,
    /// The input cannot be read further.
    #[error("the input cannot be read further; what stood before was read: {0}")]
    Unreadable(io::Error),
}

impl Explain for Rejection {
    fn code(&self) -> &'static str {
        match self {
            Self::Event(error) => error.code(),
            Self::TooLong => "record-too-long",
            Self::Truncated => "input-truncated",
            Self::Unreadable(_) => "input-unreadable",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Event(error) => error.hint(),
            Self::TooLong => "look at the source: no honest record is this large",
            Self::Truncated => "fetch the file again and ingest it; events already stored are recognised",
            Self::Unreadable(_) => "check the file and the disk, then ingest it again; stored events are recognised",
        }
    }
}

impl From<io::Error> for Rejection {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Unreadable(error) }
    }
}

/// A rejected record: where it stood, why, and how it began.
pub struct Rejected {
    /// The line it began in, counted from 1.
    pub line: u64,
    /// Why.
    pub reason: Rejection,
    /// Its first bytes.
    pub head: Vec<u8>,
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("line", &self.line).field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Why an input is not ingested, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// There is no such format.
    #[error("`{name}` is not a format; known are {}", Format::ALL.map(Format::as_str).join(", "))]
    UnknownFormat {
        /// What was asked for.
        name: String,
    },
    /// The input cannot be opened.
    #[error("could not open `{path}`: {source}", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A dead letter cannot be written.
    #[error("could not write a dead letter: {0}")]
    DeadLetter(io::Error),
    /// The lake refused events.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl Explain for CollectError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownFormat { .. } => "collect-unknown-format",
            Self::Open { .. } => "collect-open",
            Self::DeadLetter(_) => "collect-dead-letter",
            Self::Lake(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::UnknownFormat { .. } => "give one of the known formats",
            Self::Open { .. } => "check the path and its permissions",
            Self::DeadLetter(_) => "free disk space and ingest the input again; stored events are recognised",
            Self::Lake(error) => error.hint(),
        }
    }
}
