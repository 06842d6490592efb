//! Random projections of a vector: its inner products with 256 rows of signs that follow from a seed, and the combinations
//! of those rows. Whoever knows the seed has the same signs; they say something of a vector only if the seed is drawn once
//! the vector is fixed.

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::{MASK_BLOCK_WORDS, Seed};

/// How many projections there are.
pub(super) const PROJECTIONS: usize = 256;
/// The largest absolute value of a vector's coordinates, and of a direction's.
pub(super) const MAX_COORDINATE: u32 = 1 << 15;

/// What the signs are derived for.
const INFO: &[u8] = b"ringfence/v1/projections";
/// A coordinate's signs, one bit for each projection.
const SIGN_BYTES: usize = PROJECTIONS / 8;
const SIGN_WORDS: usize = SIGN_BYTES / 4;
/// The sums of eight signed numbers.
const TABLE: usize = 256;
/// Bits of a weight that [`Combination`] adds up together.
const PART_BITS: u32 = 44;

type Signs = [u8; SIGN_BYTES];

/// A combination's coefficient at one coordinate: a number below 2^145, in limbs of 29 bits from the lowest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide(pub(super) [u32; Wide::LIMBS]);

impl Wide {
    pub(super) const LIMBS: usize = 5;
    pub(super) const LIMB_BITS: u32 = 29;

    /// Of parts [`PART_BITS`] apart, each below 2^62.
    fn of([low, middle, high]: [u64; 3]) -> Self {
        let low = u128::from(low) + (u128::from(middle) << PART_BITS);
        let rest = (low >> (3 * Self::LIMB_BITS)) + (u128::from(high) << (2 * PART_BITS - 3 * Self::LIMB_BITS));
        let limb = |number: u128, place: u32| {
            let [a, b, c, d, ..] = ((number >> (place * Self::LIMB_BITS)) & ((1 << Self::LIMB_BITS) - 1)).to_le_bytes();
            u32::from_le_bytes([a, b, c, d])
        };
        Self([limb(low, 0), limb(low, 1), limb(low, 2), limb(rest, 0), limb(rest, 1)])
    }
}

/// 256 rows of signs over as many coordinates as are asked for: a coordinate has 32 bytes of the seed's stream, and
/// projection t takes it as it is where bit t of them is set, counted from the lowest of the first byte, and else negated.
pub(super) struct Projections(Seed);

impl Projections {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        Self(Seed::derive(seed, INFO))
    }

    /// The signs of all coordinates, in blocks.
    fn blocks(&self) -> impl Iterator<Item = Vec<Signs>> {
        (0..).step_by(MASK_BLOCK_WORDS).map(|first| {
            let mut words = vec![0; MASK_BLOCK_WORDS];
            self.0.add_mask(first, &mut words);
            words.as_chunks::<SIGN_WORDS>().0.iter().map(signs).collect()
        })
    }

    /// The projections of `values`, in the same time for all values.
    ///
    /// Eight coordinates at a time, whose 256 signed sums are looked up (Arlazarov, Dinic, Kronrod and Faradžev 1970).
    pub(super) fn project(&self, values: &[i32]) -> Zeroizing<Vec<i64>> {
        let mut projected = Zeroizing::new(vec![0; PROJECTIONS]);
        for (values, signs) in values.chunks(MASK_BLOCK_WORDS / SIGN_WORDS).zip(self.blocks()) {
            for (values, signs) in values.chunks(8).zip(signs.as_chunks::<8>().0) {
                let sums = signed_sums(values);
                for (place, projected) in projected.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                    let bytes = signs.each_ref().map(|signs| signs.get(place).copied().unwrap_or_default());
                    let by_projection = transposed(u64::from_le_bytes(bytes)).to_le_bytes();
                    for (sum, index) in projected.iter_mut().zip(by_projection) {
                        *sum += sums.get(usize::from(index)).copied().unwrap_or_default();
                    }
                }
            }
        }
        projected
    }

    /// The rows of signs added up, each times its weight, and a direction times its own weight, at `count` coordinates;
    /// every coefficient with [`Combination::offset`] added, so that it is no negative number.
    pub(super) fn combine(&self, combination: &Combination<'_>, count: usize) -> Vec<Wide> {
        let tables: Vec<Vec<[u64; 3]>> = combination.weights.chunks(8).map(double_sums).collect();
        let direction = combination.direction.iter().copied().chain(std::iter::repeat(0));
        let direction_weight = parts(combination.direction_weight);
        let signs = self.blocks().flatten().zip(direction).take(count);
        let coefficient = |(signs, direction): (Signs, i32)| {
            let direction = u64::from(direction.wrapping_add_unsigned(MAX_COORDINATE).cast_unsigned());
            let mut sums = direction_weight.map(|part| part * direction);
            for (table, index) in tables.iter().zip(signs) {
                let added = table.get(usize::from(index)).copied().unwrap_or_default();
                sums.iter_mut().zip(added).for_each(|(sum, part)| *sum += part);
            }
            Wide::of(sums)
        };
        signs.map(coefficient).collect()
    }
}

