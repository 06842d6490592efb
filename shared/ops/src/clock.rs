//! The machine's clocks: what time it is, and how long a thread has worked. Nothing else in Ringfence reads the time;
//! all else is handed a [`Clock`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
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

/// The CPU time that the calling thread has had so far, in user code and in the kernel. What other threads do for it is
/// not in it.
pub fn thread_cpu() -> Duration {
    // A thread's CPU time is never negative.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_a_time_after_this_was_written() {
        let written: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        assert!(SystemClock.now() > written);
    }

    #[test]
    fn a_threads_work_is_counted_for_that_thread_alone() {
        let work = || (0..20_000_000_u64).fold(0, |sum: u64, number| std::hint::black_box(sum ^ number));
        let before = thread_cpu();
        let others = std::thread::spawn(move || {
            let before = thread_cpu();
            work();
            thread_cpu().saturating_sub(before)
        });
        let others = others.join().unwrap();
        let own = thread_cpu().saturating_sub(before);
        assert!(own < others, "{own:?} of waiting, {others:?} of work");
    }
}
