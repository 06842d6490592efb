//! A site's telemetry at rest: immutable, encrypted segments under an append-only, hash-chained manifest.
//!
//! An append is wholly there or not at all: the segment is written, synced and renamed before the manifest names it, and
//! what no manifest line names is removed when the lake is opened. Nothing is ever changed or deleted in place. The lake
//! knows nothing of features or labels.

mod error;
mod manifest;
mod scan;
mod seen;
mod segment;

use std::fs::{self, File, TryLockError};
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::{Digest, Timestamp};
use shared_crypto::SealKey;

use self::manifest::{Entry, Manifest};
use self::scan::{Replay, Scan};
use self::seen::Seen;
use crate::event::Event;

pub use error::LakeError;

const MANIFEST: &str = "manifest";
const LOCK: &str = "lock";

/// A lake, open for one process.
pub struct Lake {
    folder: PathBuf,
    key: Arc<SealKey>,
    state: Mutex<State>,
    _lock: File,
}

struct State {
    manifest: Manifest,
    seen: Seen,
}

/// What an append did.
#[derive(Debug)]
pub struct Appended {
    /// The events that are now in the lake, ordered by time and id.
    pub stored: Vec<Event>,
    /// How many events the lake held already.
    pub duplicates: u64,
}

/// What [`Lake::verify`] found in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Segments.
    pub segments: u64,
    /// Events in them.
    pub events: u64,
    /// Digest of the manifest's last line; zeros for an empty lake.
    pub head: Digest,
}

impl Lake {
    /// Opens the lake in `folder`; makes it where there is none. Removes what an interrupted append left behind.
    pub fn open(folder: impl AsRef<Path>, key: SealKey) -> Result<Self, LakeError> {
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder).map_err(LakeError::at(&folder))?;
        let lock = lock(&folder)?;
        let manifest = Manifest::open(&folder.join(MANIFEST))?;
        remove_orphans(&folder, &manifest)?;
        let state = Mutex::new(State { manifest, seen: Seen::default() });
        Ok(Self { folder, key: Arc::new(key), state, _lock: lock })
    }

    /// Stores the events that the lake does not hold, known since `known_at`; durable on return, all or none.
    ///
    /// Events are the same when id and day are the same. They may come in any order and from any time.
    pub fn append(&self, mut events: Vec<Event>, known_at: Timestamp) -> Result<Appended, LakeError> {
        let mut state = self.state();
        let State { manifest, seen } = &mut *state;
        events.sort_by(|left, right| left.order().cmp(&right.order()));
        let offered = events.len();
        let marks = seen.retain_new(&mut events, |day| self.marks_of(manifest.entries(), day))?;
        let duplicates = u64::try_from(offered.saturating_sub(events.len())).unwrap_or(u64::MAX);
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            let file = segment::name(manifest.next_sequence());
            let written = segment::write(&self.folder, &file, &self.key, &events, &marks)?;
            let span = (first.timestamp(), last.timestamp());
            if let Err(error) = manifest.append(&file, &written, span, known_at) {
                segment::discard(&self.folder, &file);
                return Err(error);
            }
            seen.remember(&marks);
        }
        Ok(Appended { stored: events, duplicates })
    }

    /// The events of a span of event time, ordered by time and id.
    pub fn scan(&self, span: impl RangeBounds<Timestamp>) -> Result<Scan, LakeError> {
        let span = (inclusive_start(span.start_bound()), inclusive_end(span.end_bound()));
        let entries = self.state().manifest.entries().to_vec();
        Ok(Scan::new(self.folder.clone(), Arc::clone(&self.key), entries, span))
    }

    /// All events in the order in which they became known: append by append, and by time and id within one.
    ///
    /// Whoever computes features online sees events in this order, so this is the order that recomputes them bit for bit
    /// (promise A6). It differs from [`Lake::scan`] where an event came in late.
    pub fn replay(&self) -> Replay {
        Replay::new(self.folder.clone(), Arc::clone(&self.key), self.state().manifest.entries().to_vec())
    }

    /// How many events there are.
    pub fn len(&self) -> u64 {
        self.state().manifest.entries().iter().map(|entry| entry.events).sum()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.state().manifest.entries().is_empty()
    }

    /// Recomputes the manifest's chain and every segment's digest from the disk.
    pub fn verify(&self) -> Result<Verified, LakeError> {
        let manifest = Manifest::read(&self.folder.join(MANIFEST))?;
        let (mut segments, mut events) = (0_u64, 0_u64);
        for entry in manifest.entries() {
            segment::verify(&self.folder, entry)?;
            segments = segments.saturating_add(1);
            events = events.saturating_add(entry.events);
        }
        Ok(Verified { segments, events, head: manifest.head() })
    }

    fn marks_of(&self, entries: &[Entry], day: u32) -> Result<Vec<seen::Mark>, LakeError> {
        let mut marks = Vec::new();
        for entry in entries.iter().filter(|entry| entry.spans_day(day)) {
            marks.extend(segment::marks(&self.folder, &self.key, entry)?);
        }
        Ok(marks)
    }

    /// The state is only ever changed as the last step of an append, so a panic elsewhere cannot have broken it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(folder: &Path) -> Result<File, LakeError> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(LakeError::at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LakeError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(LakeError::at(&path)(error)),
    }
}

/// Removes every segment that the manifest does not name, and every unfinished one.
fn remove_orphans(folder: &Path, manifest: &Manifest) -> Result<(), LakeError> {
    for item in fs::read_dir(folder).map_err(LakeError::at(folder))? {
        let path = item.map_err(LakeError::at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if segment::is_segment(&name) && !manifest.names(&name) {
            tracing::warn!(segment = name, "removing a segment that an interrupted append left behind");
            fs::remove_file(&path).map_err(LakeError::at(&path))?;
        }
    }
    Ok(())
}

fn inclusive_start(bound: Bound<&Timestamp>) -> Timestamp {
    match bound {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => Timestamp::from_micros(start.as_micros().saturating_add(1)),
        Bound::Unbounded => Timestamp::EPOCH,
    }
}

fn inclusive_end(bound: Bound<&Timestamp>) -> Option<Timestamp> {
    match bound {
        Bound::Included(end) => Some(*end),
        Bound::Excluded(end) if *end > Timestamp::EPOCH => Some(Timestamp::from_micros(end.as_micros() - 1)),
        Bound::Excluded(_) => None,
        Bound::Unbounded => Some(Timestamp::MAX),
    }
}

#[cfg(test)]
mod tests;
