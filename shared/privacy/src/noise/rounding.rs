//! round(s + σZ) computed exactly, from as many of Z's digits as the rounding needs.
//!
//! With σ = m·2^e (m of 24 bits) and Z known to 2⁻⁴⁴, the sum is a whole number of units 2^(e−44), known up to m of them.
//! Where a boundary of the grid lies in that interval, which happens once in some thousand draws, further digits narrow
//! it until none does. Nothing here is a floating-point operation before the sum is on the grid.

use dashu_int::IBig;
use rand::Rng;

use super::STD_DEV_RANGE;
use super::envelope::KNOWN_BITS;
use super::normal::Normal;

/// A grid step is 2³⁶ units, hence 2^(e−8), that is 2⁻³² σ to 2⁻³¹ σ.
const STEP_BITS: u32 = KNOWN_BITS - 8;
/// Bits of one of Z's further digits.
const DIGIT_BITS: usize = 64;
/// 2³⁸: values beyond so many deviations are clamped, so that every sum fits 128 bits.
const CLAMP: f32 = 274_877_906_944.0;

/// The grid that sums with noise of one standard deviation are rounded to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// m, in 2²³..2²⁴.
    mantissa: i64,
    /// e − 44: the exponent of one unit.
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
        let step = libm::ldexp(1.0, exponent - 8);
        Some(Self { mantissa, unit: exponent - KNOWN_BITS.cast_signed(), step, clamp: std_dev * CLAMP })
    }

    /// The grid point nearest to `value` + σ·`noise`, as `f32`. `value` is finite.
    #[inline]
    pub(super) fn round_sum(&self, value: f32, noise: Normal, rng: &mut impl Rng) -> f32 {
        self.value_at(self.nearest_point(value, noise, rng))
    }

    #[inline]
    fn nearest_point(&self, value: f32, noise: Normal, rng: &mut impl Rng) -> i128 {
        let (whole, rest) = self.units(value.clamp(-self.clamp, self.clamp));
        let half_step = 1_i128 << (STEP_BITS - 1);
        // The sum, and half a step, lies in [known, known + 1 + mantissa) units.
        let known = whole + i128::from(self.mantissa) * i128::from(noise.known) + half_step;
        let point = known >> STEP_BITS;
        let gap = ((point + 1) << STEP_BITS) - known;
        let up = gap <= i128::from(self.mantissa) && self.reaches(gap, rest, noise, rng);
        point + i128::from(up)
    }

    /// Whether m·y + rest ≥ `gap`, where y in [0, 1) is the number made of the digits of `noise` after the known bits.
    #[cold]
    #[inline(never)]
    fn reaches(&self, gap: i128, rest: Rest, mut noise: Normal, rng: &mut impl Rng) -> bool {
        // In units of 2^−(rest.bits + 64·index), m·y is in [least, least + slope).
        let slope = IBig::from(self.mantissa) << rest.bits;
        let mut boundary = (IBig::from(gap) << rest.bits) - rest.numerator;
        let mut least = IBig::ZERO;
        for index in 0.. {
            if least >= boundary {
                return true;
            }
            if &least + &slope <= boundary {
                return false;
            }
            least = (least << DIGIT_BITS) + &slope * noise.digit(index, rng);
            boundary <<= DIGIT_BITS;
        }
        false
    }

    /// `value` in units: whole ones, and what is left.
    fn units(&self, value: f32) -> (i128, Rest) {
        let (mantissa, exponent) = dyadic(value);
        let (mantissa, shift) = (i128::from(mantissa), exponent - self.unit);
        if shift >= 0 {
            return (mantissa << shift, Rest { numerator: 0, bits: 0 });
        }
        let whole = mantissa >> -shift;
        (whole, Rest { numerator: mantissa - (whole << -shift), bits: usize::try_from(-shift).unwrap_or_default() })
    }

    #[expect(clippy::as_conversions, reason = "post-processing: both conversions round to nearest")]
    #[inline]
    fn value_at(&self, point: i128) -> f32 {
        let point = i64::try_from(point).map_or_else(|_| wide(point), |point| point as f64);
        (point * self.step) as f32
    }
}

/// The `f64` nearest to a point beyond 64 bits; apart from the others, which processors convert themselves.
#[cold]
#[inline(never)]
#[expect(clippy::as_conversions, reason = "rounded to nearest")]
fn wide(point: i128) -> f64 {
    point as f64
}

