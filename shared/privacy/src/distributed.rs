//! Noise that many sites add up to: each adds opendp's discrete Gaussian to whole numbers, and their sum is accounted as
//! ρ-zCDP (Kairouz, Liu and Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
//! Aggregation").
//!
//! How large a part has to be is the task's ([`shared::task::NoiseShare`]); that a sum of parts is all that anybody sees is
//! for secure aggregation to see to. A draw costs microseconds: for once a round, not for every step.

use std::f64::consts::PI;

use crate::PrivacyError;
use crate::counts::{gaussian, refused};

/// `values`, each with discrete Gaussian noise of deviation `std_dev` from the operating system's randomness.
///
/// # Errors
/// `std_dev` is no positive number.
pub fn with_noise(values: &[i64], std_dev: f64) -> Result<Vec<i64>, PrivacyError> {
    if !(std_dev > 0.0 && std_dev.is_finite()) {
        return Err(PrivacyError::StandardDeviation(std_dev));
    }
    gaussian(std_dev)?.invoke(&values.to_vec()).map_err(refused)
}

/// ρ of the sum of `parts` vectors of `entries` whole numbers, to each of which discrete Gaussian noise of deviation
/// `std_dev`, at least ½, was added, where one unit moves the sum by `sensitivity` in the L2 norm: the last bound of
/// Proposition 14.
pub fn rho_of_sum(sensitivity: f64, std_dev: f64, parts: u32, entries: u32) -> f64 {
    let gap = gap_to_gaussian(std_dev, parts) * f64::from(entries).sqrt();
    let ratio = sensitivity / (f64::from(parts).sqrt() * std_dev) + gap;
    ratio * ratio / 2.0
}

/// τ: how far a sum of discrete Gaussians is from being one.
fn gap_to_gaussian(std_dev: f64, parts: u32) -> f64 {
    let term = |k: u32| (-2.0 * PI * PI * std_dev * std_dev * f64::from(k) / f64::from(k + 1)).exp();
    10.0 * (1..parts).map(term).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use shared::task::MIN_STD_DEV;

    use super::*;

    #[test]
    fn from_the_least_part_on_a_sum_of_discrete_gaussians_is_one() {
        // 10 · 1000 · exp(−π² σ²) bounds τ: every exponent is at least that of k = 1.
        assert!(1e4_f64.ln() - PI * PI * MIN_STD_DEV * MIN_STD_DEV < -300.0 * 10_f64.ln());
        for parts in [1, 2, 129, 1000] {
            assert_eq!(gap_to_gaussian(MIN_STD_DEV, parts), 0.0);
            let whole = f64::from(parts).sqrt() * MIN_STD_DEV;
            let rho = rho_of_sum(3.0 * whole, MIN_STD_DEV, parts, 100_000_000);
            assert!((rho - 4.5).abs() < 1e-12, "{rho}");
        }
        assert!(gap_to_gaussian(0.5, 2) > 0.07, "and with little noise it is not");
    }

    #[test]
    fn the_bound_is_what_the_papers_own_code_computes() {
        // google-research/federated, distributed_dp/accounting_utils.py, evaluated in Python.
        for ((std_dev, parts, sensitivity, entries), tau, rho) in [
            ((0.5, 3, 1.0, 4), 1.220_637_347_186_550_6, 6.465_518_937_284_169),
            ((0.7, 5, 2.0, 100), 0.106_646_348_110_802_59, 2.747_675_759_897_117_3),
        ] {
            assert!((gap_to_gaussian(std_dev, parts) / tau - 1.0_f64).abs() < 1e-12);
            assert!((rho_of_sum(sensitivity, std_dev, parts, entries) / rho - 1.0_f64).abs() < 1e-12);
        }
    }

    #[test]
    fn what_a_task_is_charged_is_never_below_the_sum_of_its_parts() {
        // What `Recipe::cost_per_round` charges: noise of `multiplier` sensitivities costs 1 / (2 multiplier²).
        for (multiplier, parts) in [(0.7, 2), (12.3, 8), (165.0, 34), (1e4, 86)] {
            let sensitivity = MIN_STD_DEV * f64::from(parts).sqrt() / multiplier * 1.5;
            let std_dev = multiplier * sensitivity / f64::from(parts).sqrt();
            let charged = (1.0 + 4.0 * f64::EPSILON) / (2.0 * multiplier * multiplier);
            let sum = rho_of_sum(sensitivity, std_dev, parts, 1_000_000);
            assert!((sum / charged - 1.0).abs() < 1e-14, "{sum} of {charged}");
        }
    }

    #[test]
    fn a_sum_of_parts_has_the_deviation_of_the_whole_and_the_mean_of_its_values() {
        const ENTRIES: u32 = 4000;
        let (parts, std_dev) = (8, 1500.0);
        let mut sum = vec![0_i64; 4000];
        for part in 0..parts {
            let noised = with_noise(&[part; 4000], std_dev).unwrap();
            sum.iter_mut().zip(noised).for_each(|(sum, value)| *sum += value);
        }
        let errors = sum.iter().map(|value| f64::from(i32::try_from(value - 28).unwrap()));
        let (mean, square) = errors.fold((0.0, 0.0), |(mean, square), error| (mean + error, square + error * error));
        let variance = square / f64::from(ENTRIES) / (8.0 * std_dev * std_dev);
        assert!((variance - 1.0).abs() < 6.0 * (2.0 / f64::from(ENTRIES)).sqrt(), "{variance}");
        assert!(mean.abs() / f64::from(ENTRIES) < 6.0 * std_dev * (8.0 / f64::from(ENTRIES)).sqrt(), "{mean}");
    }

    #[test]
    fn a_deviation_that_is_no_positive_number_is_refused() {
        for std_dev in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(with_noise(&[1], std_dev), Err(PrivacyError::StandardDeviation(_))), "{std_dev}");
        }
    }
}
