//! An envelope of the normal density in steps, as an alias table whose probabilities are whole numbers of 2⁻²⁵.
//!
//! The magnitude's axis is cut into cells of 1/64 up to 6. Below the curve each cell holds a block, `floor` units high,
//! where no trial is needed: about 98.8 % of all draws end there, after one look at the table. The rest is one more entry
//! of the table, the remainder: the wedges between the blocks and `ceiling`, and the tail beyond 6, whose units
//! [`super::wedge`] decides by exact trials. Alias tables are Walker's (1977), built as Vose (1991) does, here in
//! integers; cutting the area below a density into blocks and wedges is Marsaglia's (MacLaren, Marsaglia and Bray 1964).
//!
//! Floating point makes the bounds, which may be loose but not wrong: a test holds each against 100 digits of the
//! curve. It makes no probability.

use std::array;
use std::iter;
use std::sync::LazyLock;

/// Cells per standard deviation are 2⁶.
pub(super) const CELL_BITS: u32 = 6;
/// The tail begins at 6 standard deviations.
pub(super) const CELLS: u32 = 6 << CELL_BITS;
/// The curve at 0, in units a cell. As high as it can be where the envelope is to fit [`UNITS`]: what is left is drawn in
/// vain, but no unit of it harms.
pub(super) const HEIGHT: u32 = 415_727;
/// Bits of a word that choose a slot of the table.
const SLOT_BITS: u32 = 9;
const SLOTS: usize = 1 << SLOT_BITS;
/// Bits of a word that choose between a slot's two entries.
const SHARE_BITS: u32 = 16;
/// Units of a slot.
const SHARE: u32 = 1 << SHARE_BITS;
/// All units.
const UNITS: u32 = 1 << (SLOT_BITS + SHARE_BITS);
/// Bits of a word that are the first ones of the place within the cell; one more is the sign.
const PLACE_BITS: u32 = u64::BITS - SLOT_BITS - SHARE_BITS - 1;
/// What a word tells of a magnitude: its bits after the point.
pub(super) const KNOWN_BITS: u32 = CELL_BITS + PLACE_BITS;

/// The table, the same for all.
pub(super) static ENVELOPE: LazyLock<Envelope> = LazyLock::new(Envelope::new);

#[derive(Debug)]
pub(super) struct Envelope {
    slots: [Slot; SLOTS],
    /// Each cell's wedge, after the number of units of the wedges up to and with it.
    wedges: Vec<(u32, Wedge)>,
    /// Units of the remainder. What wedges and tail leave of them is empty.
    remainder: u32,
}

/// Of a slot's units, `share` are the entry's whose number the slot has, the others those of `alias`.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    share: u16,
    alias: u16,
}

/// What a unit of the remainder belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remainder {
    /// The wedge of a cell.
    Wedge(Wedge),
    /// The tail, which is one unit.
    Tail,
    /// Nothing: draw anew.
    Empty,
}

/// The part of a cell that the curve passes through: `rise` units on `floor` units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wedge {
    pub(super) cell: u32,
    pub(super) floor: u32,
    pub(super) rise: u32,
}

impl Wedge {
    fn of(cell: u32) -> Self {
        let (floor, ceiling) = bounds(cell);
        Self { cell, floor, rise: ceiling - floor }
    }
}

impl Envelope {
    fn new() -> Self {
        let wedges = (0..CELLS).map(Wedge::of).scan(0, |end, wedge| {
            *end += wedge.rise;
            Some((*end, wedge))
        });
        let wedges: Vec<(u32, Wedge)> = wedges.collect();
        let floors = wedges.iter().map(|(_, wedge)| wedge.floor);
        let remainder = UNITS - floors.clone().sum::<u32>();
        Self { slots: slots(floors.chain([remainder])), wedges, remainder }
    }

    /// A normal deviate's first bits from 64 uniform ones: the greatest multiple of 2^−[`KNOWN_BITS`] not above it,
    /// in such multiples. `None` with the remainder's probability.
    ///
    /// Its place within that multiple is uniform: no trial was made.
    #[inline]
    pub(super) fn in_a_block(&self, word: u64) -> Option<i64> {
        let (slot_number, rest) = (word % (1 << SLOT_BITS), word >> SLOT_BITS);
        let (unit, rest) = (rest % u64::from(SHARE), rest >> SHARE_BITS);
        let slot = self.slots.get(usize::try_from(slot_number).unwrap_or_default()).copied().unwrap_or_default();
        let cell = if unit < u64::from(slot.share) { slot_number } else { u64::from(slot.alias) };
        if cell >= u64::from(CELLS) {
            return None;
        }
        Some(signed(cell << PLACE_BITS | rest >> 1, rest & 1 == 1))
    }

    /// How many units [`Envelope::of_remainder`] knows.
    pub(super) fn remainder(&self) -> u32 {
        self.remainder
    }

    /// What the remainder's unit of this number belongs to.
    pub(super) fn of_remainder(&self, unit: u32) -> Remainder {
        let cell = self.wedges.partition_point(|(end, _)| *end <= unit);
        match (self.wedges.get(cell), self.wedges.last()) {
            (Some((_, wedge)), _) => Remainder::Wedge(*wedge),
            (None, Some((end, _))) if *end == unit => Remainder::Tail,
            _ => Remainder::Empty,
        }
    }
}

/// The first bits of a deviate from those of its magnitude: where the magnitude is in [n, n + 1), the negative deviate
/// is in (−n − 1, −n], and −n − 1 is n's complement.
#[inline]
pub(super) fn signed(magnitude: u64, negative: bool) -> i64 {
    (magnitude ^ u64::from(negative).wrapping_neg()).cast_signed()
}

