//! The accountants against reference vectors from independent implementations, and against what must hold of any ε.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// The rows of a file of reference vectors, or none, with a word on stderr, where there are no vectors.
fn rows(file: &str) -> Vec<csv::StringRecord> {
    let root = std::env::var_os("RINGFENCE_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let path = root.join("dp").join(file);
    match csv::Reader::from_path(&path) {
        Ok(mut reader) => reader.records().map(Result::unwrap).collect(),
        Err(error) => {
            eprintln!("not tested: no reference vectors at {}: {error}", path.display());
            Vec::new()
        }
    }
}

fn number(row: &csv::StringRecord, column: usize) -> f64 {
    row[column].parse().unwrap()
}

fn training(noise_multiplier: f64, sampling_rate: f64, steps: u32) -> Mechanism {
    Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate, steps }
}

#[test]
fn epsilon_is_never_below_the_proven_lower_bound_and_no_looser_than_other_accountants() {
    for row in rows("vectors_dev.csv") {
        let history = [training(number(&row, 1), number(&row, 2), row[3].parse().unwrap())];
        let (delta, reference) = (number(&row, 4), number(&row, 9));
        let epsilon = epsilon(&history, delta).unwrap();
        let exact = number(&row, 13);
        let lower = if exact.is_nan() { number(&row, 10) } else { exact };
        println!("{}: {epsilon:.6}, {:+.4} % of the reference", &row[0], (epsilon / reference - 1.0) * 100.0);
        assert!(epsilon >= lower, "{}: {epsilon} is below {lower}", &row[0]);
        assert!(epsilon <= reference * 1.002 + 0.001, "{}: {epsilon} where {reference} was expected", &row[0]);
        assert!((epsilon / reference - 1.0).abs() < 0.01, "{}: {epsilon}", &row[0]);
    }
}

#[test]
fn rare_samples_with_huge_losses_cost_what_an_independent_accountant_says() {
    // Random parameters; ε by dp-accounting 0.6.0 (PLD, grid 1e-4).
    for (sigma, q, steps, delta, reference) in [
        (0.694_400_652, 0.002_658_432_031_6, 60, 2.645_729_459e-8, 2.164_082_401),
        (0.465_137_664, 0.000_302_247_951_0, 315, 1.894_172_748e-8, 4.612_170_498),
        (0.492_613_936, 0.000_174_213_519_8, 5596, 1.066_750_098e-10, 5.871_483_459),
    ] {
        let found = epsilon(&[training(sigma, q, steps)], delta).unwrap();
        let excess = found / reference - 1.0;
        assert!((-1e-4..0.002).contains(&excess), "{sigma} {q} {steps}: {found}, {reference} expected");
    }
}

#[test]
fn the_official_epsilon_is_the_least_of_the_bounds_and_zcdp_knows_no_sampling() {
    let sampled = bounds(&[training(1.0, 0.01, 1_000)], 1e-5).unwrap();
    assert_eq!((sampled.zcdp, Some(sampled.official)), (None, sampled.pld));
    assert!(sampled.rdp > sampled.official && (7.0..9.0).contains(&sampled.rdp_order));
    let whole = bounds(&[training(8.0, 1.0, 100), Mechanism::ZeroConcentrated { rho: 0.01 }], 1e-5).unwrap();
    let alone = zcdp::epsilon(100.0 / 128.0 + 0.01, 1e-5);
    assert!((whole.zcdp.unwrap() / alone - 1.0).abs() < 1e-6 && Some(whole.official) <= whole.zcdp);
    let counts = bounds(&[Mechanism::ZeroConcentrated { rho: 0.01 }], 1e-5).unwrap();
    assert_eq!((counts.pld, Some(counts.official)), (None, counts.zcdp.map(|zcdp| zcdp.min(counts.rdp))));
}

#[test]
fn the_default_delta_is_never_above_one_in_a_million_or_a_tenth_of_a_record() {
    assert_eq!([0, 1, 100_000].map(default_delta), [1e-6; 3]);
    assert!((default_delta(1_000_000) / 1e-7 - 1.0).abs() < 1e-12 && default_delta(u64::MAX) > 0.0);
}

#[test]
fn renyi_divergence_agrees_with_quadrature_of_thirty_digits() {
    for row in rows("rdp_orders_dev.csv") {
        let (sigma, q, order, reference) = (number(&row, 0), number(&row, 1), number(&row, 2), number(&row, 3));
        let error = rdp::subsampled_gaussian(sigma, q, order) / reference - 1.0;
        assert!(error.abs() < 1e-9, "sigma {sigma} q {q} order {order}: {error}");
    }
}

