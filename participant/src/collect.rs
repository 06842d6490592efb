//! Telemetry in: from a file or a pipe, plain or gzip, in one of the known formats, to checked events.
//!
//! Nothing here trusts its input. A record that is no event becomes a [`Rejected`] with a reason, and the next one is
//! read; memory is bounded by the longest admissible record. Nothing here decides what an event means.

mod cloudtrail;
mod dead_letter;
mod frame;
mod ingest;
mod pgaudit;
mod rejection;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::str::FromStr;

use flate2::bufread::MultiGzDecoder;
use shared::Timestamp;

use self::frame::{Frame, Frames, Framing};
use crate::event::Event;

pub use dead_letter::{DeadLetters, MAX_LETTERS};
pub use ingest::{Ingested, ingest};
pub use rejection::{CollectError, Rejected, Rejection};

/// The longest record that is read, in bytes.
pub const MAX_RECORD: usize = 1024 * 1024;

const BUFFER: usize = 64 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The formats that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON event a line.
    EventJson,
    /// PostgreSQL's `jsonlog` with pgaudit's messages.
    Pgaudit,
    /// AWS CloudTrail: `{"Records": […]}` as delivered, or one record a line.
    CloudTrail,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::EventJson, Self::Pgaudit, Self::CloudTrail];

    /// The name on the command line and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventJson => "event-json",
            Self::Pgaudit => "pgaudit",
            Self::CloudTrail => "cloudtrail",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = CollectError;

    fn from_str(name: &str) -> Result<Self, CollectError> {
        let known = Self::ALL.into_iter().find(|format| format.as_str() == name);
        known.ok_or_else(|| CollectError::UnknownFormat { name: name.chars().take(64).collect() })
    }
}

/// Opens a file, or standard input where `path` is `-`.
pub fn open(path: &Path) -> Result<Box<dyn BufRead>, CollectError> {
    let fail = |source| CollectError::Open { path: path.to_owned(), source };
    let input: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(fail)?) };
    decompressed(input).map_err(fail)
}

/// Reads `input` through gzip where it begins with gzip's magic bytes, whatever its name.
pub fn decompressed<'a>(input: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut head = Vec::with_capacity(GZIP_MAGIC.len());
    let mut input = input;
    input.by_ref().take(2).read_to_end(&mut head)?;
    let is_gzip = head == GZIP_MAGIC;
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(head).chain(input));
    if is_gzip {
        Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole))))
    } else {
        Ok(Box::new(whole))
    }
}

/// What a format makes of records. Events may come out later than the record that began them.
trait Decoder {
    /// Reads one record; events that are complete go to `out`.
    fn decode(&mut self, record: &[u8], out: &mut VecDeque<Event>) -> Result<(), Rejection>;

    /// Gives out what still waits for a later record.
    fn finish(&mut self, out: &mut VecDeque<Event>) -> Result<(), Rejection>;
}

/// JSON events need no state.
struct EventJson;

impl Decoder for EventJson {
    fn decode(&mut self, record: &[u8], out: &mut VecDeque<Event>) -> Result<(), Rejection> {
        out.push_back(Event::from_json(record)?);
        Ok(())
    }

    fn finish(&mut self, _out: &mut VecDeque<Event>) -> Result<(), Rejection> {
        Ok(())
    }
}

/// The events of one input, in the order in which they become complete, with whatever had to be rejected between them.
pub struct Collector<R> {
    frames: Frames<R>,
    format: Format,
    decoder: Box<dyn Decoder>,
    ready: VecDeque<Event>,
    latest: Timestamp,
    ended: bool,
}

impl<R: BufRead> Collector<R> {
    /// Reads `input` as `format`. An event dated after `latest` (now and the admitted clock skew) is rejected.
    pub fn new(input: R, format: Format, latest: Timestamp) -> Self {
        let (framing, decoder): (_, Box<dyn Decoder>) = match format {
            Format::EventJson => (Framing::Lines, Box::new(EventJson)),
            Format::Pgaudit => (Framing::Lines, Box::<pgaudit::Pgaudit>::default()),
            Format::CloudTrail => (Framing::Objects, Box::new(cloudtrail::CloudTrail)),
        };
        let frames = Frames::new(input, framing);
        Self { frames, format, decoder, ready: VecDeque::new(), latest, ended: false }
    }

    /// The format that is read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reads one more record into `ready`.
    fn advance(&mut self) -> Result<(), Rejected> {
        match self.frames.advance() {
            Frame::Record => {
                let decoded = self.decoder.decode(self.frames.record(), &mut self.ready);
                decoded.map_err(|reason| self.frames.rejected(reason))
            }
            Frame::Broken(reason) => Err(self.frames.rejected(reason)),
            Frame::End => {
                self.ended = true;
                self.decoder.finish(&mut self.ready).map_err(|reason| self.frames.rejected(reason))
            }
        }
    }
}

impl<R: BufRead> Iterator for Collector<R> {
    type Item = Result<Event, Rejected>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event.not_after(self.latest).map_err(|reason| self.frames.rejected(reason.into())));
            }
            if self.ended {
                return None;
            }
            if let Err(rejected) = self.advance() {
                return Some(Err(rejected));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
