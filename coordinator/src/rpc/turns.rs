//! Whose turn it is to send an update: so many at a time, in the order in which they came.
//!
//! A place is lent. Whoever holds one for longer than a turn while others wait gives it back, keeps what has come, and
//! queues again: slow senders, however many, delay the others by a turn each and never shut them out.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shared::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// Places for those who send an update.
pub(super) struct Turns {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    length: Duration,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    began: Timestamp,
    _place: OwnedSemaphorePermit,
}

/// Counted among those who wait, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// `places` at a time, each for `length` where others wait.
    pub(super) fn new(places: NonZeroU32, length: Duration) -> Self {
        Self { places: super::places(places), waiting: AtomicUsize::new(0), length }
    }

    /// Waits for a place; the turn begins when `now` is asked.
    pub(super) async fn wait(&self, now: impl FnOnce() -> Timestamp) -> Result<Turn, Error> {
        let _waiting = Waiting::among(&self.waiting);
        // The semaphore is never closed, and it is fair.
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Unavailable)?;
        Ok(Turn { began: now(), _place: place })
    }

    /// Whether a turn is over: it was long enough, and somebody waits for the place.
    pub(super) fn is_over(&self, turn: &Turn, now: Timestamp) -> bool {
        now.since(turn.began) >= self.length && self.waiting.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    const TURN: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn a_turn_ends_only_when_it_was_long_enough_and_others_wait() {
        let turns = Turns::new(NonZeroU32::MIN, TURN);
        let turn = turns.wait(|| at(10)).await.unwrap();
        assert!(!turns.is_over(&turn, at(10_000)), "nobody waits");
        let mut next = pin!(turns.wait(|| at(80)));
        assert!(timeout(Duration::ZERO, next.as_mut()).await.is_err(), "there is one place");
        assert!(!turns.is_over(&turn, at(69)));
        assert!(turns.is_over(&turn, at(70)));
        drop(turn);
        let turn = next.await.unwrap();
        assert!(!turns.is_over(&turn, at(200)), "who has a place does not wait");
    }

    #[tokio::test]
    async fn who_stops_waiting_takes_nobodys_turn() {
        let turns = Turns::new(NonZeroU32::MIN, TURN);
        let turn = turns.wait(|| at(0)).await.unwrap();
        assert!(timeout(Duration::ZERO, turns.wait(|| at(0))).await.is_err());
        assert!(!turns.is_over(&turn, at(1000)));
    }
}
