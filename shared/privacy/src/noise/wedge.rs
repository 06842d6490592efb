//! Trials in a wedge of the envelope: is a uniform point of it below exp(−x²/2)?
//!
//! Both coordinates are real numbers of which some bits are known. A trial says what all points say that share these
//! bits, and draws more bits where they disagree, however many that takes. So what it says depends on no bit that was not
//! drawn: the bits that follow stay uniform, and independent of the verdict. Floating point decides only what is clear
//! beyond any error that it can make; the rest is decided by integers that enclose the exponential.

use dashu_int::UBig;
use rand::Rng;

use super::envelope::{HEIGHT, KNOWN_BITS, Wedge};
use super::normal::Magnitude;

const DIGIT_BITS: usize = 64;

/// A trial of acceptance: with V uniform in [0, 1), is floor + V·rise < [`HEIGHT`]·2^doublings·exp(−x²/2)?
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub(super) wedge: Wedge,
    pub(super) doublings: u32,
}

impl Trial {
    /// Whether x = `magnitude`, whose digits it draws as far as it needs them, is accepted.
    pub(super) fn accepts(self, magnitude: &mut Magnitude, rng: &mut impl Rng) -> bool {
        let first = rng.next_u64();
        if let Some(verdict) = self.clear_verdict(magnitude.known, first) {
            return verdict;
        }
        self.settle(magnitude, vec![first], rng)
    }

    /// The verdict where the digits of V that are known, and then more of both numbers, decide it.
    fn settle(self, magnitude: &mut Magnitude, mut level: Vec<u64>, rng: &mut impl Rng) -> bool {
        loop {
            if let Some(verdict) = self.certain_verdict(magnitude, &level) {
                return verdict;
            }
            magnitude.digits.push(rng.next_u64());
            level.push(rng.next_u64());
        }
    }

    /// The verdict of floating point; `None` where it could be wrong, and always in the tail.
    ///
    /// Both sides stand for intervals: x is known to 2⁻⁴⁴, V to 2⁻⁶⁴. Below x = 6 the middle of x's interval is off by
    /// 2⁻⁴⁵, so x²/2 by less than 2⁻⁴²; with its rounding, one of [`libm::exp`] (below one unit in the last place) and
    /// one of the product, the curve's relative error is below 2⁻⁴¹. The other side has at most 2⁻⁵¹ of it, and
    /// rise·2⁻⁶⁴ < 2⁻⁴⁵, which is 2⁻³⁷ of the curve: that is above 2⁻⁸ below x = 6. The margin is 2⁻³².
    #[expect(clippy::as_conversions, reason = "rounded to nearest: its error is part of the margin")]
    fn clear_verdict(self, known: u64, level: u64) -> Option<bool> {
        const MARGIN: f64 = 1.0 / (1_u64 << 32) as f64;
        const KNOWN: f64 = (1_u64 << KNOWN_BITS) as f64;
        const DIGIT: f64 = (1_u128 << DIGIT_BITS) as f64;
        if self.doublings > 0 {
            return None;
        }
        let x = (known as f64 + 0.5) / KNOWN;
        let curve = f64::from(HEIGHT) * libm::exp(-x * x / 2.0);
        let point = f64::from(self.wedge.floor) + f64::from(self.wedge.rise) * (level as f64 / DIGIT);
        ((point - curve).abs() > MARGIN * curve).then_some(point < curve)
    }

    /// The verdict of integers; `None` where points that share the known digits differ.
    ///
    /// (floor + V·rise)·exp(x²/2) < [`HEIGHT`]·2^doublings is compared in units of 2^−(bits of V + precision). Its left
    /// side grows in both numbers, so the ends of their intervals bound it.
    fn certain_verdict(self, magnitude: &Magnitude, level: &[u64]) -> Option<bool> {
        let x = Fixed::new(UBig::from(magnitude.known), KNOWN_BITS, &magnitude.digits);
        let v = Fixed::new(UBig::ZERO, 0, level);
        let precision = v.bits + DIGIT_BITS;
        let rise = UBig::from(self.wedge.rise);
        let point = (UBig::from(self.wedge.floor) << v.bits) + &rise * v.number;
        let limit = UBig::from(HEIGHT) << (usize_of(self.doublings) + v.bits + precision);
        let end = Fixed { number: &x.number + 1_u32, bits: x.bits };
        if (&point + rise) * end.growth_above(precision) <= limit {
            return Some(true);
        }
        (point * x.growth_below(precision) >= limit).then_some(false)
    }
}

/// `number`/2^`bits`.
#[derive(Debug, Clone)]
struct Fixed {
    number: UBig,
    bits: usize,
}

impl Fixed {
    /// `known`/2^`known_bits` and the digits that follow.
    fn new(known: UBig, known_bits: u32, digits: &[u64]) -> Self {
        let number = digits.iter().fold(known, |number, digit| (number << DIGIT_BITS) + *digit);
        Self { number, bits: usize_of(known_bits) + DIGIT_BITS * digits.len() }
    }

    /// 2^`precision`·exp(x²/2) or less: a partial sum of the exponential's series of positive terms, each rounded down.
    fn growth_below(&self, precision: usize) -> UBig {
        let (square, shift) = (self.number.sqr(), 2 * self.bits + 1);
        let (mut sum, mut term) = (UBig::ZERO, UBig::ONE << precision);
        for count in 1_u64.. {
            if term.is_zero() {
                break;
            }
            sum += &term;
            term = ((term * &square) >> shift) / count;
        }
        sum
    }

    /// 2^`precision`·exp(x²/2) or more: the sum of terms rounded up, and once more the last of them, which bounds all
    /// that follow as soon as each is at most half of the one before it.
    fn growth_above(&self, precision: usize) -> UBig {
        let (square, shift) = (self.number.sqr(), 2 * self.bits + 1);
        // Term n + 1 is x²/2/(n + 1) of term n.
        let halving = (&square >> (2 * self.bits)) + 1_u32;
        let (mut sum, mut term) = (UBig::ZERO, UBig::ONE << precision);
        for count in 1_u64.. {
            sum += &term;
            if term <= UBig::ONE && UBig::from(count) >= halving {
                break;
            }
            let divisor = UBig::from(count) << shift;
            term = (term * &square + &divisor - 1_u32) / divisor;
        }
        sum + term
    }
}

fn usize_of(bits: u32) -> usize {
    usize::try_from(bits).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
