//! Sums of points, each times a number. How long they take depends on the numbers: secret ones belong here only where
//! nobody can ask for the computation, or measure it.
//!
//! Most goes through dalek's Pippenger, whose vectors add points in half the time that an addition over its interface
//! takes. It walks all 32 columns of digits, though, and adds up 128 buckets in each: n numbers of one digit cost it n +
//! 8,128 additions, so that it wants wide scalars. [`small_product`] has n + 2^b for numbers of b bits: for a provable row of
//! 1,563 numbers of 9 bits, 2,075 against 9,700 or more. For packed rows dalek's is the faster one.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;

/// Points that one multiplication takes: enough to make its buckets worth while, few enough for the cache.
const BATCH: usize = 8192;
/// How wide a digit may be: 2^13 buckets are 1.3 MB.
const DIGIT_BITS: std::ops::RangeInclusive<u32> = 2..=14;

/// The sum of the points, each times its scalar.
pub(super) fn product(scalars: &[Scalar], points: &[RistrettoPoint]) -> RistrettoPoint {
    let batches = scalars.chunks(BATCH).zip(points.chunks(BATCH));
    batches.map(|(scalars, points)| RistrettoPoint::vartime_multiscalar_mul(scalars, points)).sum()
}

/// A number by sign and magnitude. The sign goes to the point: a small negative number would be a large scalar, and a
/// small magnitude leaves most digits zero.
pub(super) struct Signed {
    pub(super) is_negative: bool,
    pub(super) magnitude: Scalar,
}

impl From<i128> for Signed {
    fn from(number: i128) -> Self {
        Self { is_negative: number < 0, magnitude: Scalar::from(number.unsigned_abs()) }
    }
}

/// The sum of the points, each times its signed number.
pub(super) fn signed_product(numbers: &[Signed], points: &[RistrettoPoint]) -> RistrettoPoint {
    let batches = numbers.chunks(BATCH).zip(points.chunks(BATCH));
    let batch = |(numbers, points): (&[Signed], &[RistrettoPoint])| {
        let signed = numbers.iter().zip(points);
        let signed = signed.map(|(number, point)| if number.is_negative { -point } else { *point });
        RistrettoPoint::vartime_multiscalar_mul(numbers.iter().map(|number| number.magnitude), signed)
    };
    batches.map(batch).sum()
}

/// The sum of the points, each times its small signed number, by Pippenger's method (Bernstein, Doumen, Lange and
/// Oosterwijk 2012, "Faster batch forgery identification", section 4) with only as many columns of digits as the largest
/// number has.
pub(super) fn small_product(numbers: &[i32], points: &[RistrettoPoint]) -> RistrettoPoint {
    let digits = Digits::least_work(numbers);
    let add_column = |sum: RistrettoPoint, place| {
        let shifted = (0..digits.bits).fold(sum, |sum, _| sum + sum);
        shifted + digits.column(place, numbers, points)
    };
    (0..digits.count).rev().fold(RistrettoPoint::default(), add_column)
}

/// How numbers are written: `count` digits of `bits` bits, each from -2^(bits - 1) to 2^(bits - 1) - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digits {
    bits: u32,
    count: u32,
}

impl Digits {
    /// The digits that make for the fewest additions.
    fn least_work(numbers: &[i32]) -> Self {
        let largest = numbers.iter().map(|number| number.unsigned_abs()).max().unwrap_or_default();
        let numbers = u64::try_from(numbers.len()).unwrap_or(u64::MAX);
        let work = |digits: &Self| u64::from(digits.count).saturating_mul(numbers.saturating_add(1 << digits.bits));
        let candidates = DIGIT_BITS.map(|bits| Self::for_largest(bits, largest));
        candidates.min_by_key(work).unwrap_or(Self { bits: 8, count: 5 })
    }

    /// Digits of so many bits, as few as write everything from -`largest` to `largest`.
    fn for_largest(bits: u32, largest: u32) -> Self {
        let mut digits = Self { bits, count: 1 };
        while digits.all(digits.half().saturating_sub(1)) < i64::from(largest) {
            digits.count = digits.count.saturating_add(1);
        }
        digits
    }

    fn half(self) -> i64 {
        1 << self.bits.saturating_sub(1)
    }

    /// The number whose digits are all `digit`.
    fn all(self, digit: i64) -> i64 {
        (0..self.count).fold(0, |number, _| (number << self.bits) + digit)
    }

