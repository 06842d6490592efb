//! The same work on several things at once, one thread each, the results in the things' order.

use std::num::NonZero;
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

/// As [`map`], but no more items at a time than there are cores.
pub fn on_all_cores<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut results = Vec::with_capacity(items.len());
    for some in items.chunks(cores) {
        results.extend(map(some, |_, item| work(item))?);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_on_all_cores_keeps_the_order() {
        let items: Vec<u32> = (0..50).collect();
        let doubled = on_all_cores(&items, |item| Ok(item * 2)).unwrap();
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
    }
}
