//! The range's source of chance: integer arithmetic on a ChaCha20 stream, so that a seed means the same events on
//! every machine.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One stream of chance under a seed. Streams are independent: what one draws moves no other.
pub(super) struct Draw(ChaCha20Rng);

impl Draw {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A uniform integer below `bound`; 0 where the bound is 0. The bias of the product is below 2^-32.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A uniform integer from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `percent` of a hundred draws.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `options`, all equally likely; the type's default of none.
    pub(super) fn pick<T: Clone + Default>(&mut self, options: &[T]) -> T {
        let bound = u64::try_from(options.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(self.below(bound)).unwrap_or(usize::MAX);
        options.get(index).cloned().unwrap_or_default()
    }

    /// `digits` hexadecimal digits, at most 16.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        let full = format!("{:016x}", self.0.next_u64());
        full.chars().take(digits).collect()
    }
}
