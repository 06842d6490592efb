//! The sampler against opendp's discrete Gaussian and against the normal distribution itself.
//!
//! Our side is seeded. opendp cannot be, so every threshold against it leaves a false alarm a chance below 1e-6.

use std::sync::LazyLock;

use super::*;
use crate::counts;

/// The deviation on the common grid of integers, wide enough that rounding moves no moment visibly.
const STD_DEV: f64 = 1024.0;
const THEIRS: usize = 300_000;
const OURS: usize = 3_000_000;

/// opendp's draws, over σ. ρ = 1/(2σ²).
static OPENDP: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let drawn = counts::noisy_counts(&[0; THEIRS], 1.0 / (2.0 * STD_DEV * STD_DEV), 1).unwrap();
    drawn.into_iter().map(|value| f64::from(i32::try_from(value).unwrap()) / STD_DEV).collect()
});

/// Our draws, rounded to the same grid, over σ.
static RINGFENCE: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut values = vec![0.0; OURS];
    GaussianNoise::from_seed([7; 32]).add(STD_DEV, &mut values).unwrap();
    values.into_iter().map(|value| f64::from(value).round() / STD_DEV).collect()
});

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// Φ.
fn normal_cdf(z: f64) -> f64 {
    libm::erfc(-z / std::f64::consts::SQRT_2) / 2.0
}

/// How many of `sample` lie in each of the bins that `edges` separate.
fn histogram(sample: &[f64], edges: &[f64]) -> Vec<f64> {
    let mut bins = vec![0.0; edges.len() + 1];
    for value in sample {
        bins[edges.partition_point(|edge| edge < value)] += 1.0;
    }
    bins
}

/// Bin edges half-way between grid points, so that no draw lies on one: steps of about 0.1 σ up to 3 σ.
fn edges() -> Vec<f64> {
    (-30..=30).map(|step| (f64::from(step * 102) + 0.5) / STD_DEV).collect()
}

/// The chi-square value that a statistic of `degrees` degrees of freedom exceeds with probability below 1e-7
/// (Wilson and Hilferty 1931, at 5.2 deviations).
fn chi_square_limit(degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + 5.3 * spread.sqrt()).powi(3)
}

#[test]
fn binned_counts_agree_with_opendp_by_chi_square() {
    let (ours, theirs) = (histogram(&RINGFENCE, &edges()), histogram(&OPENDP, &edges()));
    let ratio = (float(OURS) / float(THEIRS)).sqrt();
    let statistic: f64 = ours.iter().zip(&theirs).map(|(a, b)| (a / ratio - b * ratio).powi(2) / (a + b)).sum();
    assert!(statistic < chi_square_limit(float(ours.len() - 1)), "{statistic}");
}

#[test]
fn binned_counts_agree_with_the_normal_distribution_by_chi_square() {
    let edges = edges();
    let ours = histogram(&RINGFENCE, &edges);
    let below: Vec<f64> = edges.iter().map(|edge| normal_cdf(*edge)).chain([1.0]).collect();
    let before = [0.0].into_iter().chain(below.clone());
    let expected = below.iter().zip(before).map(|(to, from)| (to - from) * float(OURS));
    let statistic: f64 = ours.iter().zip(expected).map(|(found, expected)| (found - expected).powi(2) / expected).sum();
    assert!(statistic < chi_square_limit(float(edges.len())), "{statistic}");
}

#[test]
fn the_distribution_agrees_with_opendp_by_kolmogorov_and_smirnov() {
    let (mut ours, mut theirs) = (RINGFENCE.clone(), OPENDP.clone());
    ours.sort_by(f64::total_cmp);
    theirs.sort_by(f64::total_cmp);
    let share = |sample: &[f64], z: f64| float(sample.partition_point(|value| *value <= z)) / float(sample.len());
    let distance = theirs.iter().map(|z| (share(&ours, *z) - share(&theirs, *z)).abs()).fold(0.0, f64::max);
    // P(distance > limit) is at most about 2 exp(−2 limit² nm/(n + m)) = 1e-7.
    let size = float(OURS) * float(THEIRS) / float(OURS + THEIRS);
    assert!(distance < ((2e7_f64).ln() / (2.0 * size)).sqrt(), "{distance}");
}

