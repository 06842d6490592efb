//! A token bucket in integers: so many queries a minute, with a burst of ten seconds' worth.

use shared::Timestamp;

/// Millionths of a query.
const QUERY: u64 = 1_000_000;

/// How full the bucket is, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    level: u64,
    at: Timestamp,
}

impl Bucket {
    /// How many queries can run at once after a rest.
    pub(super) fn burst(per_minute: u32) -> u32 {
        (per_minute / 6).max(1)
    }

    fn capacity(per_minute: u32) -> u64 {
        u64::from(Self::burst(per_minute)) * QUERY
    }

    pub(super) fn full(per_minute: u32, at: Timestamp) -> Self {
        Self { level: Self::capacity(per_minute), at }
    }

    /// Takes one query out, if there is one.
    pub(super) fn take(&mut self, per_minute: u32, now: Timestamp) -> bool {
        let elapsed_us = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let refill = elapsed_us.saturating_mul(u64::from(per_minute)) / 60;
        self.level = self.level.saturating_add(refill).min(Self::capacity(per_minute));
        self.at = self.at.max(now);
        let enough = self.level >= QUERY;
        if enough {
            self.level -= QUERY;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_minute_holds_as_many_queries_as_it_says() {
        let mut now = Timestamp::EPOCH;
        let mut bucket = Bucket::full(12, now);
        let mut ran = 0;
        for _ in 0..600 {
            now = now.plus(Duration::from_millis(100));
            ran += u32::from(bucket.take(12, now));
        }
        assert!((12..=12 + Bucket::burst(12)).contains(&ran), "{ran}");
    }
}
