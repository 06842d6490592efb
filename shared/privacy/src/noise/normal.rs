//! Exact sampling from the standard normal distribution, by rejection from [`super::envelope`]'s steps.
//!
//! A deviate is a magnitude with a sign, and a magnitude is a cell with a place in it, uniform over the *real* numbers,
//! whose bits are drawn as they are asked for. Blocks need no trial. A trial in a wedge or in the tail compares intervals
//! ([`super::wedge`]), so that bits not drawn yet are as uniform after it as before. This file knows no floating-point
//! number.

use rand::Rng;

use super::envelope::{CELL_BITS, CELLS, ENVELOPE, Envelope, KNOWN_BITS, Remainder, Wedge, signed};
use super::wedge::Trial;

/// No deviate is beyond so many standard deviations; the distribution has less than 2^−700000 of its mass there.
const MAX_PIECES: u32 = 1 << 10;

/// A magnitude in [`known`, `known` + 1) multiples of 2^−[`KNOWN_BITS`], and the 64-bit digits that follow, as far as
/// they were drawn.
#[derive(Debug, Clone)]
pub(super) struct Magnitude {
    pub(super) known: u64,
    pub(super) digits: Vec<u64>,
}

/// A standard normal deviate: in [`known`, `known` + 1) multiples of 2^−[`KNOWN_BITS`].
#[derive(Debug, Clone)]
pub(super) struct Normal {
    pub(super) known: i64,
    /// The digits of the magnitude that were drawn already.
    digits: Vec<u64>,
}

impl Normal {
    #[inline]
    pub(super) fn new(known: i64) -> Self {
        Self { known, digits: Vec::new() }
    }

    /// The 64-bit digit after `index` others that follow the known bits; complements of the magnitude's where the
    /// deviate is negative, as its known bits are.
    pub(super) fn digit(&mut self, index: usize, rng: &mut impl Rng) -> u64 {
        while self.digits.len() <= index {
            self.digits.push(rng.next_u64());
        }
        let digit = self.digits.get(index).copied().unwrap_or_default();
        if self.known < 0 { !digit } else { digit }
    }

    #[cfg(test)]
    pub(super) fn of_digits(known: i64, digits: &[u64]) -> Self {
        Self { known, digits: digits.to_vec() }
    }
}

/// A deviate. `envelope` is [`ENVELOPE`], taken once for many.
#[inline]
pub(super) fn sample(envelope: &Envelope, rng: &mut impl Rng) -> Normal {
    envelope.in_a_block(rng.next_u64()).map_or_else(|| sample_remainder(rng), Normal::new)
}

/// A deviate, where the first word asks for the remainder.
#[cold]
#[inline(never)]
fn sample_remainder(rng: &mut impl Rng) -> Normal {
    loop {
        if let Some(normal) = draw_remainder(rng) {
            return normal;
        }
        if let Some(known) = ENVELOPE.in_a_block(rng.next_u64()) {
            return Normal::new(known);
        }
    }
}

/// One draw from the remainder; `None` where it is rejected, and everything is to be drawn anew.
fn draw_remainder(rng: &mut impl Rng) -> Option<Normal> {
    let unit = uniform_below(ENVELOPE.remainder(), rng);
    let trial = match ENVELOPE.of_remainder(unit) {
        Remainder::Wedge(wedge) => Trial { wedge, doublings: 0 },
        Remainder::Tail => tail_piece(rng)?,
        Remainder::Empty => return None,
    };
    accept(trial, rng)
}

/// The tail's one unit is halved again and again, by coins, over pieces that are each one deviation long: piece i, from
/// 6 + i deviations, has 2^−(i+1) of it, that is 2^−(i+1)/64 a cell. One cell of it, all alike.
fn tail_piece(rng: &mut impl Rng) -> Option<Trial> {
    let piece = (0..MAX_PIECES).find(|_| rng.next_u64() >> 63 == 1)?;
    let cell = CELLS + (piece << CELL_BITS) + uniform_below(1 << CELL_BITS, rng);
    Some(Trial { wedge: Wedge { cell, floor: 0, rise: 1 }, doublings: piece + 1 + CELL_BITS })
}

/// A place in the trial's cell, if the trial accepts it.
fn accept(trial: Trial, rng: &mut impl Rng) -> Option<Normal> {
    let place_bits = KNOWN_BITS - CELL_BITS;
    let word = rng.next_u64();
    let known = u64::from(trial.wedge.cell) << place_bits | word >> (u64::BITS - place_bits);
    let mut magnitude = Magnitude { known, digits: Vec::new() };
    let accepted = trial.accepts(&mut magnitude, rng);
    accepted.then(|| Normal { known: signed(known, word & 1 == 1), digits: magnitude.digits })
}

/// A uniform number below `bound`: the lowest bits of a word that can hold it, until they do.
fn uniform_below(bound: u32, rng: &mut impl Rng) -> u32 {
    let mask = u64::from(bound.next_power_of_two() - 1);
    loop {
        let candidate = u32::try_from(rng.next_u64() & mask).unwrap_or(u32::MAX);
        if candidate < bound {
            return candidate;
        }
    }
}

#[cfg(test)]
mod tests;