#[test]
fn renyi_divergence_of_whole_orders_is_the_binomial_sum() {
    // Mironov, Talwar and Zhang 2019, equation 8.
    for (sigma, q, order) in
        [(0.3_f64, 0.01_f64, 3_u32), (0.5, 0.2, 5), (1.0, 1e-5, 8), (5.0, 0.3, 20), (50.0, 0.01, 64)]
    {
        let mut binomial = 1.0;
        let mut excess = 0.0;
        for k in 0..=order {
            let power = f64::from(k) * (f64::from(k) - 1.0) / (2.0 * sigma * sigma);
            let (kept, left) = (i32::try_from(k).unwrap(), i32::try_from(order - k).unwrap());
            excess += binomial * (1.0 - q).powf(f64::from(left)) * q.powi(kept) * power.exp_m1();
            binomial *= f64::from(order - k) / (f64::from(k) + 1.0);
        }
        let expected = f64::ln_1p(excess) / (f64::from(order) - 1.0);
        let found = rdp::subsampled_gaussian(sigma, q, f64::from(order));
        assert!((found / expected - 1.0).abs() < 1e-9, "{sigma} {q} {order}: {found} where {expected} was expected");
    }
}

#[test]
fn renyi_divergence_without_subsampling_is_linear_in_the_order() {
    for (sigma, order) in [(0.1, 1.01), (0.5, 300.0), (1.0, 1.5), (20.0, 5_000.0), (1e6, 2.0)] {
        let expected = order / (2.0 * sigma * sigma);
        let found = rdp::subsampled_gaussian(sigma, 1.0, order);
        assert!((found / expected - 1.0).abs() < 1e-9, "{sigma} {order}: {found} where {expected} was expected");
    }
}

#[test]
fn zcdp_is_as_tight_as_opendp() {
    for row in rows("zcdp_opendp.csv") {
        let (rho, delta, reference) = (number(&row, 0), number(&row, 1), number(&row, 3));
        let found = epsilon(&[Mechanism::ZeroConcentrated { rho }], delta).unwrap();
        assert!((found / reference - 1.0).abs() < 1e-5, "{rho} {delta}: {found} where {reference} was expected");
    }
}

#[test]
fn zcdp_never_claims_less_than_a_gaussian_of_that_rho_spends() {
    // Balle and Wang 2018, Theorem 8: the exact δ of the Gaussian mechanism, here at the ε that was claimed.
    let tail = |z: f64| libm::erfc(z / std::f64::consts::SQRT_2) / 2.0;
    for (rho, delta) in [(0.001_f64, 1e-5), (0.05, 1e-6), (0.5, 1e-8), (2.0, 1e-5)] {
        let sigma = (2.0 * rho).sqrt().recip();
        let claimed = zcdp::epsilon(rho, delta);
        let half = 1.0 / (2.0 * sigma);
        let spent = tail(claimed * sigma - half) - claimed.exp() * tail(claimed * sigma + half);
        assert!(spent <= delta, "{rho}: {spent} above {delta}");
    }
}

#[test]
fn the_loss_distribution_of_one_gaussian_release_is_exact_for_every_delta() {
    let tail = |z: f64| libm::erfc(z / std::f64::consts::SQRT_2) / 2.0;
    for (sigma, delta) in [(1.0_f64, 1e-3), (1.0, 1e-9), (2.0, 1e-15), (8.0, 1e-30), (30.0, 1e-6), (500.0, 1e-8)] {
        let found = epsilon(&[training(sigma, 1.0, 1)], delta).unwrap();
        let delta_at =
            |epsilon: f64| tail(epsilon * sigma - 0.5 / sigma) - epsilon.exp() * tail(epsilon * sigma + 0.5 / sigma);
        assert!(delta_at(found) <= delta * (1.0 + 1e-9), "{sigma} {delta}: {found}");
        assert!(delta_at(found * 0.999) > delta, "{sigma} {delta}: {found} is loose");
    }
}

#[test]
fn counts_beside_training_cost_less_than_both_alone() {
    let history = [training(1.1, 0.01, 1_000), Mechanism::ZeroConcentrated { rho: 0.005 }];
    let [trained, counted] = [0, 1].map(|index| epsilon(&history[index..=index], 1e-6).unwrap());
    let both = epsilon(&history, 1e-6).unwrap();
    assert!(both > trained && both < trained + counted, "{trained} and {counted} make {both}");
}

#[test]
fn equal_mechanisms_cost_the_same_however_they_are_split() {
    let whole = epsilon(&[training(0.9, 0.02, 900)], 1e-6).unwrap();
    let split = epsilon(&[training(0.9, 0.02, 300), training(0.9, 0.02, 0), training(0.9, 0.02, 600)], 1e-6).unwrap();
    assert_eq!(whole, split);
}

#[test]
fn different_mechanisms_compose_to_between_the_milder_and_the_harsher() {
    let of = |history: &[Mechanism]| epsilon(history, 1e-6).unwrap();
    let mixed = of(&[training(0.9, 0.02, 300), training(1.2, 0.01, 300), training(2.0, 0.1, 300)]);
    let harsher = of(&[training(0.9, 0.1, 900)]);
    assert!(mixed > of(&[training(2.0, 0.1, 300)]) && mixed < harsher);
    // Gaussians without subsampling compose to one Gaussian: 1/σ² adds up.
    let (together, one) = (of(&[training(5.0, 1.0, 4), training(10.0, 1.0, 9)]), of(&[training(2.0, 1.0, 1)]));
    assert!((together / one - 1.0).abs() < 2e-4, "{together} and {one}");
}

