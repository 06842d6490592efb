//! Blinded Pedersen commitments to whole vectors: a site binds itself to an update that stays hidden, and the commitments
//! of many sites add up to a commitment to the sum of their updates. Nobody opens them to another vector without computing
//! discrete logarithms. They say nothing about how large a vector is.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, iter, str, thread};

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use ring::digest::{Context, SHA512};
use serde::{Deserialize, Serialize};

use shared::masking::BLINDING_WORDS;

use super::SecretScalar;
use super::element::Element;
use crate::CryptoError;

/// Coordinates that share one generator, 32 bits apart. Any two different groups of them differ as integers below 2^223,
/// so also modulo the group's order, which is above 2^252; and packing is linear as long as sums fit their 32 bits.
const SLOTS: usize = 7;

/// Generators that one multi-scalar multiplication takes: enough to make its buckets worth while, few enough for the cache.
const BATCH: usize = 8192;

const GENERATOR_DOMAIN: &[u8] = b"ringfence commitment generator v1\0";

/// The generators for vectors of one length: 160 bytes for every seven coordinates. They come out of a hash, so that nobody
/// knows a relation between them; the blinding's is the group's own generator.
#[derive(Clone)]
pub struct CommitmentKey {
    dimensions: usize,
    generators: Vec<RistrettoPoint>,
}

impl CommitmentKey {
    /// The key for vectors of `dimensions` coordinates, made on all cores (some 1.4 µs of one core a coordinate): make it
    /// once per model.
    pub fn new(dimensions: usize) -> Self {
        let count = dimensions.div_ceil(SLOTS);
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let share = count.div_ceil(threads).max(1);
        let mut generators = vec![RistrettoPoint::default(); count];
        thread::scope(|scope| {
            for (part, first) in generators.chunks_mut(share).zip((0..).step_by(share)) {
                scope.spawn(move || {
                    part.iter_mut().zip(first..).for_each(|(generator, index)| *generator = generator_at(index));
                });
            }
        });
        Self { dimensions, generators }
    }

    /// The key for vectors of `dimensions` coordinates, made at its first use in this process and shared from then on: it
    /// holds no secret. The one of the length used last is kept.
    pub fn shared(dimensions: usize) -> Arc<Self> {
        static LAST: Mutex<Option<Arc<CommitmentKey>>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(key) if key.dimensions == dimensions => Arc::clone(key),
            _ => Arc::clone(last.insert(Arc::new(Self::new(dimensions)))),
        }
    }

    /// How many coordinates a vector has.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The commitment to `values` under `blinding`, which must be uniform and new.
    ///
    /// How long it takes depends on the values, so it is computed where they lie and never on request of somebody else.
    pub fn commit(&self, values: &[i32], blinding: &SecretScalar) -> Result<Commitment, CryptoError> {
        Ok(Commitment(Element::of(self.point(values, blinding)?)))
    }

    /// Checks that `commitments` add up to the commitment to `sum` under `blinding_sum`.
    pub fn verify_sum(
        &self,
        commitments: &[Commitment],
        sum: &[i32],
        blinding_sum: &SecretScalar,
    ) -> Result<(), CryptoError> {
        let expected = self.point(sum, blinding_sum)?;
        let found: RistrettoPoint = commitments.iter().map(|commitment| commitment.0.point()).sum();
        (found == expected).then_some(()).ok_or(CryptoError::WrongSum { commitments: commitments.len() })
    }

    fn point(&self, values: &[i32], blinding: &SecretScalar) -> Result<RistrettoPoint, CryptoError> {
        if values.len() != self.dimensions {
            return Err(CryptoError::Dimensions { expected: self.dimensions, found: values.len() });
        }
        let batches = values.chunks(BATCH * SLOTS).zip(self.generators.chunks(BATCH));
        let batches = batches.map(|(values, generators)| {
            let packed: Vec<Packed> = values.chunks(SLOTS).map(Packed::new).collect();
            let points = packed.iter().zip(generators).map(|(packed, generator)| packed.signed(generator));
            RistrettoPoint::vartime_multiscalar_mul(packed.iter().map(|packed| packed.magnitude), points)
        });
        Ok(batches.chain(iter::once(RistrettoPoint::mul_base(&blinding.0))).sum())
    }
}

