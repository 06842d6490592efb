//! What a change of the policies would have done: recorded decisions, asked again of two versions.
//!
//! Requests are asked as they were recorded. What a different answer would have changed about later requests, such as
//! the number of active containments, is not simulated; nothing is decided for anybody, and nothing is written.

mod blocks;
mod counts;
mod error;
mod leases;
mod recorded;
mod report;
mod tally;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use shared::Timestamp;

pub use self::error::ReplayError;
pub use self::recorded::{Record, Recorded};
pub use self::report::{
    ActionChange, AssetCount, Assets, Cell, HostMinutes, LeaseInForce, Leases, Replay, Unlike, Unreproduced,
};

use self::blocks::{Block, Blocks};
use self::tally::Tally;
use crate::decide::Engine;

/// How many blocks may wait for each thread that decides.
const QUEUED: usize = 2;

/// Two versions of the policies.
#[derive(Clone, Copy)]
pub struct Versions<'a> {
    /// The one that is in force, or was.
    pub base: &'a Engine,
    /// The one that is proposed.
    pub head: &'a Engine,
}

/// Which decisions are replayed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The instant as of which leases are in force; decisions after it are left out.
    pub as_of: Timestamp,
    /// How many days before `as_of` count; without it all do.
    pub days: Option<u32>,
    /// Whether lines that are no audit record are counted, and not refused.
    pub skip_damaged: bool,
    /// How many threads decide.
    pub threads: NonZeroUsize,
}

impl Settings {
    fn since(&self) -> Timestamp {
        let Some(days) = self.days else { return Timestamp::EPOCH };
        let micros = i64::try_from(Duration::from_secs(u64::from(days) * 86_400).as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.as_of.as_micros().saturating_sub(micros))
    }
}

/// Replays the records in `files`, in which `-` is standard input and `.zst` means zstd. Memory does not grow with the
/// files. `read` is called with a number of lines whenever so many more were read.
pub fn replay(
    versions: Versions<'_>,
    files: &[PathBuf],
    settings: Settings,
    read: &(dyn Fn(u64) + Sync),
) -> Result<Replay, ReplayError> {
    let (sender, receiver) = mpsc::sync_channel(settings.threads.get().saturating_mul(QUEUED));
    let queue = Queue { blocks: Mutex::new(receiver), damaged: AtomicU64::new(u64::MAX) };
    let outcomes = Mutex::new(Vec::new());
    let tally_all = || {
        let mut tally = Tally::new(versions, settings);
        let damage = queue.tally(&mut tally, read);
        lock(&outcomes).push((tally, damage));
    };
    let filled = thread::scope(|scope| {
        (0..settings.threads.get()).for_each(|_| drop(scope.spawn(tally_all)));
        queue.fill(files, sender)
    });
    let (tallies, damages): (Vec<_>, Vec<_>) =
        outcomes.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().unzip();
    match damages.into_iter().flatten().min_by_key(|(block, _)| *block) {
        Some((_, error)) => return Err(error),
        None => filled?,
    }
    let nothing = Tally::new(versions, settings);
    tallies.into_iter().try_fold(nothing, Tally::and).map(Tally::report)
}

/// Blocks on their way from the thread that reads to those that decide.
struct Queue {
    blocks: Mutex<Receiver<Block>>,
    /// The number of the first block found damaged. Those after it need not be looked at, those before it must be: of
    /// several damaged lines the first is named, whichever thread is the fastest.
    damaged: AtomicU64,
}

impl Queue {
    fn fill(&self, files: &[PathBuf], sender: SyncSender<Block>) -> Result<(), ReplayError> {
        let mut blocks = Blocks::of(files);
        while self.damaged.load(Ordering::Relaxed) == u64::MAX
            && let Some(block) = blocks.next()?
            && sender.send(block).is_ok()
        {}
        Ok(())
    }

    /// Takes blocks until there are no more; the first that is damaged.
    fn tally(&self, tally: &mut Tally<'_>, read: &(dyn Fn(u64) + Sync)) -> Option<(u64, ReplayError)> {
        let mut damage = None;
        while let Some(block) = self.next() {
            if block.number > self.damaged.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = tally.take(&block) {
                self.damaged.fetch_min(block.number, Ordering::Relaxed);
                damage = damage.or(Some((block.number, error)));
            }
            read(block.lines);
        }
        damage
    }

    fn next(&self) -> Option<Block> {
        lock(&self.blocks).recv().ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