    /// The sum of the points, each times its number's digit at `place`: a bucket for each absolute value of a digit, and the
    /// buckets added up from the largest on, so that bucket d is in d sums.
    fn column(self, place: u32, numbers: &[i32], points: &[RistrettoPoint]) -> RistrettoPoint {
        let (half, offset) = (self.half(), self.all(self.half()));
        let mask = (1 << self.bits) - 1;
        let mut buckets = vec![RistrettoPoint::default(); usize::try_from(half).unwrap_or_default()];
        for (number, point) in numbers.iter().zip(points) {
            // With half a digit's range added to every digit, digits are bits.
            let digit = (((i64::from(*number) + offset) >> (place * self.bits)) & mask) - half;
            let place = usize::try_from(digit.unsigned_abs()).ok().and_then(|size| size.checked_sub(1));
            let Some(bucket) = place.and_then(|place| buckets.get_mut(place)) else { continue };
            if digit < 0 { *bucket -= point } else { *bucket += point }
        }
        let add = |(running, sum): (RistrettoPoint, RistrettoPoint), bucket: &RistrettoPoint| {
            let running = running + bucket;
            (running, sum + running)
        };
        buckets.iter().rev().fold(Default::default(), add).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(count: usize) -> Vec<RistrettoPoint> {
        let base = RistrettoPoint::mul_base(&Scalar::from_bytes_mod_order([0x77; 32]));
        std::iter::successors(Some(base), |point| Some(point + base)).take(count).collect()
    }

    /// Numbers of all sizes up to `bits` bits and both signs.
    fn numbers(count: usize, bits: u32, seed: u64) -> Vec<i64> {
        let next =
            |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let states = std::iter::successors(Some(seed), next).skip(1).take(count);
        states.map(|state| state.cast_signed() >> (64 - bits)).collect()
    }

    fn dalek(numbers: &[i128], points: &[RistrettoPoint]) -> RistrettoPoint {
        let scalar = |number: &i128| {
            let magnitude = Scalar::from(number.unsigned_abs());
            if *number < 0 { -magnitude } else { magnitude }
        };
        RistrettoPoint::vartime_multiscalar_mul(numbers.iter().map(scalar), points)
    }

    #[track_caller]
    fn agree(numbers: &[i32], points: &[RistrettoPoint]) {
        let wide: Vec<i128> = numbers.iter().map(|number| i128::from(*number)).collect();
        let expected = dalek(&wide, points);
        assert_eq!(small_product(numbers, points), expected, "{} numbers", numbers.len());
        let signed: Vec<Signed> = wide.into_iter().map(Signed::from).collect();
        assert_eq!(signed_product(&signed, points), expected, "{} numbers", numbers.len());
    }

    #[test]
    fn products_of_random_numbers_of_any_size_equal_daleks() {
        let points = points(700);
        for bits in 1..=32 {
            for count in [1, 2, 3, 17, 190, 700] {
                let numbers = numbers(count, bits, u64::from(bits) << 32);
                let numbers: Vec<i32> = numbers.iter().map(|number| i32::try_from(*number).unwrap()).collect();
                agree(&numbers, &points[..count]);
            }
        }
    }

    #[test]
    fn products_of_extreme_numbers_equal_daleks() {
        let edges = (0..31).flat_map(|bit| [(1 << bit) - 1, 1 << bit, -(1 << bit), 1 - (1 << bit), -1 - (1 << bit)]);
        let edges: Vec<i32> = edges.chain([i32::MIN, i32::MAX, i32::MIN + 1, 0]).collect();
        let points = points(edges.len());
        agree(&edges, &points);
        edges.iter().for_each(|edge| agree(&[*edge], &points[3..4]));
        edges.iter().for_each(|edge| agree(&vec![*edge; 100], &points[..100]));
    }

    #[test]
    fn the_product_of_nothing_and_of_zeros_is_the_identity() {
        assert_eq!(small_product(&[], &points(1)), RistrettoPoint::default());
        assert_eq!(small_product(&[0; 9], &points(9)), RistrettoPoint::default());
        assert_eq!(signed_product(&[], &points(1)), RistrettoPoint::default());
        assert_eq!(product(&[], &points(1)), RistrettoPoint::default());
    }

    #[test]
    fn numbers_are_cut_to_the_points_in_a_row_that_ends_early() {
        assert_eq!(small_product(&[5, 7], &points(9)), dalek(&[5, 7], &points(9)[..2]));
    }

    #[test]
    fn products_over_several_batches_add_up() {
        let points = points(2 * BATCH + 5);
        let numbers = numbers(points.len(), 60, 9);
        let wide: Vec<i128> = numbers.iter().map(|number| i128::from(*number) << 40).collect();
        let signed: Vec<Signed> = wide.iter().map(|number| Signed::from(*number)).collect();
        assert_eq!(signed_product(&signed, &points), dalek(&wide, &points));
        let scalars: Vec<Scalar> = numbers.iter().map(|number| Scalar::from(number.unsigned_abs()).invert()).collect();
        assert_eq!(product(&scalars, &points), RistrettoPoint::vartime_multiscalar_mul(&scalars, &points));
    }

    #[test]
    fn a_number_has_as_many_digits_as_it_needs_and_wide_ones_where_there_are_many_numbers() {
        let digits = |count: usize, largest: i32| {
            let Digits { bits, count } = Digits::least_work(&vec![largest; count]);
            (bits, count)
        };
        assert_eq!(digits(6_667, 127), (8, 1));
        assert_eq!(digits(6_667, -128), (9, 1));
        assert_eq!(digits(6_667, 255), (9, 1));
        assert_eq!(digits(6_667, 1 << 14), (8, 2));
        assert_eq!(digits(1, 0), (2, 1));
    }
}
