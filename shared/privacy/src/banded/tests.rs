//! The matrix by its definition, against what is done without it.

use shared::privacy::{Guarantee, Mechanism};

use super::*;
use crate::accountant::{calibrate, epsilon};
use crate::noise::GaussianNoise;

/// C of `steps` × `steps`.
fn matrix(bands: u32, steps: usize) -> Vec<Vec<f64>> {
    let strategy = Strategy::square_root(bands).unwrap();
    let entry = |row: usize, column: usize| {
        row.checked_sub(column).and_then(|lag| strategy.coefficients.get(lag)).copied().unwrap_or(0.0)
    };
    (0..steps).map(|row| (0..steps).map(|column| entry(row, column)).collect()).collect()
}

/// ‖C·π‖ for the pattern whose step t is in it where bit t is set: a record that pulls alike whenever it takes part.
fn moved(matrix: &[Vec<f64>], pattern: u32) -> f64 {
    let row = |row: &Vec<f64>| -> f64 {
        row.iter().enumerate().filter(|(step, _)| pattern >> step & 1 == 1).map(|(_, entry)| entry).sum()
    };
    matrix.iter().map(row).map(|sum| sum * sum).sum::<f64>().sqrt()
}

fn keeps_apart(pattern: u32, separation: u32) -> bool {
    (1..separation).all(|lag| pattern & (pattern >> lag) == 0)
}

#[test]
fn the_coefficients_are_those_of_the_square_root_and_their_square_sums() {
    let strategy = Strategy::square_root(256).unwrap();
    assert_eq!(strategy.coefficients[..4], [1.0, 0.5, 0.375, 0.3125]);
    for lag in 0..256 {
        let square: f64 = (0..=lag).map(|k| strategy.coefficients[k] * strategy.coefficients[lag - k]).sum();
        assert!((square - 1.0).abs() < 1e-12, "{lag}: {square}");
    }
}

#[test]
fn no_pattern_of_participations_moves_more_than_the_sensitivity() {
    const STEPS: u32 = 12;
    for bands in 1..=6 {
        let matrix = matrix(bands, 12);
        let strategy = Strategy::square_root(bands).unwrap();
        for participations in 1..=STEPS / bands {
            let patterns = (0..1 << STEPS).filter(|pattern: &u32| pattern.count_ones() <= participations);
            let apart = patterns.filter(|pattern| keeps_apart(*pattern, bands));
            let most = apart.map(|pattern| moved(&matrix, pattern)).fold(0.0, f64::max);
            let sensitivity = strategy.sensitivity(participations);
            assert!(most <= sensitivity * (1.0 + 1e-12), "{bands} {participations}: {most} above {sensitivity}");
            assert!(
                most > sensitivity * (1.0 - 1e-12),
                "{bands} {participations}: {most} where {sensitivity} is reached"
            );
        }
    }
}

#[test]
fn participations_nearer_than_the_bands_move_more_than_the_sensitivity() {
    let adjacent = moved(&matrix(3, 12), 0b11);
    assert!(adjacent > Strategy::square_root(3).unwrap().sensitivity(2) * 1.1, "{adjacent}");
}

#[test]
fn the_matrix_times_the_noise_of_the_steps_is_the_independent_noise() {
    for bands in [1, 2, 5, 16] {
        let strategy = Strategy::square_root(bands).unwrap();
        let mut correlation = Correlation::new(&strategy);
        let mut source = GaussianNoise::from_seed([3; 32]);
        let (mut independent, mut correlated) = (Vec::new(), Vec::new());
        for step in 0..24_u8 {
            let gradient = [f32::from(step), -1.0];
            let mut values = gradient;
            let draw = |values: &mut [f32]| {
                let before = values.to_vec();
                source.add(2.0, values)?;
                independent.push(values.iter().zip(before).map(|(after, before)| f64::from(after - before)).collect());
                Ok::<(), PrivacyError>(())
            };
            correlation.add(&mut values, draw).unwrap();
            correlated.push([0, 1].map(|place| f64::from(values[place] - gradient[place])));
        }
        for (row, drawn) in matrix(bands, 24).iter().zip::<&Vec<Vec<f64>>>(&independent) {
            for place in [0, 1] {
                let product: f64 = row.iter().zip(&correlated).map(|(entry, noise)| entry * noise[place]).sum();
                assert!((product - drawn[place]).abs() < 1e-4, "{bands} bands: {product} is not {}", drawn[place]);
            }
        }
    }
}

