//! The same work on several things at once, one thread each, the results in the things' order.

use std::thread;

/// Runs `work` on each of `items`. The first error in their order is the result; a panic is passed on.
pub fn map<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(usize, &T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            items.iter().enumerate().map(|(index, item)| scope.spawn(move || work(index, item))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
