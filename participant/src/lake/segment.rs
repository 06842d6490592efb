//! One segment: a file of sealed chunks, written once. The first chunk holds the marks of its events, the others their
//! JSON lines, compressed.
//!
//! A chunk is a length (4 bytes, little-endian) and as many sealed bytes. Each is sealed for its file and its place in
//! it, so that chunks cannot be swapped.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::vec;

use shared::Digest;
use shared_crypto::{DigestWriter, SealKey};

use super::LakeError;
use super::manifest::Entry;
use super::seen::Mark;
use crate::event::Event;

const SUFFIX: &str = ".segment";
const UNFINISHED: &str = ".unfinished";
/// A chunk is closed once its JSON lines reach this many bytes.
const CHUNK: usize = 256 * 1024;
/// No chunk is longer: one event beyond [`CHUNK`] at most, each below 8 MiB even if all its text is escaped.
const MAX_SEALED: usize = 16 * 1024 * 1024;
const COMPRESSION: i32 = 3;
const MARK_LEN: usize = 12;

/// What a written segment is.
pub(super) struct Written {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    pub(super) events: u64,
}

/// The file name of a segment.
pub(super) fn name(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

/// Whether a file is a segment, finished or not.
pub(super) fn is_segment(name: &str) -> bool {
    name.ends_with(SUFFIX) || name.ends_with(UNFINISHED)
}

/// Removes a segment that no manifest names.
pub(super) fn discard(folder: &Path, file: &str) {
    if let Err(error) = fs::remove_file(folder.join(file)) {
        tracing::warn!(segment = file, %error, "could not remove an unfinished segment; the next start will");
    }
}

/// Writes `events` in their order; durable on return. Where it fails nothing is left behind.
pub(super) fn write(
    folder: &Path,
    file: &str,
    key: &SealKey,
    events: &[Event],
    marks: &[Mark],
) -> Result<Written, LakeError> {
    let unfinished = format!("{file}{UNFINISHED}");
    let result = write_chunks(&folder.join(&unfinished), file, key, events, marks).and_then(|written| {
        let renamed = fs::rename(folder.join(&unfinished), folder.join(file));
        renamed.and_then(|()| File::open(folder)?.sync_all()).map_err(LakeError::at(folder))?;
        Ok(written)
    });
    if result.is_err() {
        discard(folder, &unfinished);
    }
    result
}

fn write_chunks(
    path: &Path,
    file: &str,
    key: &SealKey,
    events: &[Event],
    marks: &[Mark],
) -> Result<Written, LakeError> {
    let out = File::create(path).map_err(LakeError::at(path))?;
    let mut sink = Sink { path, file, key, out, digest: DigestWriter::new(), bytes: 0, chunks: 0 };
    sink.chunk(&marks.iter().flat_map(mark_bytes).collect::<Vec<u8>>())?;
    let mut lines = Vec::new();
    for event in events {
        event.write_json(&mut lines)?;
        lines.push(b'\n');
        if lines.len() >= CHUNK {
            sink.lines(&mut lines)?;
        }
    }
    if !lines.is_empty() {
        sink.lines(&mut lines)?;
    }
    sink.finish(u64::try_from(events.len()).unwrap_or(u64::MAX))
}

struct Sink<'a> {
    path: &'a Path,
    file: &'a str,
    key: &'a SealKey,
    out: File,
    digest: DigestWriter,
    bytes: u64,
    chunks: u64,
}

impl Sink<'_> {
    fn lines(&mut self, lines: &mut Vec<u8>) -> Result<(), LakeError> {
        let packed = zstd::bulk::compress(lines, COMPRESSION).map_err(LakeError::at(self.path))?;
        lines.clear();
        self.chunk(&packed)
    }

    fn chunk(&mut self, plain: &[u8]) -> Result<(), LakeError> {
        let sealed = self.key.seal(&context(self.file, self.chunks), plain)?;
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        let framed = [length.to_le_bytes().as_slice(), &sealed].concat();
        self.out.write_all(&framed).map_err(LakeError::at(self.path))?;
        self.digest.update(&framed);
        self.bytes = self.bytes.saturating_add(u64::try_from(framed.len()).unwrap_or(u64::MAX));
        self.chunks = self.chunks.saturating_add(1);
        Ok(())
    }

    fn finish(self, events: u64) -> Result<Written, LakeError> {
        self.out.sync_all().map_err(LakeError::at(self.path))?;
        Ok(Written { digest: self.digest.finish(), bytes: self.bytes, events })
    }
}

