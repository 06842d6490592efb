//! Blinded Pedersen commitments to whole vectors: a site binds itself to an update that stays hidden, and the commitments
//! of many sites add up to commitments to the sum of their updates. Nobody opens them to another vector without computing
//! discrete logarithms. They say nothing about how large a vector is; [`super::NormProof`] does.
//!
//! A vector is cut into rows of one length, each of which is committed to with the same generators under a blinding of its
//! own. More rows cost a site 16 words of its upload, a commitment in its header, and one to decode at everybody who
//! checks; they make the check of a sum cheaper, because all rows are checked as one.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, iter, str, thread};

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use ring::digest::{Context, SHA512};
use serde::{Deserialize, Serialize};

use shared::masking::{BLINDING_WORDS, Layout};

use super::SecretScalar;
use super::element::Element;
use super::multiscalar::{Signed, product, signed_product, small_product};
use super::packing::{pack, pack_wide};
use crate::{CryptoError, random_bytes};

/// Bits of a row's weight where rows are checked as one: at most 2^6 rows of values below 2^31, each times its weight, add
/// up to less than 2^127.
const WEIGHT_BITS: u32 = 88;
const GENERATOR_DOMAIN: &[u8] = b"ringfence commitment generator v1\0";

/// The generators for vectors of one length and layout, 160 bytes each. They come out of a hash, so that nobody knows a
/// relation between them; the blinding's is the group's own generator.
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
        let count = dimensions.div_ceil(layout.rows(dimensions)).div_ceil(layout.slots());
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
        check_range(values, self.layout.largest())?;
        let rows = self.rows_of(values).zip(blindings);
        let point = |(row, blinding): (&[i32], &SecretScalar)| self.row(row) + RistrettoPoint::mul_base(&blinding.0);
        Ok(rows.map(point).map(|point| Commitment(Element::of(point))).collect())
    }

    /// What a row commits to but for its blinding.
    fn row(&self, row: &[i32]) -> RistrettoPoint {
        if self.layout == Layout::Provable {
            return small_product(row, &self.generators);
        }
        let packed: Vec<Signed> = row.chunks(self.layout.slots()).map(|group| pack(self.layout, group)).collect();
        signed_product(&packed, &self.generators)
    }

    /// Checks that the sites' `commitments`, a list of rows from each, add up to the commitments to `sum` under
    /// `blinding_sums`.
    ///
    /// All rows are checked as one, each times a weight that is drawn here: wrong ones pass with a chance of 2^-88, and
    /// whoever made them cannot try, because nobody knows the weights before.
    pub fn verify_sum(
        &self,
        commitments: &[impl AsRef<[Commitment]>],
        sum: &[i32],
        blinding_sums: &[SecretScalar],
    ) -> Result<(), CryptoError> {
        self.check(sum.len(), blinding_sums.len())?;
        let wrong = || CryptoError::WrongSum { commitments: commitments.len() };
        check_range(sum, self.layout.largest()).map_err(|_| wrong())?;
        let mut found = vec![RistrettoPoint::default(); self.rows()];
        for rows in commitments.iter().map(AsRef::as_ref) {
            self.check(self.dimensions, rows.len())?;
            found.iter_mut().zip(rows).for_each(|(sum, commitment)| *sum += commitment.0.point());
        }
        let weights = found.iter().map(|_| Ok(u128::from_le_bytes(*random_bytes()?) >> (u128::BITS - WEIGHT_BITS)));
        let weights: Vec<u128> = weights.collect::<Result<_, CryptoError>>()?;
        let row = self.weighted_rows(sum, &weights);
        let weights: Vec<Scalar> = weights.into_iter().map(Scalar::from).collect();
        let blinding = weights.iter().zip(blinding_sums).map(|(weight, blinding)| weight * blinding.0).sum();
        let fits = row + RistrettoPoint::mul_base(&blinding) == product(&weights, &found);
        fits.then_some(()).ok_or_else(wrong)
    }

    /// What the rows of `values` commit to but for their blindings, each times its weight.
    fn weighted_rows(&self, values: &[i32], weights: &[u128]) -> RistrettoPoint {
        let mut columns = vec![0_i128; self.width()];
        for (row, weight) in self.rows_of(values).zip(weights) {
            let weight = weight.cast_signed();
            columns.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * i128::from(*value));
        }
        if self.layout == Layout::Provable {
            let signed: Vec<Signed> = columns.into_iter().map(Signed::from).collect();
            return signed_product(&signed, &self.generators);
        }
        let groups = columns.chunks(self.layout.slots());
        let scalars: Vec<Scalar> = groups.map(|group| pack_wide(self.layout, group)).collect();
        product(&scalars, &self.generators)
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
}

