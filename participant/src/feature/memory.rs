//! Bounded, deterministic memory: a map that forgets the least recently used half when it is full.
//!
//! What it forgets depends only on the sequence of keys, never on hash order or a clock, so that two engines fed the
//! same events remember the same things (promise A6).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Mixes words that are already unpredictable (HMAC tokens, keyed hashes) at little cost.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let [low, high] = [product & u128::from(u64::MAX), product >> 64];
        self.0 = u64::try_from(low ^ high).unwrap_or_default();
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// A map of at most `capacity` entries in two generations. A key that is used moves to the young one; when the young
/// one holds half the capacity, the old one is forgotten.
pub(super) struct Memory<K, V> {
    young: Map<K, V>,
    old: Map<K, V>,
    half: usize,
}

impl<K: Hash + Eq, V: Default> Memory<K, V> {
    /// A memory of at most `capacity` entries.
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: Map::default(), old: Map::default(), half: (capacity / 2).max(1) }
    }

    /// What is remembered of `key`; a default value where nothing is.
    pub(super) fn recall(&mut self, key: K) -> &mut V {
        if !self.young.contains_key(&key) {
            if self.young.len() >= self.half {
                self.old = std::mem::take(&mut self.young);
            }
            let value = self.old.remove(&key).unwrap_or_default();
            return self.young.entry(key).or_insert(value);
        }
        self.young.entry(key).or_default()
    }

    /// How many keys are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_keys_forgets_the_unused_and_keeps_the_used() {
        let mut memory = Memory::<u64, u64>::new(100);
        *memory.recall(7) = 70;
        *memory.recall(8) = 80;
        for key in 1_000..10_000 {
            memory.recall(key);
            assert_eq!(*memory.recall(7), 70);
            assert!(memory.len() <= 100);
        }
        assert_eq!(*memory.recall(8), 0);
    }
}
