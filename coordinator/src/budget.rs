//! How many bytes of bulk data are in memory at once: so many per upload and download, which are limited in number, and
//! so many per model. That this never depends on how many participants there are is promise R5; a breach is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shared::invariant::Invariant;
use shared_ops::metrics::violation;

/// The bytes that may be held, and those that are.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    limit: AtomicU64,
    held: AtomicU64,
    peak: AtomicU64,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// A budget of `bytes`.
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { limit: AtomicU64::new(bytes), ..Self::default() })
    }

    /// Raises the limit for what one more task's model needs.
    pub(crate) fn allow(&self, bytes: u64) {
        self.limit.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Lowers the limit again.
    pub(crate) fn disallow(&self, bytes: u64) {
        self.limit.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Says that `bytes` are held from now on.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Held {
        let held = self.held.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        self.peak.fetch_max(held, Ordering::SeqCst);
        gauge(held);
        if held > self.limit.load(Ordering::SeqCst) {
            violation(Invariant::MemoryBounded);
        }
        Held { budget: Arc::clone(self), bytes }
    }

    /// How many bytes are held, and how many were held at most.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.held.load(Ordering::SeqCst), self.peak.load(Ordering::SeqCst))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.budget.held.fetch_sub(self.bytes, Ordering::SeqCst);
        gauge(before.saturating_sub(self.bytes));
    }
}

#[expect(clippy::as_conversions, reason = "a gauge needs no more digits than an f64 has")]
fn gauge(bytes: u64) {
    metrics::gauge!("ringfence_bulk_memory_bytes").set(bytes as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_held_no_more() {
        let budget = Budget::new(10);
        let (first, second) = (budget.hold(4), budget.hold(6));
        assert_eq!(budget.held(), (10, 10));
        drop(first);
        assert_eq!(budget.held(), (6, 10));
        drop(second);
        assert_eq!(budget.held(), (0, 10));
    }
}
