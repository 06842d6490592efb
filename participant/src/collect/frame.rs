//! Cuts an input into records, by lines or by JSON objects, and never holds more than one record.
//!
//! It does not parse: an object ends where its braces balance. After a broken record it finds the next one.

use std::io::{self, BufRead, Read};

use super::{MAX_RECORD, Rejected, Rejection};
use crate::event::EventError;

/// How many bytes of a rejected record are shown.
const HEAD: usize = 200;

/// Where records end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// At a line feed.
    Lines,
    /// Where an object closes. Objects within `{"Records": […]}` are records themselves.
    Objects,
}

/// What came next.
pub(super) enum Frame {
    /// A record; see [`Frames::record`].
    Record,
    /// Something that is no record.
    Broken(Rejection),
    /// Nothing.
    End,
}

/// The records of an input.
pub(super) struct Frames<R> {
    input: R,
    framing: Framing,
    record: Vec<u8>,
    /// The line in which the record begins, and the line in which reading goes on.
    began: u64,
    line: u64,
    ended: bool,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(input: R, framing: Framing) -> Self {
        Self { input, framing, record: Vec::new(), began: 1, line: 1, ended: false }
    }

    /// The record that was read last.
    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }

    /// The record that was read last, rejected.
    pub(super) fn rejected(&self, reason: Rejection) -> Rejected {
        Rejected { line: self.began, reason, head: self.record.iter().take(HEAD).copied().collect() }
    }

    /// Reads the next record. An input that cannot be read further is broken once, then at its end.
    pub(super) fn advance(&mut self) -> Frame {
        if self.ended {
            return Frame::End;
        }
        self.record.clear();
        let frame = match self.framing {
            Framing::Lines => self.next_line(),
            Framing::Objects => self.next_object(),
        };
        frame.unwrap_or_else(|error| {
            self.ended = true;
            Frame::Broken(error.into())
        })
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> io::Result<Frame> {
        loop {
            self.record.clear();
            self.began = self.line;
            let limit = u64::try_from(MAX_RECORD).unwrap_or(u64::MAX).saturating_add(1);
            let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.record)?;
            if read == 0 {
                self.ended = true;
                return Ok(Frame::End);
            }
            self.line = self.line.saturating_add(1);
            if self.record.len() > MAX_RECORD && self.record.last() != Some(&b'\n') {
                self.input.skip_until(b'\n')?;
                return Ok(Frame::Broken(Rejection::TooLong));
            }
            let text = self.record.trim_ascii_end().len();
            self.record.truncate(text);
            if !self.record.trim_ascii_start().is_empty() {
                return Ok(Frame::Record);
            }
        }
    }

    fn next_object(&mut self) -> io::Result<Frame> {
        let mut object = ObjectEnd::default();
        self.began = self.line;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                self.ended = true;
                return Ok(if self.record.is_empty() { Frame::End } else { Frame::Broken(cut_short()) });
            }
            let (used, end) = take_object(chunk, &mut object, &mut self.record, &mut self.line, &mut self.began);
            self.input.consume(used);
            match end {
                Some(End::Whole) if object.too_long => return Ok(Frame::Broken(Rejection::TooLong)),
                Some(End::Whole) => return Ok(Frame::Record),
                Some(End::Broken) => return Ok(Frame::Broken(cut_short())),
                None => {}
            }
        }
    }
}

fn cut_short() -> Rejection {
    EventError::Malformed { reason: "the object does not end".to_owned() }.into()
}

/// How an object ended.
enum End {
    Whole,
    Broken,
}

/// Follows braces and strings to the end of an object.
#[derive(Default)]
struct ObjectEnd {
    depth: u32,
    in_string: bool,
    escaped: bool,
    after_line_feed: bool,
    too_long: bool,
}

impl ObjectEnd {
    /// Whether the object closes with this byte.
    fn closes_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            let escaped = std::mem::take(&mut self.escaped);
            self.in_string = byte != b'"' || escaped;
            self.escaped = byte == b'\\' && !escaped;
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}

