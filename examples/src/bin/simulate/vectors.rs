//! Made-up updates: a few different ones, shared by the participants, so that many participants fit into one process.

use examples::parallel;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::{Digest, ParamVector};
use shared_crypto::bulk_digest;

/// An update with its digest.
pub(crate) struct Vector {
    pub(crate) values: ParamVector,
    pub(crate) payload: Digest,
}

/// `distinct` updates of `dim` numbers in [-1/8, 1/8).
pub(crate) fn make(distinct: u32, dim: u32, seed: u64) -> anyhow::Result<Vec<Vector>> {
    let numbers: Vec<u32> = (0..distinct).collect();
    parallel::map(&numbers, |_, number| {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(*number));
        let values = ParamVector::new((0..dim).map(|_| small(rng.next_u32())).collect())?;
        let payload = bulk_digest(&values.to_le_bytes());
        Ok(Vector { values, payload })
    })
}

#[expect(clippy::as_conversions, reason = "any rounding will do for a made-up update")]
fn small(bits: u32) -> f32 {
    (bits.cast_signed() as f32) * 2f32.powi(-34)
}
