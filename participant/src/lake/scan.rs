//! Reading the lake: in the order of event time by merging segments, or in the order in which events became known.
//!
//! A segment is opened when the merge reaches its first event, so that segments which follow one another in time are
//! never open together.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;
use std::vec;

use shared::Timestamp;
use shared_crypto::SealKey;

use super::LakeError;
use super::manifest::Entry;
use super::segment::Events;
use crate::event::Event;

/// The events of a span of time, ordered by time and id. After an error there is nothing more.
pub struct Scan {
    folder: PathBuf,
    key: Arc<SealKey>,
    /// Segments that are not open yet, the next one last.
    waiting: Vec<Entry>,
    open: BinaryHeap<Reverse<Head>>,
    from: Timestamp,
    to: Option<Timestamp>,
}

/// A segment by its next event.
struct Head {
    event: Event,
    rest: Events,
}

impl Scan {
    /// The events of `entries` within the span, both ends included; a span without end holds nothing.
    pub(super) fn new(
        folder: PathBuf,
        key: Arc<SealKey>,
        mut entries: Vec<Entry>,
        (from, to): (Timestamp, Option<Timestamp>),
    ) -> Self {
        entries.retain(|entry| entry.last >= from && to.is_some_and(|to| entry.first <= to));
        entries.sort_by_key(|entry| Reverse((entry.first, entry.sequence)));
        Self { folder, key, waiting: entries, open: BinaryHeap::new(), from, to }
    }

    /// Opens every segment that may hold the next event.
    fn open_due(&mut self) -> Result<(), LakeError> {
        while let Some(entry) = self.waiting.last() {
            if self.open.peek().is_some_and(|Reverse(head)| head.event.timestamp() < entry.first) {
                break;
            }
            let mut rest = Events::open(&self.folder, Arc::clone(&self.key), entry)?;
            self.waiting.pop();
            while let Some(event) = rest.next()? {
                if event.timestamp() >= self.from {
                    self.open.push(Reverse(Head { event, rest }));
                    break;
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Event>, LakeError> {
        self.open_due()?;
        let Some(Reverse(Head { event, mut rest })) = self.open.pop() else { return Ok(None) };
        if self.to.is_none_or(|to| event.timestamp() > to) {
            return Ok(None);
        }
        if let Some(next) = rest.next()? {
            self.open.push(Reverse(Head { event: next, rest }));
        }
        Ok(Some(event))
    }

    fn stop(&mut self) {
        self.waiting.clear();
        self.open.clear();
    }
}

impl Iterator for Scan {
    type Item = Result<Event, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if !matches!(next, Ok(Some(_))) {
            self.stop();
        }
        next.transpose()
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.event.order().cmp(&other.event.order())
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// All events in the order in which they became known. After an error there is nothing more.
pub struct Replay {
    folder: PathBuf,
    key: Arc<SealKey>,
    waiting: vec::IntoIter<Entry>,
    current: Option<Events>,
}

impl Replay {
    pub(super) fn new(folder: PathBuf, key: Arc<SealKey>, entries: Vec<Entry>) -> Self {
        Self { folder, key, waiting: entries.into_iter(), current: None }
    }

    fn advance(&mut self) -> Result<Option<Event>, LakeError> {
        loop {
            if let Some(current) = &mut self.current
                && let Some(event) = current.next()?
            {
                return Ok(Some(event));
            }
            let Some(entry) = self.waiting.next() else { return Ok(None) };
            self.current = Some(Events::open(&self.folder, Arc::clone(&self.key), &entry)?);
        }
    }
}

impl Iterator for Replay {
    type Item = Result<Event, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if !matches!(next, Ok(Some(_))) {
            self.waiting = Vec::new().into_iter();
            self.current = None;
        }
        next.transpose()
    }
}