fn context(file: &str, chunk: u64) -> String {
    format!("lake/{file}/{chunk}")
}

fn mark_bytes(mark: &Mark) -> impl Iterator<Item = u8> + use<> {
    mark.day.to_le_bytes().into_iter().chain(mark.hash.to_le_bytes())
}

/// The marks of a segment's events.
pub(super) fn marks(folder: &Path, key: &SealKey, entry: &Entry) -> Result<Vec<Mark>, LakeError> {
    let mut chunks = Chunks::open(folder, entry)?;
    let plain = chunks.next(key)?.ok_or_else(|| damaged(entry))?;
    let (marks, rest) = plain.as_chunks::<MARK_LEN>();
    if !rest.is_empty() {
        return Err(damaged(entry));
    }
    Ok(marks.iter().map(|bytes| mark_of(*bytes)).collect())
}

fn mark_of([a, b, c, d, hash @ ..]: [u8; MARK_LEN]) -> Mark {
    Mark { day: u32::from_le_bytes([a, b, c, d]), hash: u64::from_le_bytes(hash) }
}

/// Compares a segment with what the manifest says of it.
pub(super) fn verify(folder: &Path, entry: &Entry) -> Result<(), LakeError> {
    let path = folder.join(&entry.file);
    let mut input = File::open(&path).map_err(LakeError::at(&path))?;
    let mut digest = DigestWriter::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = input.read(&mut buffer).map_err(LakeError::at(&path))?;
        match buffer.get(..read) {
            Some([]) | None => break,
            Some(bytes) => digest.update(bytes),
        }
    }
    if digest.finish() == entry.digest { Ok(()) } else { Err(damaged(entry)) }
}

fn damaged(entry: &Entry) -> LakeError {
    LakeError::Segment { segment: entry.file.clone() }
}

/// The chunks of a segment, opened one after the other.
struct Chunks {
    entry: Entry,
    input: BufReader<File>,
    chunk: u64,
}

impl Chunks {
    fn open(folder: &Path, entry: &Entry) -> Result<Self, LakeError> {
        let path = folder.join(&entry.file);
        let input = File::open(&path).map_err(LakeError::at(&path))?;
        Ok(Self { entry: entry.clone(), input: BufReader::new(input), chunk: 0 })
    }

    fn next(&mut self, key: &SealKey) -> Result<Option<Vec<u8>>, LakeError> {
        let Some(sealed) = self.read().map_err(|_| damaged(&self.entry))? else { return Ok(None) };
        let plain = key.open(&context(&self.entry.file, self.chunk), &sealed)?;
        self.chunk = self.chunk.saturating_add(1);
        Ok(Some(plain))
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        if self.input.by_ref().take(1).read(&mut length)? == 0 {
            return Ok(None);
        }
        let [_, rest @ ..] = &mut length;
        self.input.read_exact(rest)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_SEALED {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut sealed = vec![0; length];
        self.input.read_exact(&mut sealed)?;
        Ok(Some(sealed))
    }
}

/// The events of a segment in order, one chunk in memory.
pub(super) struct Events {
    chunks: Chunks,
    key: Arc<SealKey>,
    ready: vec::IntoIter<Event>,
    given: u64,
    started: bool,
}

impl Events {
    pub(super) fn open(folder: &Path, key: Arc<SealKey>, entry: &Entry) -> Result<Self, LakeError> {
        Ok(Self { chunks: Chunks::open(folder, entry)?, key, ready: Vec::new().into_iter(), given: 0, started: false })
    }

    /// The next event; none after the last. A segment with fewer events than were written is damaged.
    pub(super) fn next(&mut self) -> Result<Option<Event>, LakeError> {
        loop {
            if let Some(event) = self.ready.next() {
                self.given = self.given.saturating_add(1);
                return Ok(Some(event));
            }
            if !std::mem::replace(&mut self.started, true) {
                self.chunks.next(&self.key)?;
            }
            let Some(packed) = self.chunks.next(&self.key)? else { break };
            let lines = zstd::decode_all(packed.as_slice()).map_err(|_| damaged(&self.chunks.entry))?;
            let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            self.ready = lines.map(Event::from_json).collect::<Result<Vec<_>, _>>()?.into_iter();
        }
        if self.given == self.chunks.entry.events { Ok(None) } else { Err(damaged(&self.chunks.entry)) }
    }
}
