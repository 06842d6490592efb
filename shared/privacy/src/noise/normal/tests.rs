//! What the remainder's paths draw, each forced, and the bits below a cell.

use std::f64::consts::{PI, SQRT_2};

use super::*;
use crate::noise::envelope::HEIGHT;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

/// The units that the curve has between two magnitudes; 64 cells a deviation.
fn units(from: f64, to: f64) -> f64 {
    let above = |x: f64| libm::erfc(x / SQRT_2);
    f64::from(HEIGHT) * 64.0 * (PI / 2.0).sqrt() * (above(from) - above(to))
}

/// A magnitude from the known bits of a deviate.
fn magnitude(normal: &Normal) -> f64 {
    let known = if normal.known < 0 { !normal.known } else { normal.known };
    libm::ldexp(f64::from(u32::try_from(known >> 20).unwrap()), 20 - KNOWN_BITS.cast_signed())
}

/// Fails where `found` of `trials` is more than 5.5 deviations from its expectation.
fn assert_share(found: usize, trials: u32, probability: f64, what: &str) {
    let (found, trials) = (f64::from(u32::try_from(found).unwrap()), f64::from(trials));
    let deviation = (trials * probability * (1.0 - probability)).sqrt();
    assert!((found - trials * probability).abs() < 5.5 * deviation.max(1.0), "{what}: {found} of {trials}");
}

/// The wedge of a cell.
fn wedge(cell: u32) -> Wedge {
    let wedges = (0..ENVELOPE.remainder()).filter_map(|unit| match ENVELOPE.of_remainder(unit) {
        Remainder::Wedge(wedge) => Some(wedge),
        _ => None,
    });
    wedges.into_iter().find(|wedge| wedge.cell == cell).unwrap()
}

#[test]
fn a_wedge_accepts_each_half_of_its_cell_by_the_curve_above_the_block() {
    const TRIALS: u32 = 100_000;
    let mut rng = ChaCha20Rng::from_seed([11; 32]);
    for cell in [0, 1, 10, 64, 150, 300, CELLS - 1] {
        let wedge = wedge(cell);
        let drawn = (0..TRIALS).filter_map(|_| accept(Trial { wedge, doublings: 0 }, &mut rng));
        let places: Vec<f64> = drawn.map(|normal| magnitude(&normal) * 64.0 - f64::from(cell)).collect();
        assert!(places.iter().all(|place| (0.0..1.0).contains(place)));
        let edge = |place: f64| (f64::from(cell) + place) / 64.0;
        for half in [0.0, 0.5] {
            let inside = places.iter().filter(|place| (half..half + 0.5).contains(*place)).count();
            let accepted = (units(edge(half), edge(half + 0.5)) - f64::from(wedge.floor) / 2.0) / f64::from(wedge.rise);
            assert_share(inside, TRIALS, accepted, &format!("cell {cell} from {half}"));
        }
    }
}

#[test]
fn the_tail_accepts_by_the_normal_distribution_beyond_six_deviations() {
    const TRIALS: u32 = 30_000;
    let mut rng = ChaCha20Rng::from_seed([12; 32]);
    let drawn = (0..TRIALS).filter_map(|_| tail_piece(&mut rng).and_then(|trial| accept(trial, &mut rng)));
    let drawn: Vec<Normal> = drawn.collect();
    let magnitudes: Vec<f64> = drawn.iter().map(magnitude).collect();
    for (from, to) in [(6.0, 6.05), (6.05, 6.1), (6.1, 6.2), (6.2, 6.4), (6.4, 7.0), (7.0, 1e3)] {
        let inside = magnitudes.iter().filter(|x| (from..to).contains(*x)).count();
        assert_share(inside, TRIALS, units(from, to), &format!("from {from}"));
    }
    let negative = drawn.iter().filter(|normal| normal.known < 0).count();
    assert_share(negative, u32::try_from(drawn.len()).unwrap(), 0.5, "negative");
}

#[test]
fn bits_well_below_a_cell_are_uniform_whatever_path_drew_them() {
    const DRAWS: u32 = 200_000;
    let mut rng = ChaCha20Rng::from_seed([13; 32]);
    let any: Vec<Normal> = (0..DRAWS).map(|_| sample(&ENVELOPE, &mut rng)).collect();
    let remainder: Vec<Normal> = (0..DRAWS).filter_map(|_| draw_remainder(&mut rng)).collect();
    for (mut sample, path) in [(any, "any"), (remainder, "remainder")] {
        let draws = u32::try_from(sample.len()).unwrap();
        for bit in 0..KNOWN_BITS - CELL_BITS - 8 {
            let ones = sample.iter().filter(|normal| normal.known >> bit & 1 == 1).count();
            assert_share(ones, draws, 0.5, &format!("{path}: bit {bit}"));
        }
        for digit in [0, 63] {
            let ones =
                sample.iter_mut().filter_map(|normal| (normal.digit(0, &mut rng) >> digit & 1 == 1).then_some(()));
            assert_share(ones.count(), draws, 0.5, &format!("{path}: further bit {digit}"));
        }
    }
}

#[test]
fn a_negative_deviate_has_the_complements_of_its_magnitudes_digits() {
    let mut rng = ChaCha20Rng::from_seed([0; 32]);
    assert_eq!(Normal::of_digits(5, &[1, 2]).digit(1, &mut rng), 2);
    assert_eq!(Normal::of_digits(signed(5, true), &[1, 2]).digit(1, &mut rng), !2);
    assert_eq!(signed(5, true), -6);
}

#[test]
fn a_number_below_a_bound_is_any_of_them() {
    let mut rng = ChaCha20Rng::from_seed([14; 32]);
    for bound in [1, 2, 5, 64] {
        let drawn: Vec<u32> = (0..20_000).map(|_| uniform_below(bound, &mut rng)).collect();
        for number in 0..bound {
            let found = drawn.iter().filter(|drawn| **drawn == number).count();
            assert_share(found, 20_000, 1.0 / f64::from(bound), &format!("{number} below {bound}"));
        }
        assert!(drawn.iter().all(|number| *number < bound));
    }
}
