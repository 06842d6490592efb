//! Blinded Pedersen commitments to whole vectors: a site binds itself to an update that stays hidden, and the commitments
//! of many sites add up to a commitment to the sum of their updates. Nobody opens them to another vector without computing
//! discrete logarithms. They say nothing about how large a vector is; [`super::NormProof`] does.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, iter, str, thread};

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use ring::digest::{Context, SHA512};
use serde::{Deserialize, Serialize};

use shared::masking::{BLINDING_WORDS, Layout};

use super::SecretScalar;
use super::element::Element;
use super::scalar::signed;
use crate::{CryptoError, random_bytes};

/// Coordinates that share one generator, 32 bits apart. Any two different groups of them differ as integers below 2^223,
/// so also modulo the group's order, which is above 2^252; and packing is linear as long as sums fit their 32 bits.
const SLOTS: usize = 7;

/// Generators that one multi-scalar multiplication takes: enough to make its buckets worth while, few enough for the cache.
const BATCH: usize = 8192;

const GENERATOR_DOMAIN: &[u8] = b"ringfence commitment generator v1\0";

/// How many coordinates of a row share a generator.
fn slots(layout: Layout) -> usize {
    match layout {
        Layout::Packed => SLOTS,
        Layout::Provable => 1,
    }
}

/// The generators for vectors of one length and layout, 160 bytes each: for every seven coordinates, or for every one of a
/// row. They come out of a hash, so that nobody knows a relation between them; the blinding's is the group's own generator.
#[derive(Clone)]
pub struct CommitmentKey {
    dimensions: usize,
    layout: Layout,
    generators: Vec<RistrettoPoint>,
}

impl CommitmentKey {
    /// The key for vectors of `dimensions` coordinates, made on all cores (some 10 µs of one core a generator): make it
    /// once per model.
    pub fn new(dimensions: usize, layout: Layout) -> Self {
        let count = dimensions.div_ceil(layout.rows(dimensions)).div_ceil(slots(layout));
        Self { dimensions, layout, generators: generators(GENERATOR_DOMAIN, count) }
    }

