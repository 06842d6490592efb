//! The list of a lake's segments: one JSON line each, which carries the digest of the line before it.
//!
//! Lines are only ever added. A line that a crash cut off in the middle was never acknowledged, and is removed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::{Digest, Timestamp};
use shared_crypto::digest;

use super::LakeError;
use super::seen::day_of;
use super::segment::Written;

/// One segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) file: String,
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    pub(super) events: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) known_at: Timestamp,
    /// Digest of the line before; zeros in the first.
    previous: Digest,
}

impl Entry {
    pub(super) fn spans_day(&self, day: u32) -> bool {
        (day_of(self.first)..=day_of(self.last)).contains(&day)
    }
}

/// The manifest, open for appending or only read.
pub(super) struct Manifest {
    path: PathBuf,
    entries: Vec<Entry>,
    head: Digest,
    length: u64,
}

impl Manifest {
    /// Reads the manifest and checks its chain; an absent one is empty. Cuts off an unfinished last line.
    pub(super) fn open(path: &Path) -> Result<Self, LakeError> {
        let manifest = Self::read(path)?;
        if path.exists() {
            manifest.cut().map_err(LakeError::at(path))?;
        }
        Ok(manifest)
    }

    /// Reads the manifest and checks its chain, and changes nothing.
    pub(super) fn read(path: &Path) -> Result<Self, LakeError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(LakeError::at(path)(error)),
        };
        let mut manifest = Self { path: path.to_owned(), entries: Vec::new(), head: Digest([0; 32]), length: 0 };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = line.strip_suffix(b"\n") else { break };
            manifest.take(text)?;
        }
        Ok(manifest)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Digest of the last line; zeros where there is none.
    pub(super) fn head(&self) -> Digest {
        self.head
    }

    pub(super) fn names(&self, file: &str) -> bool {
        // Names grow with the sequence, so the entries are sorted by them.
        self.entries.binary_search_by(|entry| entry.file.as_str().cmp(file)).is_ok()
    }

    pub(super) fn next_sequence(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    /// Adds a segment; durable on return, and where it fails the manifest is as before.
    pub(super) fn append(
        &mut self,
        file: &str,
        written: &Written,
        (first, last): (Timestamp, Timestamp),
        known_at: Timestamp,
    ) -> Result<(), LakeError> {
        let entry = Entry {
            sequence: self.next_sequence(),
            file: file.to_owned(),
            digest: written.digest,
            bytes: written.bytes,
            events: written.events,
            first,
            last,
            known_at,
            previous: self.head,
        };
        let mut line = serde_json::to_vec(&entry).map_err(io::Error::from).map_err(LakeError::at(&self.path))?;
        line.push(b'\n');
        if let Err(error) = self.write(&line) {
            let failed = LakeError::at(&self.path)(error);
            return self.cut().map_err(LakeError::at(&self.path)).and(Err(failed));
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        self.take(text)
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        file.write_all(line)?;
        file.sync_all()
    }

    /// Cuts the file to what has been read.
    fn cut(&self) -> io::Result<()> {
        let file = File::options().write(true).open(&self.path)?;
        if file.metadata()?.len() > self.length {
            file.set_len(self.length)?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// Checks one line against those before it.
    fn take(&mut self, text: &[u8]) -> Result<(), LakeError> {
        let refuse = |reason| LakeError::Manifest { line: self.entries.len().saturating_add(1), reason };
        let entry: Entry = serde_json::from_slice(text).map_err(|_| refuse("it is no manifest line"))?;
        if entry.previous != self.head {
            return Err(refuse("it does not follow the line before it"));
        }
        if entry.sequence != self.next_sequence() || entry.file != super::segment::name(entry.sequence) {
            return Err(refuse("its number is not the next one"));
        }
        self.head = digest(text);
        self.length = self.length.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX)).saturating_add(1);
        self.entries.push(entry);
        Ok(())
    }
}