/// What of the projections and the direction is added up.
pub(super) struct Combination<'a> {
    /// Of each projection.
    pub(super) weights: Vec<u128>,
    /// Of the direction; zero where there is none.
    pub(super) direction_weight: u128,
    /// The direction, no coordinate of which is above [`MAX_COORDINATE`].
    pub(super) direction: &'a [i32],
}

impl Combination<'_> {
    /// What [`Projections::combine`] adds to every coefficient.
    pub(super) fn offset(&self) -> Scalar {
        let direction = Scalar::from(self.direction_weight) * Scalar::from(MAX_COORDINATE);
        self.weights.iter().map(|weight| Scalar::from(*weight)).sum::<Scalar>() + direction
    }
}

fn signs(words: &[u32; SIGN_WORDS]) -> Signs {
    let mut signs = [0; SIGN_BYTES];
    let bytes = signs.as_chunks_mut::<4>().0.iter_mut();
    bytes.zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
    signs
}

/// The sums of up to eight values for every choice of signs: value b is added where bit b is set, and else taken off.
fn signed_sums(values: &[i32]) -> Zeroizing<[i64; TABLE]> {
    let mut sums = Zeroizing::new([-values.iter().map(|value| i64::from(*value)).sum::<i64>(); TABLE]);
    let mut known = 1;
    for value in values.iter().copied().chain(std::iter::repeat(0)).take(8) {
        let (old, new) = sums.split_at_mut(known);
        new.iter_mut().zip(old).for_each(|(new, old)| *new = *old + 2 * i64::from(value));
        known *= 2;
    }
    sums
}

/// The doubled sums of those of eight weights whose bit is set.
fn double_sums(weights: &[u128]) -> Vec<[u64; 3]> {
    let mut sums = vec![[0; 3]];
    for weight in weights.iter().take(8) {
        let part = parts(*weight);
        let with = |[a, b, c]: &[u64; 3]| {
            let [x, y, z] = part;
            [a + 2 * x, b + 2 * y, c + 2 * z]
        };
        sums.extend(sums.iter().map(with).collect::<Vec<_>>());
    }
    sums
}

/// A weight in parts of [`PART_BITS`] bits, so that hundreds of them add up without a carry.
fn parts(weight: u128) -> [u64; 3] {
    let part = |place: u32| {
        let [a, b, c, d, e, f, g, h, ..] = ((weight >> (place * PART_BITS)) & ((1 << PART_BITS) - 1)).to_le_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    [part(0), part(1), part(2)]
}

/// A matrix of 8 × 8 bits transposed (Warren 2013, "Hacker's Delight", section 7-3).
fn transposed(mut bits: u64) -> u64 {
    for (shift, mask) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)] {
        let swapped = (bits ^ (bits >> shift)) & mask;
        bits ^= swapped ^ (swapped << shift);
    }
    bits
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "statistics of small numbers")]
mod tests {
    use super::*;

    fn projections(seed: u8) -> Projections {
        Projections::new(&[seed; 32])
    }

    fn vector(count: usize) -> Vec<i32> {
        let extremes = [1 << 15, -(1 << 15), 0, 1, -1];
        extremes
            .into_iter()
            .cycle()
            .zip(0..)
            .map(|(value, place): (i32, i32)| (value + place * 7919) % 32_768)
            .take(count)
            .collect()
    }