    /// The key for vectors of `dimensions` coordinates, made at its first use in this process and shared from then on: it
    /// holds no secret. The one used last is kept.
    pub fn shared(dimensions: usize, layout: Layout) -> Arc<Self> {
        static LAST: Mutex<Option<Arc<CommitmentKey>>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(key) if key.dimensions == dimensions && key.layout == layout => Arc::clone(key),
            _ => Arc::clone(last.insert(Arc::new(Self::new(dimensions, layout)))),
        }
    }

    /// How many coordinates a vector has.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// How a vector is committed to.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many commitments a vector has, and as many blindings.
    pub fn rows(&self) -> usize {
        self.layout.rows(self.dimensions)
    }

    /// How many coordinates a row has; the last row ends in zeros where the vector does not fill it.
    pub fn width(&self) -> usize {
        self.dimensions.div_ceil(self.rows())
    }

    pub(super) fn generators(&self) -> &[RistrettoPoint] {
        &self.generators
    }

    /// The commitments to the rows of `values` under `blindings`, each of which must be uniform and new.
    ///
    /// How long it takes depends on the values, so it is computed where they lie and never on request of somebody else.
    pub fn commit(&self, values: &[i32], blindings: &[SecretScalar]) -> Result<Vec<Commitment>, CryptoError> {
        self.check(values.len(), blindings.len())?;
        let rows = self.rows_of(values).zip(blindings);
        Ok(rows.map(|(row, blinding)| Commitment(Element::of(self.point(row, blinding)))).collect())
    }

    /// Checks that the sites' `commitments`, a list of rows from each, add up to the commitments to `sum` under
    /// `blinding_sums`.
    ///
    /// Several rows are checked as one, each times a random weight of 128 bits: wrong ones pass with a chance of 2^-128.
    pub fn verify_sum(
        &self,
        commitments: &[impl AsRef<[Commitment]>],
        sum: &[i32],
        blinding_sums: &[SecretScalar],
    ) -> Result<(), CryptoError> {
        self.check(sum.len(), blinding_sums.len())?;
        let mut found = vec![RistrettoPoint::default(); self.rows()];
        for rows in commitments.iter().map(AsRef::as_ref) {
            self.check(self.dimensions, rows.len())?;
            found.iter_mut().zip(rows).for_each(|(sum, commitment)| *sum += commitment.0.point());
        }
        let fits = match (found.as_slice(), blinding_sums) {
            ([found], [blinding]) => self.point(sum, blinding) == *found,
            _ => self.weighted_difference(&found, sum, blinding_sums)? == RistrettoPoint::default(),
        };
        fits.then_some(()).ok_or(CryptoError::WrongSum { commitments: commitments.len() })
    }

    pub(super) fn check(&self, dimensions: usize, rows: usize) -> Result<(), CryptoError> {
        if dimensions != self.dimensions {
            return Err(CryptoError::Dimensions { expected: self.dimensions, found: dimensions });
        }
        let expected = self.rows();
        (rows == expected).then_some(()).ok_or(CryptoError::Rows { expected, found: rows })
    }

    /// A vector's rows, the last ones shorter where it does not fill them.
    pub(super) fn rows_of<'a>(&self, values: &'a [i32]) -> impl Iterator<Item = &'a [i32]> {
        values.chunks(self.width().max(1)).chain(iter::repeat(Default::default())).take(self.rows())
    }

    fn point(&self, row: &[i32], blinding: &SecretScalar) -> RistrettoPoint {
        let slots = slots(self.layout);
        let batches = row.chunks(BATCH.saturating_mul(slots)).zip(self.generators.chunks(BATCH));
        let batches = batches.map(|(values, generators)| {
            let packed: Vec<Packed> = values.chunks(slots).map(Packed::new).collect();
            let points = packed.iter().zip(generators).map(|(packed, generator)| packed.signed(generator));
            RistrettoPoint::vartime_multiscalar_mul(packed.iter().map(|packed| packed.magnitude), points)
        });
        batches.chain(iter::once(RistrettoPoint::mul_base(&blinding.0))).sum()
    }

    /// What the rows of `sum` commit to less the `found` points, each row times a random weight.
    fn weighted_difference(
        &self,
        found: &[RistrettoPoint],
        sum: &[i32],
        blinding_sums: &[SecretScalar],
    ) -> Result<RistrettoPoint, CryptoError> {
        let mut columns = vec![[0_i128; 2]; self.width()];
        let mut weights = Vec::with_capacity(found.len());
        let mut blinding = Scalar::ZERO;
        for (row, row_blinding) in self.rows_of(sum).zip(blinding_sums) {
            let bytes = random_bytes::<16>()?;
            let halves = bytes.as_chunks::<8>().0.iter().map(|half| i128::from(u64::from_le_bytes(*half)));
            for (half, place) in halves.zip([0, 1]) {
                for (column, value) in columns.iter_mut().zip(row) {
                    // Below 2^64 · 2^31 · 64 rows.
                    column.iter_mut().skip(place).take(1).for_each(|sum| *sum += half * i128::from(*value));
                }
            }
            let weight = Scalar::from(u128::from_le_bytes(*bytes));
            blinding += weight * row_blinding.0;
            weights.push(-weight);
        }
        let half = Scalar::from(1_u128 << 64);
        let scalars: Vec<Scalar> = columns.iter().map(|[low, high]| signed(*low) + signed(*high) * half).collect();
        Ok(product(&scalars, &self.generators) + product(&weights, found) + RISTRETTO_BASEPOINT_POINT * blinding)
    }
}

impl fmt::Debug for CommitmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = f.debug_struct("CommitmentKey");
        key.field("dimensions", &self.dimensions).field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The sum of the points, each times its scalar, in a time that depends on the scalars.
pub(super) fn product(scalars: &[Scalar], points: &[RistrettoPoint]) -> RistrettoPoint {
    let batches = scalars.chunks(BATCH).zip(points.chunks(BATCH));
    batches.map(|(scalars, points)| RistrettoPoint::vartime_multiscalar_mul(scalars, points)).sum()
}

/// The first `count` generators of a domain, made on all cores.
pub(super) fn generators(domain: &[u8], count: usize) -> Vec<RistrettoPoint> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = count.div_ceil(threads).max(1);
    let mut generators = vec![RistrettoPoint::default(); count];
    thread::scope(|scope| {
        for (part, first) in generators.chunks_mut(share).zip((0..).step_by(share)) {
            scope.spawn(move || {
                part.iter_mut().zip(first..).for_each(|(generator, index)| *generator = generator_at(domain, index));
            });
        }
    });
    generators
}