impl fmt::Debug for CommitmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitmentKey").field("dimensions", &self.dimensions).finish_non_exhaustive()
    }
}

/// RFC 9496, section 4.3.4, over SHA-512 of the domain and the index (8 bytes, big-endian).
fn generator_at(index: u64) -> RistrettoPoint {
    let mut context = Context::new(&SHA512);
    context.update(GENERATOR_DOMAIN);
    context.update(&index.to_be_bytes());
    let mut uniform = [0; 64];
    uniform.copy_from_slice(context.finish().as_ref());
    RistrettoPoint::from_uniform_bytes(&uniform)
}

/// Up to [`SLOTS`] coordinates as one integer, by sign and magnitude. A small negative integer would be a large scalar; a
/// small magnitude leaves most signed digits zero, and Pippenger's method skips those.
struct Packed {
    negative: bool,
    magnitude: Scalar,
}

impl Packed {
    fn new(values: &[i32]) -> Self {
        let negative = values.iter().rev().find(|value| **value != 0).is_some_and(|value| *value < 0);
        let mut bytes = [0; 32];
        let mut carry = 0;
        for (word, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            let value = if negative { -i64::from(*value) } else { i64::from(*value) };
            let [a, b, c, d, ..] = value.wrapping_add(carry).to_le_bytes();
            *word = [a, b, c, d];
            carry = value.wrapping_add(carry) >> 32;
        }
        Self { negative, magnitude: Scalar::from_bytes_mod_order(bytes) }
    }

    fn signed(&self, generator: &RistrettoPoint) -> RistrettoPoint {
        if self.negative { -generator } else { *generator }
    }
}

/// A commitment to a vector, written as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Commitment(Element);

impl Commitment {
    /// The commitment with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, CryptoError> {
        Element::from_bytes(bytes).map(Self)
    }

    /// The commitment's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl str::FromStr for Commitment {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A blinding as words to be masked and added up like an update's own.
pub fn blinding_words(blinding: &SecretScalar) -> [u32; BLINDING_WORDS] {
    let mut words = [0; BLINDING_WORDS];
    let bytes = blinding.to_bytes();
    for (word, limb) in words.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *word = u32::from(u16::from_le_bytes(*limb));
    }
    words
}

