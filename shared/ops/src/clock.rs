//! The machine's clock. Nothing else in Ringfence reads it; all else is handed a [`Clock`].

use std::time::{SystemTime, UNIX_EPOCH};

use shared::{Clock, Timestamp};

/// The machine's real-time clock, to the microsecond. It may jump when the machine's time is set.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_a_time_after_this_was_written() {
        let written: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        assert!(SystemClock.now() > written);
    }
}