#[test]
fn prefix_sums_carry_the_noise_that_is_foretold() {
    const STEPS: u32 = 20;
    let strategy = Strategy::square_root(4).unwrap();
    let mut correlation = Correlation::new(&strategy);
    let mut source = GaussianNoise::from_seed([5; 32]);
    let mut sums = vec![0.0_f64; 5000];
    let mut mean_square = 0.0;
    for _ in 0..STEPS {
        let mut values = vec![0.0; sums.len()];
        correlation.add(&mut values, |values| source.add(1.0, values)).unwrap();
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(value));
        mean_square += sums.iter().map(|sum| sum * sum).sum::<f64>() / 5000.0 / f64::from(STEPS);
    }
    // 5000 coordinates leave the deviation a standard error of at most 1 %.
    let ratio = mean_square.sqrt() / strategy.prefix_sum_error(STEPS);
    assert!((ratio - 1.0).abs() < 0.03, "{ratio}");
}

#[test]
fn independent_noise_is_the_case_of_one_band_and_grows_with_the_root_of_the_steps() {
    let strategy = Strategy::square_root(1).unwrap();
    assert!((strategy.prefix_sum_error(9) - 5.0_f64.sqrt()).abs() < 1e-12);
    assert_eq!(strategy.sensitivity(4), 2.0);
    let mut correlation = Correlation::new(&strategy);
    let (mut wrapped, mut plain) = ([[1.0_f32; 8]; 2], [[1.0_f32; 8]; 2]);
    let [mut one, mut other] = [(); 2].map(|()| GaussianNoise::from_seed([1; 32]));
    for step in [0, 1] {
        correlation.add(&mut wrapped[step], |values| one.add(1.0, values)).unwrap();
        other.add(1.0, &mut plain[step]).unwrap();
    }
    assert_eq!(wrapped, plain);
}

#[test]
fn bands_make_sums_less_noisy_at_the_same_epsilon() {
    let error = |bands: u32| {
        let strategy = Strategy::square_root(bands).unwrap();
        strategy.prefix_sum_error(1000) * strategy.sensitivity(4)
    };
    let errors = [1, 4, 16, 64, 250].map(error);
    assert!(errors.is_sorted_by(|less, more| less > more), "{errors:?}");
    assert!(errors[4] < errors[0] / 5.0, "{errors:?}");
}

#[test]
fn epsilon_is_that_of_one_gaussian_release_of_the_whole_sensitivity() {
    // Balle and Wang 2018, Theorem 8: the exact δ of the Gaussian mechanism.
    let tail = |z: f64| libm::erfc(z / std::f64::consts::SQRT_2) / 2.0;
    for (noise_multiplier, bands, steps, participations) in [(5.0, 1, 1, 1), (20.0, 8, 64, 8), (9.0, 64, 1000, 3)] {
        let mechanism = Mechanism::BandedGaussian { noise_multiplier, bands, steps, participations };
        let found = epsilon(&[mechanism], 1e-6).unwrap();
        let sigma = noise_multiplier / Strategy::square_root(bands).unwrap().sensitivity(participations);
        let delta =
            |epsilon: f64| tail(epsilon * sigma - 0.5 / sigma) - epsilon.exp() * tail(epsilon * sigma + 0.5 / sigma);
        assert!(delta(found) <= 1e-6 * (1.0 + 1e-9) && delta(found * 0.999) > 1e-6, "{mechanism:?}: {found}");
    }
}

#[test]
fn a_calibrated_history_of_rounds_keeps_its_target() {
    let target = Guarantee { epsilon: 2.0, delta: 1e-6 };
    let sigma = calibrate(target, 1.0, 10).unwrap();
    let noise_multiplier = sigma * Strategy::square_root(8).unwrap().sensitivity(2);
    let round = Mechanism::BandedGaussian { noise_multiplier, bands: 8, steps: 40, participations: 2 };
    let spent = epsilon(&[round; 10], 1e-6).unwrap();
    assert!(spent <= 2.0 + 1e-9 && spent > 1.99, "{spent}");
}

#[test]
fn bands_and_participations_that_cannot_be_are_refused() {
    let cost = |bands, steps, participations| {
        epsilon(&[Mechanism::BandedGaussian { noise_multiplier: 5.0, bands, steps, participations }], 1e-6)
    };
    assert!(cost(8, 16, 2).is_ok());
    for (bands, steps, participations) in [(0, 16, 2), (257, 1000, 1), (8, 15, 2), (8, 16, 3), (8, 16, 0)] {
        let refused = cost(bands, steps, participations);
        assert!(matches!(refused, Err(PrivacyError::Mechanism { .. })), "{bands} {steps} {participations}");
    }
}

#[test]
fn noise_that_cannot_be_drawn_leaves_all_as_it_was() {
    let mut correlation = Correlation::new(&Strategy::square_root(3).unwrap());
    let mut values = [1.0_f32; 2];
    correlation.add(&mut values, |values| GaussianNoise::from_seed([1; 32]).add(1.0, values)).unwrap();
    let (kept, before) = (correlation.earlier.clone(), values);
    assert_eq!(correlation.add(&mut values, |_| Err(PrivacyError::NoRandomness)), Err(PrivacyError::NoRandomness));
    assert_eq!((correlation.earlier, values), (kept, before));
}