/// RFC 9496, section 4.3.4, over SHA-512 of the domain and the index (8 bytes, big-endian).
fn generator_at(domain: &[u8], index: u64) -> RistrettoPoint {
    let mut context = Context::new(&SHA512);
    context.update(domain);
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

    pub(super) fn point(&self) -> &RistrettoPoint {
        self.0.point()
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
    use std::slice;

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
            generator_at(GENERATOR_DOMAIN, index) * packed
        });
        groups.sum::<RistrettoPoint>() + RistrettoPoint::mul_base(&blinding.0)
    }

    fn one(key: &CommitmentKey, values: &[i32], blinding: &SecretScalar) -> Commitment {
        key.commit(values, slice::from_ref(blinding)).unwrap()[0]
    }

    #[test]
    fn a_commitment_equals_its_definition() {
        let extremes = [i32::MIN, i32::MAX, 0, -1, 1, i32::MIN, i32::MIN, i32::MAX, -1, 0, 0, 0, 0, 0, i32::MIN];
        let sides = [vec![0; 20], extremes.to_vec(), vector(1, 1), vector(500, 2), vector(3000, 3)];
        for values in sides {
            let blinding = SecretScalar::random().unwrap();
            let commitment = one(&CommitmentKey::new(values.len(), Layout::Packed), &values, &blinding);
            assert_eq!(*commitment.0.point(), naive(&values, &blinding), "{} coordinates", values.len());
        }
    }

    #[test]
    fn commitments_over_several_batches_add_up() {
        let dimensions = BATCH * SLOTS + 10;
        let key = CommitmentKey::new(dimensions, Layout::Packed);
        let updates: Vec<_> = (0..3).map(|seed| vector(dimensions, seed)).collect();
        let updates: Vec<Vec<i32>> =
            updates.into_iter().map(|update| update.into_iter().map(|value| value / 4).collect()).collect();
        let blindings: Vec<_> = (0..3).map(|_| SecretScalar::random().unwrap()).collect();
        let commitments: Vec<_> =
            updates.iter().zip(&blindings).map(|(update, blinding)| [one(&key, update, blinding)]).collect();
        let mut sum = vec![0; dimensions];
        updates.iter().for_each(|update| sum.iter_mut().zip(update).for_each(|(sum, value)| *sum += value));
        let mut words = [0; BLINDING_WORDS];
        for blinding in &blindings {
            words.iter_mut().zip(blinding_words(blinding)).for_each(|(sum, word)| *sum += word);
        }
        let blinding = blinding_from_sums(&words);
        key.verify_sum(&commitments, &sum, slice::from_ref(&blinding)).unwrap();

        let refused = |commitments: &[[Commitment; 1]], sum: &[i32], blinding: &SecretScalar| {
            matches!(key.verify_sum(commitments, sum, slice::from_ref(blinding)), Err(CryptoError::WrongSum { .. }))
        };
        let mut changed = sum.clone();
        changed[dimensions - 1] ^= 1;
        assert!(refused(&commitments, &changed, &blinding));
        assert!(refused(&commitments[1..], &sum, &blinding));
        assert!(refused(&commitments, &sum, &blindings[0]));
    }

    #[test]
    fn each_row_is_committed_to_with_the_same_generators() {
        for (dimensions, rows, width) in [(0, 2, 0), (1, 2, 1), (7, 2, 4), (3000, 13, 231), (100_000, 64, 1563)] {
            let key = CommitmentKey::new(dimensions, Layout::Provable);
            assert_eq!((key.rows(), key.width(), key.generators.len()), (rows, width, width));
        }
        let key = CommitmentKey::new(7, Layout::Provable);
        let values = [i32::MIN, i32::MAX, -1, 0, 5, 6, -7];
        let blindings = [(); 2].map(|()| SecretScalar::random().unwrap());
        let naive = |row: &[i32], blinding: &SecretScalar| {
            let points =
                row.iter().zip(0..).map(|(value, index)| generator_at(GENERATOR_DOMAIN, index) * scalar(*value));
            points.sum::<RistrettoPoint>() + RistrettoPoint::mul_base(&blinding.0)
        };
        let commitments = key.commit(&values, &blindings).unwrap();
        assert_eq!(*commitments[0].point(), naive(&values[..4], &blindings[0]));
        assert_eq!(*commitments[1].point(), naive(&values[4..], &blindings[1]));
    }

    #[test]
    fn rows_add_up_and_a_change_in_any_of_them_is_found() {
        let dimensions = 1000;
        let key = CommitmentKey::new(dimensions, Layout::Provable);
        let updates: Vec<Vec<i32>> =
            (0..3).map(|seed| vector(dimensions, seed).into_iter().map(|value| value / 4).collect()).collect();
        let blindings = || -> Vec<_> { (0..key.rows()).map(|_| SecretScalar::random().unwrap()).collect() };
        let blindings: Vec<Vec<SecretScalar>> = (0..3).map(|_| blindings()).collect();
        let sites = updates.iter().zip(&blindings);
        let commitments: Vec<_> = sites.map(|(update, blindings)| key.commit(update, blindings).unwrap()).collect();
        let mut sum = vec![0; dimensions];
        updates.iter().for_each(|update| sum.iter_mut().zip(update).for_each(|(sum, value)| *sum += value));
        let blinding_sum = |row: usize| SecretScalar(blindings.iter().map(|blindings| blindings[row].0).sum());
        let blinding_sums: Vec<_> = (0..key.rows()).map(blinding_sum).collect();
        key.verify_sum(&commitments, &sum, &blinding_sums).unwrap();

        for row in 0..key.rows() {
            let mut changed = sum.clone();
            changed[row * key.width()] ^= 1;
            let refused = key.verify_sum(&commitments, &changed, &blinding_sums);
            assert!(matches!(refused, Err(CryptoError::WrongSum { commitments: 3 })), "row {row}");
            let mut others = blinding_sums.clone();
            others[row] = SecretScalar::random().unwrap();
            assert!(key.verify_sum(&commitments, &sum, &others).is_err(), "blinding of row {row}");
        }
        let mut exchanged = commitments.clone();
        exchanged[0].swap(0, 1);
        assert!(key.verify_sum(&exchanged, &sum, &blinding_sums).is_err());
        assert!(key.verify_sum(&commitments[1..], &sum, &blinding_sums).is_err());
        exchanged[0].pop();
        let refused = key.verify_sum(&exchanged, &sum, &blinding_sums);
        assert!(matches!(refused, Err(CryptoError::Rows { expected: 7, found: 6 })));
    }

    #[test]
    fn two_coordinates_cannot_be_exchanged() {
        let key = CommitmentKey::new(14, Layout::Packed);
        let blinding = SecretScalar::random().unwrap();
        let committed: Vec<_> = (0..14)
            .map(|place| {
                let mut values = vec![0; 14];
                values[place] = 1;
                one(&key, &values, &blinding).to_string()
            })
            .collect();
        let different: std::collections::BTreeSet<_> = committed.iter().collect();
        assert_eq!(different.len(), 14);
    }

    #[test]
    fn the_blinding_hides_equal_vectors() {
        let key = CommitmentKey::new(3, Layout::Packed);
        let commit = || one(&key, &[1, 2, 3], &SecretScalar::random().unwrap());
        assert_ne!(commit(), commit());
    }

    #[test]
    fn a_longer_key_begins_like_a_shorter_one() {
        let key = |dimensions| CommitmentKey::new(dimensions, Layout::Packed);
        assert_eq!(key(70).generators[..3], key(20).generators);
        assert!(key(0).commit(&[], &[SecretScalar::random().unwrap()]).is_ok());
    }

    #[test]
    fn vectors_of_another_length_are_refused() {
        let blindings = vec![SecretScalar::random().unwrap(); 2];
        let key = CommitmentKey::new(8, Layout::Provable);
        let refused = key.commit(&[0; 9], &blindings);
        assert!(matches!(refused, Err(CryptoError::Dimensions { expected: 8, found: 9 })));
        let refused = key.commit(&[0; 8], &blindings[1..]);
        assert!(matches!(refused, Err(CryptoError::Rows { expected: 2, found: 1 })));
    }

    #[test]
    fn a_thousand_largest_blindings_add_up_in_their_words() {
        let largest = SecretScalar(-Scalar::ONE);
        let sums = blinding_words(&largest).map(|word| word * 1000);
        assert_eq!(blinding_from_sums(&sums), SecretScalar(-Scalar::from(1000_u32)));
    }

    #[test]
    fn a_commitment_is_read_as_it_is_written() {
        let commitment = one(&CommitmentKey::new(1, Layout::Packed), &[5], &SecretScalar::random().unwrap());
        assert_eq!(commitment.to_string().parse::<Commitment>().unwrap(), commitment);
        assert_eq!(Commitment::from_bytes(*commitment.as_bytes()).unwrap(), commitment);
    }
}
