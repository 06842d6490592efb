//! How much CPU time the exact sum takes, as `/metrics` tells it, and unmasking it. What robust rules take is not told:
//! their threads are their own, and only the calling thread's time is known here.

use shared_ops::clock::thread_cpu;

/// Its sum is the CPU time of all folding and finishing since the process started.
const SECONDS: &str = "ringfence_aggregation_cpu_seconds";

/// Does `work` on the calling thread and counts its CPU time.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> T {
    let before = thread_cpu();
    let done = work();
    metrics::histogram!(SECONDS).record(thread_cpu().saturating_sub(before));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_in_the_metrics() {
        let handle = shared_ops::metrics::install();
        let sum = counted(|| (0..1_000_000_u64).fold(0, |sum: u64, number| std::hint::black_box(sum ^ number)));
        assert_eq!(sum, (0..1_000_000).fold(0, |sum, number| sum ^ number));
        let text = handle.render();
        let told = text.lines().find_map(|line| line.strip_prefix("ringfence_aggregation_cpu_seconds_sum "));
        assert!(told.unwrap().parse::<f64>().unwrap() > 0.0, "{text}");
    }
}