/// Moves bytes of `chunk` into `record` until an object ends. Returns how many were used.
fn take_object(
    chunk: &[u8],
    object: &mut ObjectEnd,
    record: &mut Vec<u8>,
    line: &mut u64,
    began: &mut u64,
) -> (usize, Option<End>) {
    for (at, byte) in chunk.iter().enumerate() {
        let next = at.saturating_add(1);
        let starts_line = std::mem::replace(&mut object.after_line_feed, *byte == b'\n');
        *line = line.saturating_add(u64::from(*byte == b'\n'));
        if record.is_empty() {
            *began = *line;
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' | b'}') {
                continue;
            }
        } else if record.first() != Some(&b'{') {
            // No object began here: up to the end of the line it is one piece of rubbish.
            if *byte == b'\n' {
                return (next, Some(End::Broken));
            }
            keep(*byte, record, object);
            continue;
        } else if object.in_string && *byte == b'\n' {
            // Strings have no raw line feed.
            return (next, Some(End::Broken));
        } else if starts_line && *byte == b'{' {
            // A record begins before this one has ended.
            return (at, Some(End::Broken));
        }
        keep(*byte, record, object);
        if record.first() == Some(&b'{') && object.closes_with(*byte) {
            return (next, Some(End::Whole));
        }
        if *byte == b'[' && object.depth == 2 && is_wrapper(record) {
            record.clear();
            *object = ObjectEnd::default();
        }
    }
    (chunk.len(), None)
}

fn keep(byte: u8, record: &mut Vec<u8>, object: &mut ObjectEnd) {
    if record.len() < MAX_RECORD {
        record.push(byte);
    } else {
        object.too_long = true;
    }
}

/// Whether this is the head of CloudTrail's envelope, `{"Records": [`, as far as it goes.
fn is_wrapper(record: &[u8]) -> bool {
    record.len() < 64 && record.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"{\"Records\":[")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framing: Framing, text: &[u8]) -> Vec<Result<String, &'static str>> {
        use shared::Explain;
        let mut frames = Frames::new(io::BufReader::with_capacity(7, text), framing);
        let mut found = Vec::new();
        loop {
            match frames.advance() {
                Frame::Record => found.push(Ok(String::from_utf8_lossy(frames.record()).into_owned())),
                Frame::Broken(reason) => found.push(Err(reason.code())),
                Frame::End => return found,
            }
        }
    }

    fn records(framing: Framing, text: &str) -> Vec<String> {
        frames(framing, text.as_bytes()).into_iter().map(|frame| frame.unwrap_or_else(str::to_owned)).collect()
    }

    #[test]
    fn records_are_found_in_an_envelope_in_lines_and_pretty_printed() {
        let wanted = [r#"{"a":{"b":"}\"]"}}"#, r#"{"c":[1]}"#];
        let texts = [
            format!("{{\"Records\":[{},{}]}}", wanted[0], wanted[1]),
            format!("{{ \"Records\" : [\n{},\n{}\n]\n}}\n", wanted[0], wanted[1]),
            format!("{}\n{}\n", wanted[0], wanted[1]),
            format!("{{\"Records\":[{}]}}{{\"Records\":[{}]}}", wanted[0], wanted[1]),
        ];
        for text in texts {
            assert_eq!(records(Framing::Objects, &text), wanted, "{text}");
        }
        assert_eq!(
            records(Framing::Objects, "{\n  \"a\": {\n    \"b\": 1\n  }\n}"),
            ["{\n  \"a\": {\n    \"b\": 1\n  }\n}"]
        );
    }

    #[test]
    fn after_a_broken_object_the_next_one_is_found() {
        let found = records(Framing::Objects, "{\"a\": {\n{\"b\":1}\nrubbish\n{\"c\":\"open\n{\"d\":2}\n{\"e\":");
        let broken = "event-malformed";
        assert_eq!(found, [broken, "{\"b\":1}", broken, broken, "{\"d\":2}", broken]);
    }

    #[test]
    fn a_record_beyond_the_limit_is_skipped_and_the_next_one_read() {
        let long = "x".repeat(MAX_RECORD + 5);
        assert_eq!(records(Framing::Lines, &format!("a\n{long}\nb")), ["a", "record-too-long", "b"]);
        assert_eq!(records(Framing::Objects, &format!("{{\"a\":\"{long}\"}}{{}}")), ["record-too-long", "{}"]);
        assert_eq!(records(Framing::Lines, &format!("{}\nb", &long[..MAX_RECORD])).len(), 2);
    }

    #[test]
    fn lines_may_end_like_windows_and_blank_ones_do_not_count() {
        assert_eq!(records(Framing::Lines, "\r\n a\r\n\n\nb"), [" a", "b"]);
    }
}