impl fmt::Debug for CommitmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = f.debug_struct("CommitmentKey");
        key.field("dimensions", &self.dimensions).field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Refuses a value that is larger than `largest` in magnitude.
pub(super) fn check_range(values: &[i32], largest: u32) -> Result<(), CryptoError> {
    let wrong = values.iter().find(|value| value.unsigned_abs() > largest);
    wrong.map_or(Ok(()), |value| Err(CryptoError::Coordinate { value: *value, largest }))
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
    use super::super::CommittedVector;
    use super::*;

    const LAYOUTS: [Layout; 3] = [Layout::Packed24, Layout::Packed32, Layout::Provable];

    /// Values of all sizes that a layout takes, and both signs; sums of four of them fit, too.
    fn vector(layout: Layout, dimensions: usize, seed: u32) -> Vec<i32> {
        let words = iter::successors(Some(seed), |word| Some(word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
        let values = words.skip(1).take(dimensions).map(|word| word.cast_signed() >> (word % 29));
        values.map(|value| value / 4 % (layout.largest() / 4).cast_signed()).collect()
    }

    fn scalar(value: i32) -> Scalar {
        let magnitude = Scalar::from(value.unsigned_abs());
        if value < 0 { -magnitude } else { magnitude }
    }

    /// The definition: every coordinate at its distance times its group's generator, one by one.
    fn naive(layout: Layout, row: &[i32], blinding: &SecretScalar) -> RistrettoPoint {
        let distance = Scalar::from(1_u64 << (8 * layout.slot_bytes()));
        let groups = row.chunks(layout.slots()).zip(0..).map(|(group, index)| {
            let packed = group.iter().rfold(Scalar::ZERO, |sum, value| sum * distance + scalar(*value));
            generator_at(GENERATOR_DOMAIN, index) * packed
        });
        groups.sum::<RistrettoPoint>() + RistrettoPoint::mul_base(&blinding.0)
    }

    fn committed(layout: Layout, values: Vec<i32>) -> (CommitmentKey, CommittedVector, Vec<Commitment>) {
        let key = CommitmentKey::new(values.len(), layout);
        let vector = CommittedVector::new(values, key.rows()).unwrap();
        let commitments = key.commit(&vector.values, &vector.blindings).unwrap();
        (key, vector, commitments)
    }

    #[test]
    fn the_commitments_to_a_vectors_rows_equal_their_definition() {
        for layout in LAYOUTS {
            let largest = layout.largest().cast_signed();
            let extremes = [-largest, largest, 0, -1, 1, -largest, -largest, largest, -1, 0, 0, 0, 0, 0, -largest];
            let vectors = [vec![0; 20], extremes.to_vec(), vec![], vector(layout, 1, 1), vector(layout, 15_000, 3)];
            for values in vectors {
                let (key, vector, commitments) = committed(layout, values);
                assert_eq!(commitments.len(), layout.rows(vector.values.len()));
                for ((commitment, row), blinding) in
                    commitments.iter().zip(key.rows_of(&vector.values)).zip(&vector.blindings)
                {
                    assert_eq!(*commitment.point(), naive(layout, row, blinding), "{layout:?}, {} values", row.len());
                }
            }
        }
    }

    #[test]
    fn a_key_has_a_generator_for_every_group_of_a_row() {
        for (dimensions, counts) in [(0, [0, 0, 0]), (1, [1, 1, 1]), (15, [2, 3, 8]), (100_000, [2000, 2858, 1563])] {
            let count = |layout| CommitmentKey::new(dimensions, layout).generators.len();
            assert_eq!(LAYOUTS.map(count), counts);
        }
    }

    #[test]
    fn rows_add_up_and_a_change_in_any_of_them_is_found() {
        for (layout, dimensions) in LAYOUTS.into_iter().flat_map(|layout| [(layout, 3), (layout, 30_000)]) {
            let sites: Vec<_> = (0..3).map(|seed| committed(layout, vector(layout, dimensions, seed))).collect();
            let (key, rows) = (&sites[0].0, sites[0].0.rows());
            let commitments: Vec<&Vec<Commitment>> = sites.iter().map(|(_, _, commitments)| commitments).collect();
            let mut words = vec![0_u32; dimensions + rows * BLINDING_WORDS];
            for (_, site, _) in &sites {
                words.iter_mut().zip(site.to_words()).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
            }
            let CommittedVector { values: sum, blindings } =
                CommittedVector::from_words(&words, dimensions, rows).unwrap();
            key.verify_sum(&commitments, &sum, &blindings).unwrap();

            for row in 0..rows {
                let mut changed = sum.clone();
                changed[row * key.width()] ^= 1;
                let refused = key.verify_sum(&commitments, &changed, &blindings);
                assert!(matches!(refused, Err(CryptoError::WrongSum { commitments: 3 })), "{layout:?}, row {row}");
                let mut others = blindings.clone();
                others[row] = SecretScalar::random().unwrap();
                assert!(key.verify_sum(&commitments, &sum, &others).is_err(), "{layout:?}, blinding of row {row}");
            }
            assert!(key.verify_sum(&commitments[1..], &sum, &blindings).is_err());
        }
    }

    #[test]
    fn rows_that_are_exchanged_or_missing_are_refused() {
        let (key, site, mut rows) = committed(Layout::Packed24, vector(Layout::Packed24, 20_000, 1));
        key.verify_sum(&[&rows], &site.values, &site.blindings).unwrap();
        rows.swap(0, 1);
        assert!(key.verify_sum(&[&rows], &site.values, &site.blindings).is_err());
        rows.pop();
        let refused = key.verify_sum(&[&rows], &site.values, &site.blindings);
        assert!(matches!(refused, Err(CryptoError::Rows { expected: 2, found: 1 })));
    }

    #[test]
    fn errors_in_two_rows_do_not_make_up_for_each_other() {
        let (key, mut site, commitments) = committed(Layout::Provable, vec![5, 6, 7, 8]);
        site.values[0] += 1;
        site.values[2] -= 1;
        let refused = key.verify_sum(&[commitments], &site.values, &site.blindings);
        assert!(matches!(refused, Err(CryptoError::WrongSum { .. })));
    }

    /// 2^24 in one place is 1 in the next: within the range, only one of the two can be shown.
    #[test]
    fn what_would_run_into_the_next_place_is_neither_committed_to_nor_taken_for_a_sum() {
        let (key, site, commitments) = committed(Layout::Packed24, vec![0, 1]);
        key.verify_sum(&[&commitments], &[0, 1], &site.blindings).unwrap();
        for values in [[1 << 24, 0], [-(1 << 23), 1], [1 << 23, 0]] {
            let refused = key.verify_sum(&[&commitments], &values, &site.blindings);
            assert!(matches!(refused, Err(CryptoError::WrongSum { .. })));
            let refused = key.commit(&values, &site.blindings);
            assert!(matches!(refused, Err(CryptoError::Coordinate { largest: 8_388_607, .. })));
        }
    }

    #[test]
    fn the_largest_values_in_the_most_rows_do_not_wrap() {
        let largest = Layout::Provable.largest().cast_signed();
        let (key, site, commitments) = committed(Layout::Provable, vec![-largest; 1 << 16]);
        assert_eq!(key.rows(), 64);
        key.verify_sum(&[commitments], &site.values, &site.blindings).unwrap();
        let weights = [u128::MAX >> (u128::BITS - WEIGHT_BITS); 64];
        let column = Scalar::from(weights[0]) * Scalar::from(64_u32) * scalar(-largest);
        let all: RistrettoPoint = key.generators.iter().sum();
        assert_eq!(key.weighted_rows(&site.values, &weights), all * column);
    }

    #[test]
    fn two_coordinates_cannot_be_exchanged() {
        let key = CommitmentKey::new(14, Layout::Packed32);
        let blinding = [SecretScalar::random().unwrap()];
        let unit = |place| {
            let mut values = vec![0; 14];
            values[place] = 1;
            key.commit(&values, &blinding).unwrap()[0].to_string()
        };
        let different: std::collections::BTreeSet<_> = (0..14).map(unit).collect();
        assert_eq!(different.len(), 14);
    }

    #[test]
    fn the_blinding_hides_equal_vectors() {
        let commit = || committed(Layout::Packed24, vec![1, 2, 3]).2;
        assert_ne!(commit(), commit());
    }

    #[test]
    fn a_longer_key_begins_like_a_shorter_one() {
        let key = |dimensions| CommitmentKey::new(dimensions, Layout::Packed32);
        assert_eq!(key(70).generators[..3], key(20).generators);
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
        let commitment = committed(Layout::Packed24, vec![5]).2[0];
        assert_eq!(commitment.to_string().parse::<Commitment>().unwrap(), commitment);
        assert_eq!(Commitment::from_bytes(*commitment.as_bytes()).unwrap(), commitment);
    }
}