/// Vose's construction. All weights and all slots are the same number of units, so that nothing is left over.
fn slots(weights: impl Iterator<Item = u32> + Clone) -> [Slot; SLOTS] {
    let entries = (0_u16..).zip(weights.chain(iter::repeat(0))).take(SLOTS);
    let mut slots: Vec<Slot> = entries.clone().map(|(alias, _)| Slot { share: 0, alias }).collect();
    let (mut poor, mut rich): (Vec<_>, Vec<_>) = entries.partition(|(_, weight)| *weight < SHARE);
    while let Some((number, weight)) = poor.pop() {
        let Some((alias, wealth)) = rich.pop() else { break };
        if let Some(slot) = slots.get_mut(usize::from(number)) {
            *slot = Slot { share: u16::try_from(weight).unwrap_or_default(), alias };
        }
        let left = wealth - (SHARE - weight);
        if left < SHARE { &mut poor } else { &mut rich }.push((alias, left));
    }
    array::from_fn(|number| slots.get(number).copied().unwrap_or_default())
}

/// Whole units that the curve is nowhere below and nowhere above within the cell.
#[expect(clippy::as_conversions, reason = "whole numbers of at most `HEIGHT` + 1")]
fn bounds(cell: u32) -> (u32, u32) {
    /// Far above the relative error of a curve's point: its exponent is exact, so one rounding of `exp` (below one
    /// unit in the last place) and one of the product remain, less than 2⁻⁵¹ together.
    const MARGIN: f64 = 1e-12;
    let curve = |edge: u32| {
        let x = f64::from(edge) / f64::from(1_u32 << CELL_BITS);
        f64::from(HEIGHT) * libm::exp(-x * x / 2.0)
    };
    let floor = (curve(cell + 1) * (1.0 - MARGIN)).floor();
    let ceiling = (curve(cell) * (1.0 + MARGIN)).ceil();
    (floor as u32, ceiling as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dashu_float::DBig;

    /// `HEIGHT`·exp(−(edge/64)²/2) by dashu, with 100 decimal digits.
    fn curve(edge: u32) -> DBig {
        let exponent = DBig::from(edge * edge).with_precision(100).value() / DBig::from(1_u32 << (2 * CELL_BITS + 1));
        DBig::from(HEIGHT) * (-exponent).exp()
    }

    #[test]
    fn the_curve_is_between_the_bounds_of_every_cell_by_a_hundred_digits() {
        for cell in 0..CELLS {
            let (floor, ceiling) = bounds(cell);
            assert!(DBig::from(floor) <= curve(cell + 1), "{cell}: {floor}");
            assert!(DBig::from(ceiling) >= curve(cell), "{cell}: {ceiling}");
            assert!(DBig::from(floor + 1) > curve(cell + 1) && DBig::from(ceiling - 1) <= curve(cell), "{cell}");
        }
    }

    #[test]
    fn the_tail_lies_below_pieces_of_one_deviation_that_halve_from_half_a_unit() {
        for piece in 0..64_u32 {
            let height = DBig::from(1_u32).with_precision(100).value() / (DBig::from(2_u64.pow(piece / 2)));
            let height = height / DBig::from(2_u64.pow(piece.div_ceil(2))) / DBig::from(2_u32 << CELL_BITS);
            assert!(height >= curve(CELLS + (piece << CELL_BITS)), "{piece}");
        }
    }

    #[test]
    fn every_entry_has_exactly_its_units_in_the_table() {
        let mut found = vec![0; SLOTS];
        for (number, slot) in ENVELOPE.slots.iter().enumerate() {
            found[number] += u32::from(slot.share);
            found[usize::from(slot.alias)] += SHARE - u32::from(slot.share);
        }
        let floors = (0..CELLS).map(|cell| Wedge::of(cell).floor);
        let expected: Vec<u32> = floors.chain([ENVELOPE.remainder]).collect();
        assert_eq!(found[..expected.len()], expected);
        assert!(found[expected.len()..].iter().all(|units| *units == 0));
    }

    #[test]
    fn the_remainder_holds_all_wedges_and_the_tail_and_wastes_next_to_nothing() {
        let mut unit = 0;
        for cell in 0..CELLS {
            let wedge = Wedge::of(cell);
            for inside in [unit, unit + wedge.rise - 1] {
                assert_eq!(ENVELOPE.of_remainder(inside), Remainder::Wedge(wedge));
            }
            unit += wedge.rise;
        }
        assert_eq!(ENVELOPE.of_remainder(unit), Remainder::Tail);
        assert_eq!(ENVELOPE.of_remainder(unit + 1), Remainder::Empty);
        assert!((unit + 1..unit + 200).contains(&ENVELOPE.remainder), "{unit} of {}", ENVELOPE.remainder);
        assert!(ENVELOPE.remainder < UNITS / 75);
    }

    #[test]
    fn a_word_gives_its_sign_and_its_place_to_the_deviate() {
        let place = 0x2a_5555_1234_u64;
        let words = (0..1 << SLOT_BITS).map(|slot| place << 26 | slot);
        for word in words {
            let Some(positive) = ENVELOPE.in_a_block(word) else { continue };
            assert_eq!(positive.cast_unsigned() % (1 << PLACE_BITS), place);
            assert_eq!(ENVELOPE.in_a_block(word | 1 << 25), Some(-1 - positive));
        }
    }
}
