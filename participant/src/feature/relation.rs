//! Which things have been met together, how often and since when: the ground of every novelty feature.

use super::memory::Memory;
use super::scale::{age, surprise};
use super::vector::Row;

/// What is known of one pair.
#[derive(Default, Clone, Copy)]
pub(super) struct Met {
    /// How often, before now.
    pub(super) count: u32,
    /// Microseconds since the first time; 0 where there was none.
    pub(super) known_for: i64,
    /// Microseconds since the last time; `i64::MAX` where there was none.
    pub(super) last_seen: i64,
    /// How often the left side was met with anything.
    pub(super) total: u32,
}

impl Met {
    /// Whether the pair is new, or has not been met for `window` microseconds.
    pub(super) fn is_new_within(&self, window: i64) -> bool {
        self.last_seen > window
    }

    /// How surprising the pair is, see [`surprise`].
    pub(super) fn surprise(&self) -> f32 {
        surprise(self.count, self.total)
    }

    /// Writes surprise and familiarity.
    pub(super) fn write(&self, names: [&'static str; 2], row: &mut impl Row) {
        let [rare, known] = names;
        row.put(rare, self.surprise());
        row.put(known, age(self.known_for));
    }
}

#[derive(Default)]
struct Pair {
    count: u32,
    first: i64,
    last: i64,
}

/// The pairs of one kind, such as principal and address, within bounds.
pub(super) struct Relation {
    pairs: Memory<(u64, u64), Pair>,
    totals: Memory<u64, u32>,
}

impl Relation {
    /// Remembers at most `capacity` pairs.
    pub(super) fn new(capacity: usize) -> Self {
        Self { pairs: Memory::new(capacity), totals: Memory::new(capacity) }
    }

    /// What was known of the pair before `at`, and from now on it has been met once more.
    pub(super) fn meet(&mut self, left: u64, right: u64, at: i64) -> Met {
        let total = self.totals.recall(left);
        let pair = self.pairs.recall((left, right));
        let met = if pair.count == 0 {
            *pair = Pair { count: 0, first: at, last: at };
            Met { count: 0, known_for: 0, last_seen: i64::MAX, total: *total }
        } else {
            let known_for = at.saturating_sub(pair.first).max(0);
            Met { count: pair.count, known_for, last_seen: at.saturating_sub(pair.last).max(0), total: *total }
        };
        pair.count = pair.count.saturating_add(1);
        pair.last = pair.last.max(at);
        *total = total.saturating_add(1);
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_new_once() {
        let mut relation = Relation::new(16);
        assert!(relation.meet(1, 2, 100).is_new_within(i64::MAX - 1));
        let again = relation.meet(1, 2, 150);
        assert_eq!((again.count, again.known_for, again.last_seen, again.total), (1, 50, 50, 1));
        assert_eq!(relation.meet(1, 3, 200).total, 2);
    }
}
