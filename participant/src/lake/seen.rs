//! Which events the lake holds, by day and a 64-bit hash of the id; loaded day by day from the segments as needed.
//!
//! Two ids of one day share a hash with a probability of 3 in 10^8 at a million events that day; then the second is
//! taken for a duplicate.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use shared::Timestamp;
use shared_crypto::digest;

use super::LakeError;
use crate::event::Event;

/// The most days that are kept in memory.
const MAX_DAYS: usize = 32;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// An event's day since the epoch and its id's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub(super) day: u32,
    pub(super) hash: u64,
}

impl Mark {
    fn of(event: &Event) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = digest(event.event_id().as_bytes()).0;
        Self { day: day_of(event.timestamp()), hash: u64::from_le_bytes([a, b, c, d, e, f, g, h]) }
    }
}

/// The day of an instant, counted from the epoch.
pub(super) fn day_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_micros() / MICROS_PER_DAY).unwrap_or(u32::MAX)
}

/// The days in memory.
#[derive(Default)]
pub(super) struct Seen {
    days: BTreeMap<u32, HashSet<u64>>,
}

impl Seen {
    /// Keeps of `events` those that are new, and gives their marks. `load` reads the marks of a day from the segments.
    pub(super) fn retain_new(
        &mut self,
        events: &mut Vec<Event>,
        load: impl Fn(u32) -> Result<Vec<Mark>, LakeError>,
    ) -> Result<Vec<Mark>, LakeError> {
        let marks: Vec<Mark> = events.iter().map(Mark::of).collect();
        for day in marks.iter().map(|mark| mark.day) {
            self.ensure(day, &load)?;
        }
        let mut batch = HashSet::new();
        let new: Vec<bool> = marks.iter().map(|mark| !self.contains(mark) && batch.insert(*mark)).collect();
        let mut keep = new.iter();
        events.retain(|_| keep.next().copied().unwrap_or_default());
        Ok(marks.into_iter().zip(new).filter_map(|(mark, new)| new.then_some(mark)).collect())
    }

    /// Notes what was stored, then forgets the oldest days beyond the limit.
    pub(super) fn remember(&mut self, marks: &[Mark]) {
        for mark in marks {
            self.days.entry(mark.day).or_default().insert(mark.hash);
        }
        while self.days.len() > MAX_DAYS {
            self.days.pop_first();
        }
    }

    fn contains(&self, mark: &Mark) -> bool {
        self.days.get(&mark.day).is_some_and(|hashes| hashes.contains(&mark.hash))
    }

    fn ensure(&mut self, day: u32, load: impl Fn(u32) -> Result<Vec<Mark>, LakeError>) -> Result<(), LakeError> {
        if let Entry::Vacant(unknown) = self.days.entry(day) {
            let marks = load(day)?;
            unknown.insert(marks.iter().filter(|mark| mark.day == day).map(|mark| mark.hash).collect());
        }
        Ok(())
    }
}
