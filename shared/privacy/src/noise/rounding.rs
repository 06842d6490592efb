//! round(s + σZ) computed exactly, from as many of Z's digits as the rounding needs.
//!
//! With σ = m·2^e (m of 24 bits) and one 64-bit digit of Z, the sum is a whole number of units 2^(e−64), known up to m of
//! them. Where a boundary of the grid lies in that interval, the digits that follow are compared with the boundary's,
//! one after the other, by long division. Nothing here is a floating-point operation before the sum is on the grid.

use rand::Rng;

use super::STD_DEV_RANGE;
use super::normal::Normal;

/// Bits of Z's first digit.
const DIGIT_BITS: i32 = 64;
/// A grid step is 2⁵⁶ units, hence 2^(e−8), that is 2⁻³² σ to 2⁻³¹ σ.
const STEP_BITS: i32 = 56;
/// 2³⁸: values beyond so many deviations are clamped, so that every sum fits 128 bits.
const CLAMP: f32 = 274_877_906_944.0;

/// The grid that sums with noise of one standard deviation are rounded to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// m, in 2²³..2²⁴.
    mantissa: i128,
    /// e − 64: the exponent of one unit.
    unit: i32,
    /// The width of a grid step.
    step: f64,
    clamp: f32,
}

impl Grid {
    /// The grid for `std_dev` rounded up to the next `f32`; `None` outside [`STD_DEV_RANGE`].
    pub(super) fn new(std_dev: f64) -> Option<Self> {
        if !STD_DEV_RANGE.contains(&std_dev) {
            return None;
        }
        let std_dev = round_up(std_dev);
        let (mantissa, exponent) = dyadic(std_dev);
        let unit = exponent - DIGIT_BITS;
        Some(Self { mantissa, unit, step: libm::ldexp(1.0, unit + STEP_BITS), clamp: std_dev * CLAMP })
    }

    /// The grid point nearest to `value` + σ·`noise`, as `f32`. `value` is finite.
    pub(super) fn round_sum(&self, value: f32, noise: Normal, rng: &mut impl Rng) -> f32 {
        self.value_at(self.nearest_point(value, noise, rng))
    }

    fn nearest_point(&self, value: f32, mut noise: Normal, rng: &mut impl Rng) -> i128 {
        let (whole, rest) = self.units(value.clamp(-self.clamp, self.clamp));
        let deviate = (i128::from(noise.integer) << DIGIT_BITS) | i128::from(noise.digit(0, rng));
        let half_step = 1_i128 << (STEP_BITS - 1);
        // The sum, and half a step, lies in [known, known + 1 + mantissa) units.
        let known = whole + self.mantissa * deviate + half_step;
        let point = known >> STEP_BITS;
        let gap = ((point + 1) << STEP_BITS) - known;
        let up = gap <= self.mantissa && self.reaches(gap, rest, noise, rng);
        point + i128::from(up)
    }

    /// Whether m·y + rest ≥ `gap`, where y is the number made of the digits of `noise` after the first.
    #[cold]
    fn reaches(&self, gap: i128, rest: Rest, mut noise: Normal, rng: &mut impl Rng) -> bool {
        let threshold = (gap << rest.bits) - rest.numerator;
        let mut quotient = LongDivision { remainder: threshold, divisor: self.mantissa << rest.bits };
        if quotient.remainder >= quotient.divisor {
            return false;
        }
        let digits = (1..).map(|index| (noise.digit(index, rng), quotient.next_digit()));
        digits.into_iter().find(|(drawn, bound)| drawn != bound).is_some_and(|(drawn, bound)| drawn > bound)
    }

    /// `value` in units: whole ones, and what is left.
    fn units(&self, value: f32) -> (i128, Rest) {
        let (mantissa, exponent) = dyadic(value);
        let shift = exponent - self.unit;
        if shift >= 0 {
            return (mantissa << shift, Rest { numerator: 0, bits: 0 });
        }
        let whole = mantissa >> -shift;
        (whole, Rest { numerator: mantissa - (whole << -shift), bits: -shift })
    }

    #[expect(clippy::as_conversions, reason = "post-processing: both conversions round to nearest")]
    fn value_at(&self, point: i128) -> f32 {
        (point as f64 * self.step) as f32
    }
}

/// A part of a unit: `numerator`/2^`bits`, in [0, 1).
#[derive(Debug, Clone, Copy)]
struct Rest {
    numerator: i128,
    bits: i32,
}

/// `remainder`/`divisor`, in [0, 1), one 64-bit digit after the other.
struct LongDivision {
    remainder: i128,
    divisor: i128,
}

impl LongDivision {
    fn next_digit(&mut self) -> u64 {
        (0..DIGIT_BITS).fold(0, |digit, _| {
            self.remainder *= 2;
            let bit = self.remainder >= self.divisor;
            if bit {
                self.remainder -= self.divisor;
            }
            digit << 1 | u64::from(bit)
        })
    }
}

/// (n, f) with `value` = n·2^f; n has 24 bits where `value` is normal.
fn dyadic(value: f32) -> (i128, i32) {
    let bits = value.to_bits();
    let fraction = i128::from(bits & 0x007f_ffff);
    let exponent = i32::try_from(bits >> 23 & 0xff).unwrap_or_default();
    let magnitude = if exponent == 0 { fraction } else { fraction | 0x0080_0000 };
    (if value.is_sign_negative() { -magnitude } else { magnitude }, exponent.max(1) - 150)
}

