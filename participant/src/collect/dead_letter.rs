//! The file of what was rejected: where it stood, why, and how it began, so that nothing is lost in silence.
//!
//! A letter may show the beginning of raw telemetry: keep the file on site, like the lake.

use std::io::Write;

use serde::Serialize;
use shared::Explain;

use super::{CollectError, Rejected};

/// The most letters of one input. Beyond, rejections are only counted: a hostile input must not fill the disk.
pub const MAX_LETTERS: u64 = 100_000;

/// Writes rejected records of one input as JSON lines.
pub struct DeadLetters<W> {
    out: W,
    input: String,
    written: u64,
}

#[derive(Serialize)]
struct Letter<'a> {
    input: &'a str,
    line: u64,
    code: &'static str,
    reason: String,
    head: String,
}

impl<W: Write> DeadLetters<W> {
    /// Letters about the input called `input` go to `out`.
    pub fn new(out: W, input: impl Into<String>) -> Self {
        Self { out, input: input.into(), written: 0 }
    }

    /// Writes one letter.
    pub fn write(&mut self, rejected: &Rejected) -> Result<(), CollectError> {
        if self.written >= MAX_LETTERS {
            return Ok(());
        }
        self.written = self.written.saturating_add(1);
        let letter = Letter {
            input: &self.input,
            line: rejected.line,
            code: rejected.reason.code(),
            reason: rejected.reason.to_string(),
            head: rejected.head.escape_ascii().to_string(),
        };
        let mut line = serde_json::to_vec(&letter).map_err(|error| CollectError::DeadLetter(error.into()))?;
        line.push(b'\n');
        self.out.write_all(&line).map_err(CollectError::DeadLetter)
    }

    /// Makes sure that all letters have left the process.
    pub fn flush(&mut self) -> Result<(), CollectError> {
        self.out.flush().map_err(CollectError::DeadLetter)
    }
}