/// A part of a unit: `numerator`/2^`bits`, in [0, 1).
#[derive(Debug, Clone, Copy)]
struct Rest {
    numerator: i128,
    bits: usize,
}

/// (n, f) with `value` = n·2^f; n has 24 bits where `value` is normal.
fn dyadic(value: f32) -> (i64, i32) {
    let bits = value.to_bits();
    let fraction = i64::from(bits & 0x007f_ffff);
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

    /// The known bits at which the sum of `value` and σ·known first reaches the next boundary but not for sure, and the
    /// digit after them that decides.
    fn deciding_digits(grid: &Grid, value: f32) -> (i64, u64) {
        let (whole, rest) = grid.units(value);
        let boundary = ((whole + (1_i128 << (STEP_BITS - 1))) >> STEP_BITS) + 2;
        let distance = (boundary << STEP_BITS) - (1_i128 << (STEP_BITS - 1)) - whole;
        let mantissa = i128::from(grid.mantissa);
        let gap = (IBig::from(distance % mantissa) << rest.bits) - rest.numerator;
        let digit = (gap << DIGIT_BITS) / (IBig::from(mantissa) << rest.bits);
        (i64::try_from(distance / mantissa).unwrap(), digit.try_into().unwrap())
    }

    #[test]
    fn a_boundary_inside_the_known_interval_is_decided_by_further_digits() {
        let grid = Grid::new(ODD).unwrap();
        for value in [0.0, 0.75, -3.5, f32::from_bits(1), -f32::from_bits(12_345), 1e-37] {
            let (known, digit) = deciding_digits(&grid, value);
            let point = |next| grid.nearest_point(value, Normal::of_digits(known, &[next]), &mut rng());
            assert_eq!(point(digit + 1) - point(digit - 1), 1, "{value}");
        }
    }

    #[test]
    fn a_digit_on_the_boundary_leaves_the_decision_to_the_next() {
        let grid = Grid::new(ODD).unwrap();
        let (known, digit) = deciding_digits(&grid, 0.75);
        let point = |next| grid.nearest_point(0.75, Normal::of_digits(known, &[digit, next]), &mut rng());
        assert_eq!(point(u64::MAX) - point(0), 1);
    }

    #[test]
    fn digits_of_a_negative_deviate_pull_it_up_as_its_known_bits_do() {
        // −2⁻⁴⁴ + 2⁻⁴⁴·(0.ff…) and −2⁻⁴⁴ + 2⁻⁴⁴·(0.00…), as magnitudes 0.00… and 0.ff….
        let grid = Grid::new(ODD).unwrap();
        let boundary = -(1_i64 << (STEP_BITS - 1)) / grid.mantissa - 1;
        let point = |digit| grid.nearest_point(0.0, Normal::of_digits(boundary, &[digit]), &mut rng());
        assert_eq!(point(0) - point(u64::MAX), 1);
    }

    #[test]
    fn a_value_too_small_for_a_unit_still_moves_the_deciding_digit() {
        let grid = Grid::new(ODD).unwrap();
        let (known, digit) = deciding_digits(&grid, 0.0);
        let unit = libm::ldexp(1.0, grid.unit);
        #[expect(clippy::as_conversions, reason = "half a unit is a power of two")]
        let half_unit = (unit / 2.0) as f32;
        let (same_known, moved) = deciding_digits(&grid, half_unit);
        assert_eq!(known, same_known);
        // Half a unit is 1/(2m) of the interval that the digit divides.
        assert!(moved < digit && digit - moved >= (1 << 38) && digit - moved <= 1 << 40);
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
            std_dev in 1e-9_f64..1e9, value in -1e4_f32..1e4, known in -(40_i64 << KNOWN_BITS)..40 << KNOWN_BITS
        ) {
            let grid = Grid::new(std_dev).unwrap();
            let value = value * round_up(std_dev);
            let rounded = grid.round_sum(value, Normal::of_digits(known, &[]), &mut rng());
            let sigma = f64::from(round_up(std_dev));
            let (high, low) = (i32::try_from(known >> 32).unwrap(), u32::try_from(known & 0xffff_ffff).unwrap());
            let deviate = libm::ldexp(f64::from(high), -12) + libm::ldexp(f64::from(low), -44);
            let real = f64::from(value) + sigma * deviate;
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
            for known in [1031_i64 << KNOWN_BITS, -(1031_i64 << KNOWN_BITS)] {
                assert!(grid.round_sum(value, Normal::of_digits(known, &[]), &mut rng()).is_finite());
            }
        }
    }
}
