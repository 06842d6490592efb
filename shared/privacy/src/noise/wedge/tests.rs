//! Trials at hand-made ties, against dashu's exponential.

use super::*;
use dashu_float::DBig;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

/// x = 1.2345… in cell 79, and its wedge.
const KNOWN: u64 = 21_718_364_201_375;
const CELL: u32 = 79;

fn trial() -> Trial {
    let curve = |edge: u32| f64::from(HEIGHT) * libm::exp(-(f64::from(edge) / 64.0).powi(2) / 2.0);
    #[expect(clippy::as_conversions, reason = "any wedge that the curve passes through")]
    let (floor, ceiling) = (curve(CELL + 1) as u32, curve(CELL) as u32 + 1);
    Trial { wedge: Wedge { cell: CELL, floor, rise: ceiling - floor }, doublings: 0 }
}

fn decimal(number: UBig) -> DBig {
    DBig::from(number).with_precision(150).value()
}

/// The digits of the V at which x = `KNOWN`/2⁴⁴ is accepted no longer.
fn deciding_digits(count: usize) -> Vec<u64> {
    let x = decimal(UBig::from(KNOWN)) / decimal(UBig::ONE << 44);
    let curve = decimal(UBig::from(HEIGHT)) * (-(x.clone() * x / decimal(UBig::from(2_u32)))).exp();
    let Wedge { floor, rise, .. } = trial().wedge;
    let level = (curve - decimal(UBig::from(floor))) / decimal(UBig::from(rise));
    let scaled = (level * decimal(UBig::ONE << (64 * count))).floor().to_int().value();
    let scaled = UBig::try_from(scaled).unwrap();
    (0..count).rev().map(|digit| ((&scaled >> (64 * digit)) & UBig::from(u64::MAX)).try_into().unwrap()).collect()
}

/// x = `KNOWN`/2⁴⁴ and `zeros` digits more.
fn place(zeros: usize) -> Magnitude {
    Magnitude { known: KNOWN, digits: vec![0; zeros] }
}

#[test]
fn a_point_far_from_the_curve_needs_no_integers_and_both_ways_agree() {
    let tie = deciding_digits(1)[0];
    for (level, verdict) in [(tie - (1 << 55), true), (tie + (1 << 55), false), (0, true), (u64::MAX, false)] {
        assert_eq!(trial().clear_verdict(KNOWN, level), Some(verdict));
        assert_eq!(trial().certain_verdict(&place(0), &[level]), Some(verdict));
    }
}

#[test]
fn what_floating_point_could_get_wrong_is_left_to_integers() {
    let tie = deciding_digits(1)[0];
    for (level, verdict) in [(tie - (1 << 30), true), (tie + (1 << 30), false)] {
        assert_eq!(trial().clear_verdict(KNOWN, level), None);
        assert_eq!(trial().certain_verdict(&place(0), &[level]), Some(verdict));
    }
    assert_eq!(Trial { doublings: 7, ..trial() }.clear_verdict(KNOWN, 0), None);
}

#[test]
fn points_that_share_the_known_digits_but_not_the_verdict_ask_for_more_digits() {
    for count in 1..5 {
        let digits = deciding_digits(count);
        assert_eq!(trial().certain_verdict(&place(count - 1), &digits), None, "{count}");
        let (mut below, mut above) = (digits.clone(), digits);
        // The curve falls by the wedge's rise within a cell: what x leaves open is 26 bits of V's last digit.
        below[count - 1] -= 1 << 30;
        above[count - 1] += 1 << 30;
        assert_eq!(trial().certain_verdict(&place(count - 1), &below), Some(true), "{count}");
        assert_eq!(trial().certain_verdict(&place(count - 1), &above), Some(false), "{count}");
    }
}

#[test]
fn a_tie_is_settled_by_drawn_digits_that_the_deviate_keeps() {
    let mut rng = ChaCha20Rng::from_seed([21; 32]);
    let verdicts = (0..200).map(|_| {
        let mut magnitude = place(1);
        let accepted = trial().settle(&mut magnitude, deciding_digits(2), &mut rng);
        assert_eq!((magnitude.known, magnitude.digits[0]), (KNOWN, 0));
        assert!(magnitude.digits.len() >= 2);
        accepted
    });
    // The tie is at the lower end of what x may be, and x's next digit is seldom that low.
    let accepted = verdicts.filter(|accepted| *accepted).count();
    assert!(accepted < 5, "{accepted}");
}

#[test]
fn digits_after_the_known_ones_turn_the_verdict() {
    let level = deciding_digits(1)[0] - (1 << 18);
    let verdict = |digit| trial().certain_verdict(&Magnitude { known: KNOWN, digits: vec![digit] }, &[level]);
    assert_eq!(trial().certain_verdict(&place(0), &[level]), None);
    assert_eq!((verdict(0), verdict(u64::MAX)), (Some(true), Some(false)));
}

#[test]
fn the_bounds_of_the_exponential_enclose_it_and_close_in() {
    for (number, bits) in [(0_u64, 6), (1, 6), (63, 6), (383, 6), (KNOWN, 44), (700, 6), (3_000, 6)] {
        let fixed = Fixed { number: UBig::from(number), bits };
        let x = decimal(UBig::from(number)) / decimal(UBig::ONE << bits);
        let growth = (x.clone() * x / decimal(UBig::from(2_u32))).exp();
        for precision in [16, 64, 200] {
            let (below, above) = (fixed.growth_below(precision), fixed.growth_above(precision));
            let scaled = growth.clone() * decimal(UBig::ONE << precision);
            assert!(decimal(below.clone()) <= scaled && scaled <= decimal(above.clone()), "{number} at {precision}");
            let width = decimal(above - below) / decimal(UBig::from(10_000_u32)) / decimal(UBig::from(4_u32));
            assert!(width <= growth, "{number} at {precision}");
        }
    }
}
