//! The fixed partition of a row into blocks, and the threads that work on them. Neither the partition nor the order in
//! which results are taken depends on the number of threads, so that no result does.

use std::ops::Range;
use std::sync::mpsc;
use std::thread;

use super::AggregateError;

/// How many entries of all rows together one thread holds.
const HELD_ENTRIES: usize = 1 << 20;
/// The widest block: what a thread's cache holds of one row and of its result.
const MAX_WIDTH: usize = 1 << 14;
/// The narrowest block, so that reading from files stays worth the call.
const MIN_WIDTH: usize = 1 << 8;

/// `0..dimension`, cut into blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    dimension: usize,
    width: usize,
}

impl Blocks {
    /// Blocks for a thread that holds a block of each of `rows` rows at once.
    pub(super) fn new(dimension: usize, rows: usize) -> Self {
        let fair = HELD_ENTRIES.checked_div(rows).unwrap_or(MAX_WIDTH);
        Self { dimension, width: fair.clamp(MIN_WIDTH, MAX_WIDTH) }
    }

    fn count(self) -> usize {
        self.dimension.div_ceil(self.width)
    }

    fn range(self, block: usize) -> Range<usize> {
        let start = block.saturating_mul(self.width);
        start..start.saturating_add(self.width).min(self.dimension)
    }

    /// Works on every block, on `threads` threads with a `worker` each, and hands the results to `take` in order.
    pub(super) fn for_each<T, W, F>(
        self,
        threads: usize,
        worker: W,
        mut take: impl FnMut(Range<usize>, T) -> Outcome,
    ) -> Outcome
    where
        T: Send,
        W: Fn() -> F + Sync,
        F: FnMut(Range<usize>) -> Result<T, AggregateError>,
    {
        let threads = threads.clamp(1, self.count().max(1));
        thread::scope(|scope| {
            let worker = &worker;
            let spawn = |first: usize| {
                let (results, queue) = mpsc::sync_channel(1);
                scope.spawn(move || {
                    let mut work = worker();
                    let mut blocks = (first..self.count()).step_by(threads);
                    blocks.try_for_each(|block| results.send(work(self.range(block))))
                });
                queue
            };
            let queues: Vec<_> = (0..threads).map(spawn).collect();
            let mut blocks = (0..self.count()).zip(queues.iter().cycle());
            // A queue ends early only where its thread panicked, and then the scope panics.
            blocks.try_for_each(|(block, queue)| queue.recv().map_or(Ok(()), |result| take(self.range(block), result?)))
        })
    }
}

/// What remains to be said of a pass when its results are taken.
type Outcome = Result<(), AggregateError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_in_one_block_and_blocks_are_taken_in_order() {
        for threads in 0..5 {
            let mut next = 0;
            let blocks = Blocks::new(100_000, 500);
            let take = |range: Range<usize>, seen: Range<usize>| {
                assert_eq!((range.start, range.clone()), (next, seen));
                next = range.end;
                Ok(())
            };
            blocks.for_each(threads, || Ok, take).unwrap();
            assert_eq!(next, 100_000);
        }
    }

    #[test]
    fn the_first_error_ends_the_pass() {
        let fails = |range: Range<usize>| if range.start == 0 { Ok(()) } else { Err(AggregateError::Empty) };
        let mut taken = 0;
        let outcome = Blocks::new(1_000_000, 1).for_each(
            2,
            || fails,
            |_, ()| {
                taken += 1;
                Ok(())
            },
        );
        assert_eq!((outcome, taken), (Err(AggregateError::Empty), 1));
        let refused = Blocks::new(1_000_000, 1).for_each(3, || |_| Ok(()), |_, ()| Err(AggregateError::TooManyUpdates));
        assert_eq!(refused, Err(AggregateError::TooManyUpdates));
    }
}
