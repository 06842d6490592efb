//! Files of lines, cut into blocks of whole lines, so that threads can share the work of reading them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ReplayError;

/// How much is read at a time; no line may be longer. The largest entry of an audit log is 64 KiB.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Whole lines of one file.
pub(super) struct Block {
    /// Counts up over all files.
    pub(super) number: u64,
    pub(super) file: Arc<str>,
    /// The number of the first line, from 1.
    pub(super) first_line: u64,
    pub(super) lines: u64,
    bytes: Vec<u8>,
}

/// The blocks of several files, in order.
pub(super) struct Blocks<'a> {
    waiting: VecDeque<&'a PathBuf>,
    open: Option<Open>,
    number: u64,
}

struct Open {
    name: Arc<str>,
    reader: Box<dyn Read>,
    next_line: u64,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl Block {
    /// The lines that are not empty, each with its number.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.bytes.as_slice();
        let lines = std::iter::from_fn(move || {
            let from_here = rest;
            let length = rest.skip_until(b'\n').ok().filter(|length| *length > 0)?;
            from_here.get(..length)
        });
        (self.first_line..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty())
    }
}

impl<'a> Blocks<'a> {
    pub(super) fn of(files: &'a [PathBuf]) -> Self {
        Self { waiting: files.iter().collect(), open: None, number: 0 }
    }

    /// The next block; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Block>, ReplayError> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(block) = open.next(self.number)?
            {
                self.number = self.number.saturating_add(1);
                return Ok(Some(block));
            }
            match self.waiting.pop_front() {
                Some(path) => self.open = Some(Open::new(path)?),
                None => return Ok(None),
            }
        }
    }
}

impl Open {
    fn new(path: &Path) -> Result<Self, ReplayError> {
        let name: Arc<str> = path.display().to_string().into();
        let reader = open(path).map_err(|error| unreadable(&name, &error))?;
        Ok(Self { name, reader, next_line: 1, rest: Vec::new() })
    }

    fn next(&mut self, number: u64) -> Result<Option<Block>, ReplayError> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.reserve(BLOCK_BYTES);
        let limit = u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX);
        let read = self.reader.by_ref().take(limit).read_to_end(&mut bytes);
        if read.map_err(|error| unreadable(&self.name, &error))? == BLOCK_BYTES {
            let end = bytes.iter().rposition(|byte| *byte == b'\n').ok_or_else(|| self.too_long())?;
            self.rest = bytes.split_off(end.saturating_add(1));
        } else if bytes.is_empty() {
            return Ok(None);
        }
        let lines = line_feeds(&bytes);
        let block = Block { number, file: Arc::clone(&self.name), first_line: self.next_line, lines, bytes };
        self.next_line = self.next_line.saturating_add(lines);
        Ok(Some(block))
    }

    fn too_long(&self) -> ReplayError {
        ReplayError::LineTooLong { file: self.name.to_string(), line: self.next_line, limit: BLOCK_BYTES }
    }
}

/// Counts in bytes, so that the compiler can count many at once: three times as fast as counting in words.
fn line_feeds(bytes: &[u8]) -> u64 {
    let of_chunk = |chunk: &[u8]| chunk.iter().fold(0_u8, |sum, byte| sum.wrapping_add((*byte == b'\n').into()));
    bytes.chunks(usize::from(u8::MAX)).map(|chunk| u64::from(of_chunk(chunk))).sum()
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path)?;
    let compressed = path.extension().is_some_and(|ending| ending == "zst");
    Ok(if compressed { Box::new(zstd::stream::read::Decoder::new(file)?) } else { Box::new(file) })
}

fn unreadable(file: &str, error: &io::Error) -> ReplayError {
    ReplayError::Read { file: file.to_owned(), reason: error.to_string() }
}
