//! The auditor's own random numbers. The coins of the site that is audited come from elsewhere.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Random numbers for one purpose, the same whatever else is drawn.
pub(crate) fn stream(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}
