//! Exact sampling from the standard normal distribution: Algorithm N of Karney, "Sampling exactly from the normal
//! distribution" (ACM Transactions on Mathematical Software 42:1, 2016; arXiv:1303.6257).
//!
//! Every trial compares uniform deviates or uniform integers, never a rounded probability. There is no floating-point
//! number in this file.

use rand::Rng;

use super::Uniform;

/// No deviate is beyond this many standard deviations; the distribution has less than 2^−700000 of its mass there.
const MAX_INTEGER: u64 = 1 << 10;

/// A standard normal deviate, `integer` + fraction, whose fraction's digits are drawn as they are asked for.
#[derive(Debug, Clone)]
pub(super) struct Normal {
    /// The greatest integer that is not above the deviate; magnitude at most 2¹⁰.
    pub(super) integer: i64,
    fraction: Uniform,
    /// All ones for a negative deviate: −(k + x) = −(k + 1) + (1 − x), and 1 − x has the complements of x's digits.
    mask: u64,
}

impl Normal {
    fn new(magnitude: i64, fraction: Uniform, negative: bool) -> Self {
        if negative {
            Self { integer: -magnitude - 1, fraction, mask: u64::MAX }
        } else {
            Self { integer: magnitude, fraction, mask: 0 }
        }
    }

    /// The fraction's 64-bit digit of weight 2^(−64·(`index` + 1)).
    #[inline]
    pub(super) fn digit(&mut self, index: usize, rng: &mut impl Rng) -> u64 {
        let high = u64::from(self.fraction.digit(2 * index, rng));
        let low = u64::from(self.fraction.digit(2 * index + 1, rng));
        (high << 32 | low) ^ self.mask
    }

    #[cfg(test)]
    pub(super) fn of_digits(integer: i64, digits: &[u64]) -> Self {
        let halves = digits.iter().flat_map(|digit| [digit >> 32, digit & u64::from(u32::MAX)]);
        let mut halves = halves.map(|half| u32::try_from(half).unwrap());
        let first = halves.next().unwrap();
        Self { integer, fraction: Uniform { first, second: halves.next(), more: halves.collect() }, mask: 0 }
    }
}

/// Algorithm N.
#[inline]
pub(super) fn sample(rng: &mut impl Rng) -> Normal {
    loop {
        let Some(k) = half_gaussian_integer(rng) else { continue };
        let mut x = Uniform::new(rng);
        if (0..=k).all(|_| accepts_fraction(k, &mut x, rng)) {
            let magnitude = i64::try_from(k).unwrap_or(i64::MAX);
            return Normal::new(magnitude, x, coin(rng));
        }
    }
}

/// Steps N1 and N2: k with probability proportional to exp(−k²/2), or `None` where step N2 rejects.
#[inline]
fn half_gaussian_integer(rng: &mut impl Rng) -> Option<u64> {
    let k = (0..MAX_INTEGER).find(|_| !bernoulli_exp_half(rng))?;
    (0..k * k.saturating_sub(1)).all(|_| bernoulli_exp_half(rng)).then_some(k)
}

/// Algorithm H: true with probability exp(−1/2), by von Neumann's descending runs that begin below 1/2.
#[inline]
fn bernoulli_exp_half(rng: &mut impl Rng) -> bool {
    const HALF: u32 = 1 << 31;
    let mut last = Uniform::new(rng);
    if last.first >= HALF {
        return true;
    }
    let mut even = false;
    loop {
        let mut next = Uniform::new(rng);
        if !next.less_than(&mut last, rng) {
            return even;
        }
        last = next;
        even = !even;
    }
}

/// Algorithm B: true with probability exp(−x(2k + x)/(2k + 2)).
#[inline]
fn accepts_fraction(k: u64, x: &mut Uniform, rng: &mut impl Rng) -> bool {
    let mut first = Uniform::new(rng);
    if !(first.less_than(x, rng) && below_slope(k, x, rng)) {
        return true;
    }
    let mut last = first;
    let mut even = false;
    loop {
        let mut next = Uniform::new(rng);
        if !(next.less_than(&mut last, rng) && below_slope(k, x, rng)) {
            return even;
        }
        last = next;
        even = !even;
    }
}

/// True with probability (2k + x)/(2k + 2): the integer part of a uniform deviate times 2k + 2 decides, or is 2k and
/// leaves the decision to its fraction, uniform again.
#[inline]
fn below_slope(k: u64, x: &mut Uniform, rng: &mut impl Rng) -> bool {
    let part = uniform_below(2 * k + 2, rng);
    part < 2 * k || (part == 2 * k && Uniform::new(rng).less_than(x, rng))
}

/// A uniform integer below `bound` < 2³² (Lemire 2019, with rejection).
#[inline]
fn uniform_below(bound: u64, rng: &mut impl Rng) -> u64 {
    const DIGIT: u64 = 1 << 32;
    loop {
        let product = u64::from(rng.next_u32()) * bound;
        let low = product % DIGIT;
        if low >= bound || low >= DIGIT % bound {
            return product / DIGIT;
        }
    }
}

fn coin(rng: &mut impl Rng) -> bool {
    rng.next_u32() >> 31 == 1
}