/// The least `f32` not below `value`.
#[expect(clippy::as_conversions, reason = "rounded to nearest, then mended")]
fn round_up(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) < value { nearest.next_up() } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    /// 2⁻²⁴ short of 1, so that m has no factor 2 and boundaries of the grid have endless digits.
    const ODD: f64 = 0.999_999_940_395_355_2;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([5; 32])
    }

    /// The first digit at which the sum of `value` and σ·(0.digit…) first reaches the next boundary but not for sure,
    /// and the digit after it that decides.
    fn deciding_digits(grid: &Grid, value: f32) -> (u64, u64) {
        let (whole, rest) = grid.units(value);
        let boundary = ((whole + (1_i128 << (STEP_BITS - 1))) >> STEP_BITS) + 2;
        let distance = (boundary << STEP_BITS) - (1_i128 << (STEP_BITS - 1)) - whole;
        let first = distance / grid.mantissa;
        let gap = distance - first * grid.mantissa;
        let mut quotient =
            LongDivision { remainder: (gap << rest.bits) - rest.numerator, divisor: grid.mantissa << rest.bits };
        (u64::try_from(first).unwrap(), quotient.next_digit())
    }

    #[test]
    fn a_boundary_inside_the_known_interval_is_decided_by_further_digits() {
        let grid = Grid::new(ODD).unwrap();
        for value in [0.0, 0.75, -3.5, f32::from_bits(1), -f32::from_bits(12_345), 1e-37] {
            let (first, second) = deciding_digits(&grid, value);
            let point = |next| grid.nearest_point(value, Normal::of_digits(0, &[first, next]), &mut rng());
            assert_eq!(point(second + 1) - point(second - 1), 1, "{value}");
        }
    }

    #[test]
    fn a_value_too_small_for_a_unit_still_moves_the_deciding_digit() {
        let grid = Grid::new(ODD).unwrap();
        let (first, second) = deciding_digits(&grid, 0.0);
        let unit = libm::ldexp(1.0, grid.unit);
        #[expect(clippy::as_conversions, reason = "half a unit is a power of two")]
        let half_unit = (unit / 2.0) as f32;
        let (same_first, moved) = deciding_digits(&grid, half_unit);
        assert_eq!(first, same_first);
        // Half a unit is 1/(2m) of the interval that the second digit divides.
        assert!(moved < second && second - moved >= (1 << 38) && second - moved <= 1 << 40);
    }

    #[test]
    fn a_whole_quotient_is_written_by_long_division() {
        let mut third = LongDivision { remainder: 1, divisor: 3 };
        assert_eq!([third.next_digit(), third.next_digit()], [0x5555_5555_5555_5555; 2]);
    }

    #[test]
    fn a_deviation_is_never_rounded_down() {
        assert_eq!(round_up(1.0), 1.0);
        assert_eq!(round_up(0.1), 0.1_f32);
        assert_eq!(round_up(1.0 + 1e-12), 1.0_f32.next_up());
        assert!(f64::from(round_up(0.3)) >= 0.3);
    }

    proptest! {
        #[test]
        fn the_sum_is_within_half_a_step_and_one_rounding_of_the_real_sum(
            std_dev in 1e-9_f64..1e9, value in -1e4_f32..1e4, integer in -40_i64..40, digit: u64
        ) {
            let grid = Grid::new(std_dev).unwrap();
            let value = value * round_up(std_dev);
            let rounded = grid.round_sum(value, Normal::of_digits(integer, &[digit]), &mut rng());
            let sigma = f64::from(round_up(std_dev));
            let fraction = libm::ldexp(f64::from(u32::try_from(digit >> 32).unwrap()), -32);
            let real = f64::from(value) + sigma * (f64::from(i32::try_from(integer).unwrap()) + fraction);
            let tolerance = sigma * libm::ldexp(1.0, -30) + real.abs() * libm::ldexp(1.0, -24);
            prop_assert!((f64::from(rounded) - real).abs() <= tolerance, "{rounded} for {real}");
        }

        #[test]
        fn a_float_is_its_mantissa_times_a_power_of_two(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let (mantissa, exponent) = dyadic(value);
            let mantissa = f64::from(i32::try_from(mantissa).unwrap());
            prop_assert_eq!(libm::ldexp(mantissa, exponent), f64::from(value));
        }
    }

    #[test]
    fn the_extremes_of_both_arguments_do_not_overflow() {
        let ends = [*STD_DEV_RANGE.start(), *STD_DEV_RANGE.end()];
        for (std_dev, value) in
            ends.into_iter().flat_map(|end| [f32::MAX, f32::MIN, f32::from_bits(1)].map(|v| (end, v)))
        {
            let grid = Grid::new(std_dev).unwrap();
            for (integer, digit) in [(1024, u64::MAX), (-1025, 0)] {
                assert!(grid.round_sum(value, Normal::of_digits(integer, &[digit]), &mut rng()).is_finite());
            }
        }
    }
}