    /// The signs by the definition: coordinates in rows, projections in columns.
    fn matrix(projections: &Projections, count: usize) -> Vec<Vec<i64>> {
        let sign = |signs: &Signs, t: usize| if (signs[t / 8] >> (t % 8)) & 1 == 1 { 1 } else { -1 };
        let signs = projections.blocks().flatten().take(count);
        signs.map(|signs| (0..PROJECTIONS).map(|t| sign(&signs, t)).collect()).collect()
    }

    #[test]
    fn projections_equal_their_definition() {
        for count in [0, 1, 7, 8, 9, 511, 513, 3000] {
            let (projections, values) = (projections(1), vector(count));
            let matrix = matrix(&projections, count);
            let expected: Vec<i64> = (0..PROJECTIONS)
                .map(|t| matrix.iter().zip(&values).map(|(signs, value)| signs[t] * i64::from(*value)).sum())
                .collect();
            assert_eq!(*projections.project(&values), expected, "{count} coordinates");
        }
    }

    #[test]
    fn combinations_equal_their_definition() {
        let weights: Vec<u128> = (0..256).map(|t: u128| if t < 9 { u128::MAX } else { u128::MAX / (t + 1) }).collect();
        let direction = vector(600);
        for (direction, direction_weight) in [(direction.as_slice(), u128::MAX), (&[], 0)] {
            let combination = Combination { weights: weights.clone(), direction_weight, direction };
            let coefficients = projections(2).combine(&combination, 700);
            let signed = |value: i64| crate::masking::scalar::signed(i128::from(value));
            for (place, (signs, Wide(limbs))) in matrix(&projections(2), 700).iter().zip(coefficients).enumerate() {
                let of_signs: Scalar = signs.iter().zip(&weights).map(|(s, w)| signed(*s) * Scalar::from(*w)).sum();
                let of_direction = i64::from(direction.get(place).copied().unwrap_or_default());
                let expected = of_signs + signed(of_direction) * Scalar::from(direction_weight) + combination.offset();
                let base = Scalar::from(1_u32 << Wide::LIMB_BITS);
                let found = limbs.iter().rfold(Scalar::ZERO, |sum, limb| sum * base + Scalar::from(*limb));
                assert!(found == expected && limbs.iter().all(|limb| limb >> Wide::LIMB_BITS == 0), "place {place}");
            }
        }
    }

    #[test]
    fn everybody_with_the_seed_has_the_same_projections_and_nobody_else() {
        let values = vector(1000);
        assert_eq!(projections(3).project(&values), projections(3).project(&values));
        assert_ne!(projections(3).project(&values), projections(4).project(&values));
        // Python's `hmac` for the key, `openssl enc -aes-256-ctr -iv 6d61736b000000000000000000000002` for the first signs.
        let first = projections(3).blocks().flatten().next().unwrap();
        assert_eq!(hex::encode(first), FIRST_SIGNS);
    }

    const FIRST_SIGNS: &str = "9b3cb17181f34ff264be7a14b0dbb78846a520440f06409a0ce1a7ccf745d16d";

    #[test]
    fn a_projection_has_mean_zero_and_the_squared_length_as_variance() {
        let values = vector(2000);
        let length: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        let scaled: Vec<f64> = (0..40)
            .flat_map(|seed| {
                projections(seed).project(&values).iter().map(|v| *v as f64 / length.sqrt()).collect::<Vec<_>>()
            })
            .collect();
        let count = scaled.len() as f64;
        let mean = |power| scaled.iter().map(|value: &f64| value.powi(power)).sum::<f64>() / count;
        // Of 10,240: deviations of 0.01, 0.014 and about 0.1; five of each are allowed.
        assert!(mean(1).abs() < 0.05 && (mean(2) - 1.0).abs() < 0.07 && (mean(4) - 3.0).abs() < 0.5, "{}", mean(4));
    }

    #[test]
    fn a_transposed_matrix_has_rows_for_columns() {
        for bit in 0..64 {
            assert_eq!(transposed(1 << bit), 1 << (bit % 8 * 8 + bit / 8));
        }
    }
}