#[test]
fn an_empty_history_costs_nothing_and_a_hopeless_one_costs_a_finite_much() {
    assert_eq!(epsilon(&[], 1e-6), Ok(0.0));
    let hopeless = epsilon(&[training(0.1, 1.0, u32::MAX)], 1e-12).unwrap();
    assert!(hopeless.is_finite() && hopeless > 1e9);
    let harmless = epsilon(&[training(1e6, 1e-9, 1)], 1e-6).unwrap();
    assert!((0.0..1e-6).contains(&harmless), "{harmless}");
}

#[test]
fn a_calibrated_multiplier_keeps_the_target_and_a_slightly_smaller_one_does_not() {
    for (target, q, steps) in [(0.5, 0.05, 300), (2.0, 0.01, 3_000), (8.0, 1.0, 1), (1.0, 0.001, 30_000)] {
        let target = Guarantee { epsilon: target, delta: 1e-6 };
        let sigma = calibrate(target, q, steps).unwrap();
        assert!(epsilon(&[training(sigma, q, steps)], target.delta).unwrap() <= target.epsilon);
        assert!(epsilon(&[training(sigma * 0.999, q, steps)], target.delta).unwrap() > target.epsilon);
    }
}

#[test]
fn a_target_that_no_noise_reaches_is_refused() {
    let target = Guarantee { epsilon: 1e-3, delta: 1e-6 };
    assert!(matches!(calibrate(target, 1.0, u32::MAX), Err(PrivacyError::Unreachable { .. })));
    assert!(calibrate(Guarantee { epsilon: 1.0, delta: 0.0 }, 0.1, 10).is_err());
    assert!(calibrate(Guarantee { epsilon: f64::NAN, delta: 1e-6 }, 0.1, 10).is_err());
}

#[test]
fn parameters_outside_their_range_are_refused() {
    for (sigma, q) in [(0.0, 0.1), (0.05, 0.1), (f64::NAN, 0.1), (2e6, 0.1), (1.0, 0.0), (1.0, 1.1), (1.0, f64::NAN)] {
        assert!(matches!(epsilon(&[training(sigma, q, 1)], 1e-6), Err(PrivacyError::Mechanism { .. })), "{sigma} {q}");
    }
    for delta in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(epsilon(&[training(1.0, 0.1, 1)], delta).is_err(), "{delta}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Grids differ between the two sides, each within 1e-3 of the truth and above it.
    #[test]
    fn epsilon_grows_with_steps_and_falls_with_noise_and_delta(
        sigma in 0.5_f64..10.0, q in 1e-3_f64..1.0, steps in 1_u32..5_000, log_delta in -10.0_f64..-3.0, by in 1.1_f64..3.0
    ) {
        let delta = 10_f64.powf(log_delta);
        let more = steps + steps / 5 + 1;
        let of = |sigma, steps, delta| epsilon(&[training(sigma, q, steps)], delta).unwrap();
        let least = of(sigma, steps, delta) * 0.999;
        prop_assert!(of(sigma, more, delta) >= least);
        prop_assert!(of(sigma / by, steps, delta) >= least);
        prop_assert!(of(sigma, steps, delta / by) >= least);
    }

    #[test]
    fn the_order_of_a_history_does_not_matter(
        mut history in prop::collection::vec((0.6_f64..4.0, 0.01_f64..0.5, 1_u32..200), 1..5), rho in 1e-3_f64..0.1
    ) {
        let of = |history: &[(f64, f64, u32)], counts_first: bool| {
            let counts = Mechanism::ZeroConcentrated { rho };
            let mut mechanisms: Vec<_> = history.iter().map(|(sigma, q, steps)| training(*sigma, *q, *steps)).collect();
            mechanisms.insert(if counts_first { 0 } else { mechanisms.len() }, counts);
            epsilon(&mechanisms, 1e-6).unwrap()
        };
        let forwards = of(&history, true);
        history.reverse();
        prop_assert_eq!(forwards, of(&history, false));
    }

    /// Two accountants that share no code path but the mechanism: the tighter is never above the looser by much.
    #[test]
    fn the_loss_distribution_is_tighter_than_renyi(sigma in 0.6_f64..8.0, q in 1e-3_f64..1.0, steps in 1_u32..3_000) {
        let composition = Composition::of(&[training(sigma, q, steps)]).unwrap();
        let renyi = rdp::best(|order| composition.gaussian_divergence(order), 1e-6).epsilon;
        prop_assume!(renyi < 60.0);
        let tight = composition.pld_epsilon(1e-6);
        prop_assert!(tight < renyi && tight > renyi * 0.4, "{tight} and {renyi}");
    }
}