/// The sum of the blindings whose words add up to `sums`; of at most 2^16 blindings.
pub fn blinding_from_sums(sums: &[u32; BLINDING_WORDS]) -> SecretScalar {
    let base = Scalar::from(1_u32 << 16);
    SecretScalar(sums.iter().rfold(Scalar::ZERO, |sum, limb| sum * base + Scalar::from(*limb)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of all sizes and both signs.
    fn vector(dimensions: usize, seed: u32) -> Vec<i32> {
        let words = iter::successors(Some(seed), |word| Some(word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
        words.skip(1).take(dimensions).map(|word| word.cast_signed() >> (word % 29 + 2)).collect()
    }

    fn scalar(value: i32) -> Scalar {
        let magnitude = Scalar::from(value.unsigned_abs());
        if value < 0 { -magnitude } else { magnitude }
    }

    /// The definition: every coordinate times 2^(32 slot) times its group's generator, one by one.
    fn naive(values: &[i32], blinding: &SecretScalar) -> RistrettoPoint {
        let groups = values.chunks(SLOTS).zip(0..).map(|(group, index)| {
            let shift = Scalar::from(1_u64 << 32);
            let packed = group.iter().rfold(Scalar::ZERO, |sum, value| sum * shift + scalar(*value));
            generator_at(index) * packed
        });
        groups.sum::<RistrettoPoint>() + RistrettoPoint::mul_base(&blinding.0)
    }

    #[test]
    fn a_commitment_equals_its_definition() {
        let extremes = [i32::MIN, i32::MAX, 0, -1, 1, i32::MIN, i32::MIN, i32::MAX, -1, 0, 0, 0, 0, 0, i32::MIN];
        let sides = [vec![0; 20], extremes.to_vec(), vector(1, 1), vector(500, 2), vector(3000, 3)];
        for values in sides {
            let blinding = SecretScalar::random().unwrap();
            let commitment = CommitmentKey::new(values.len()).commit(&values, &blinding).unwrap();
            assert_eq!(*commitment.0.point(), naive(&values, &blinding), "{} coordinates", values.len());
        }
    }

    #[test]
    fn commitments_over_several_batches_add_up() {
        let dimensions = BATCH * SLOTS + 10;
        let key = CommitmentKey::new(dimensions);
        let updates: Vec<_> = (0..3).map(|seed| vector(dimensions, seed)).collect();
        let updates: Vec<Vec<i32>> =
            updates.into_iter().map(|update| update.into_iter().map(|value| value / 4).collect()).collect();
        let blindings: Vec<_> = (0..3).map(|_| SecretScalar::random().unwrap()).collect();
        let commitments: Vec<_> =
            updates.iter().zip(&blindings).map(|(update, blinding)| key.commit(update, blinding).unwrap()).collect();
        let mut sum = vec![0; dimensions];
        updates.iter().for_each(|update| sum.iter_mut().zip(update).for_each(|(sum, value)| *sum += value));
        let mut words = [0; BLINDING_WORDS];
        for blinding in &blindings {
            words.iter_mut().zip(blinding_words(blinding)).for_each(|(sum, word)| *sum += word);
        }
        let blinding = blinding_from_sums(&words);
        key.verify_sum(&commitments, &sum, &blinding).unwrap();

        let refused = |commitments: &[Commitment], sum: &[i32], blinding: &SecretScalar| {
            matches!(key.verify_sum(commitments, sum, blinding), Err(CryptoError::WrongSum { .. }))
        };
        let mut changed = sum.clone();
        changed[dimensions - 1] ^= 1;
        assert!(refused(&commitments, &changed, &blinding));
        assert!(refused(&commitments[1..], &sum, &blinding));
        assert!(refused(&commitments, &sum, &blindings[0]));
    }

    #[test]
    fn two_coordinates_cannot_be_exchanged() {
        let key = CommitmentKey::new(14);
        let blinding = SecretScalar::random().unwrap();
        let committed: Vec<_> = (0..14)
            .map(|place| {
                let mut values = vec![0; 14];
                values[place] = 1;
                key.commit(&values, &blinding).unwrap().to_string()
            })
            .collect();
        let different: std::collections::BTreeSet<_> = committed.iter().collect();
        assert_eq!(different.len(), 14);
    }

    #[test]
    fn the_blinding_hides_equal_vectors() {
        let key = CommitmentKey::new(3);
        let commit = || key.commit(&[1, 2, 3], &SecretScalar::random().unwrap()).unwrap();
        assert_ne!(commit(), commit());
    }

    #[test]
    fn a_longer_key_begins_like_a_shorter_one() {
        assert_eq!(CommitmentKey::new(70).generators[..3], CommitmentKey::new(20).generators);
        assert!(CommitmentKey::new(0).commit(&[], &SecretScalar::random().unwrap()).is_ok());
    }

    #[test]
    fn vectors_of_another_length_are_refused() {
        let blinding = SecretScalar::random().unwrap();
        let refused = CommitmentKey::new(8).commit(&[0; 9], &blinding);
        assert!(matches!(refused, Err(CryptoError::Dimensions { expected: 8, found: 9 })));
    }

    #[test]
    fn a_thousand_largest_blindings_add_up_in_their_words() {
        let largest = SecretScalar(-Scalar::ONE);
        let sums = blinding_words(&largest).map(|word| word * 1000);
        assert_eq!(blinding_from_sums(&sums), SecretScalar(-Scalar::from(1000_u32)));
    }

    #[test]
    fn a_commitment_is_read_as_it_is_written() {
        let commitment = CommitmentKey::new(1).commit(&[5], &SecretScalar::random().unwrap()).unwrap();
        assert_eq!(commitment.to_string().parse::<Commitment>().unwrap(), commitment);
        assert_eq!(Commitment::from_bytes(*commitment.as_bytes()).unwrap(), commitment);
    }
}