#[test]
fn the_distribution_agrees_with_the_normal_one_by_kolmogorov_and_smirnov() {
    let mut values = vec![0.0; OURS];
    GaussianNoise::from_seed([8; 32]).add(1.0, &mut values).unwrap();
    values.sort_by(f32::total_cmp);
    let shares = (0..OURS).map(|rank| (float(rank) + 0.5) / float(OURS));
    let distances = values.iter().zip(shares).map(|(value, share)| (normal_cdf(f64::from(*value)) - share).abs());
    // P(distance > limit) is at most 2 exp(−2 limit² n) = 1e-7 (Dvoretzky, Kiefer and Wolfowitz 1956, Massart 1990).
    assert!(distances.fold(0.0, f64::max) < ((2e7_f64).ln() / (2.0 * float(OURS))).sqrt());
}

#[test]
fn moments_up_to_kurtosis_agree_with_opendp() {
    // The n-th moments of a standard normal deviate, and the deviations of its powers.
    let moments = [(1, 0.0, 1.0_f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)];
    let mean = |sample: &[f64], power| sample.iter().map(|z| z.powi(power)).sum::<f64>() / float(sample.len());
    for (power, expected, variance) in moments {
        let (ours, theirs) = (mean(&RINGFENCE, power), mean(&OPENDP, power));
        let (our_error, their_error) = ((variance / float(OURS)).sqrt(), (variance / float(THEIRS)).sqrt());
        assert!((ours - expected).abs() < 5.5 * our_error, "moment {power}: {ours}");
        assert!((ours - theirs).abs() < 6.5 * our_error.hypot(their_error), "moment {power}: {ours} and {theirs}");
    }
}

#[test]
fn tails_beyond_three_and_four_deviations_agree_with_opendp() {
    for deviations in [3.0, 4.0] {
        // From the grid point above the deviation, so that both sides round alike.
        let beyond = |sample: &[f64]| float(sample.iter().filter(|z| z.abs() > deviations).count());
        let expected = 2.0 * normal_cdf(-deviations - 0.5 / STD_DEV);
        // Square roots of Poisson counts have a deviation of a half whatever their mean.
        let surprise = |found: f64, expected: f64| 2.0 * (found.sqrt() - expected.sqrt()).abs();
        let (ours, theirs) = (beyond(&RINGFENCE), beyond(&OPENDP));
        assert!(surprise(ours, expected * float(OURS)) < 4.5, "{deviations}: {ours}");
        assert!(surprise(theirs, expected * float(THEIRS)) < 8.0, "{deviations}: {theirs}");
        let scale = float(THEIRS) / float(OURS);
        assert!(surprise(ours * scale, theirs) < 9.0, "{deviations}: {ours} and {theirs}");
    }
}

#[test]
fn the_sign_and_the_size_of_a_deviate_are_independent() {
    let positive = float(RINGFENCE.iter().filter(|z| **z > 0.0).count());
    let negative = float(RINGFENCE.iter().filter(|z| **z < 0.0).count());
    assert!((positive - negative).abs() < 5.5 * float(OURS).sqrt());
    let large = |sign: f64| float(RINGFENCE.iter().filter(|z| **z * sign > 1.0).count());
    assert!((large(1.0) - large(-1.0)).abs() < 5.5 * (large(1.0) + large(-1.0)).sqrt());
}

#[test]
fn two_sources_from_the_operating_system_never_agree_and_two_of_one_seed_always_do() {
    let draw = |mut noise: GaussianNoise| {
        let mut values = [0.0; 4];
        noise.add(1.0, &mut values).unwrap();
        values
    };
    assert_ne!(draw(GaussianNoise::from_os().unwrap()), draw(GaussianNoise::from_os().unwrap()));
    assert_eq!(draw(GaussianNoise::from_seed([1; 32])), draw(GaussianNoise::from_seed([1; 32])));
    assert_ne!(draw(GaussianNoise::from_seed([1; 32])), draw(GaussianNoise::from_seed([2; 32])));
}

#[test]
fn what_cannot_be_protected_is_refused_and_left_alone() {
    let mut noise = GaussianNoise::from_seed([0; 32]);
    for std_dev in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e13, 1e-13] {
        let refused = noise.add(std_dev, &mut [1.0]);
        assert!(matches!(refused, Err(PrivacyError::StandardDeviation(_))), "{std_dev}");
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = [1.0, bad];
        assert_eq!(noise.add(1.0, &mut values), Err(PrivacyError::NotFinite { index: 1 }));
        assert_eq!(values[0].to_bits(), 1.0_f32.to_bits());
    }
}
