//! Counts that leave a site: opendp's discrete Gaussian (Canonne, Kamath and Steinke 2020), accounted as ρ-zCDP.
//!
//! Only for releases that are small and rare: a draw costs microseconds. Noise for gradients is [`crate::noise`]'s, or
//! [`crate::distributed`]'s where sites share it.

use opendp::core::Measurement;
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;

use crate::PrivacyError;

type Counts = VectorDomain<AtomDomain<i64>>;
type Release = Measurement<Counts, L2Distance<f64>, ZeroConcentratedDivergence, Vec<i64>>;

/// `counts` with discrete Gaussian noise of deviation [`noise_scale`], which satisfies `rho`-zCDP where adding or
/// removing a unit changes counts by no more than `records` together, so that their vector moves by at most as much.
///
/// # Errors
/// `rho` is not a positive number that opendp finds a deviation for.
pub fn noisy_counts(counts: &[i64], rho: f64, records: u32) -> Result<Vec<i64>, PrivacyError> {
    let release = gaussian(noise_scale(rho, records)?)?;
    release.invoke(&counts.to_vec()).map_err(refused)
}

/// The least deviation, up to a few units in the last place, whose ρ by opendp's own reckoning is not above `rho`.
///
/// # Errors
/// As [`noisy_counts`].
pub fn noise_scale(rho: f64, records: u32) -> Result<f64, PrivacyError> {
    /// How often a deviation that rounding left too small is raised; each time by more than one rounding error.
    const ATTEMPTS: u32 = 8;
    if !(rho > 0.0 && rho.is_finite()) {
        return Err(PrivacyError::Mechanism { parameter: "rho", value: rho, expected: "above 0" });
    }
    let sensitivity = f64::from(records);
    let mut scale = sensitivity / (2.0 * rho).sqrt();
    for _ in 0..ATTEMPTS {
        if gaussian(scale)?.map(&sensitivity).map_err(refused)? <= rho {
            return Ok(scale);
        }
        scale *= 1.0 + 2.0 * f64::EPSILON;
    }
    Err(PrivacyError::Counts(format!("no deviation was found for rho `{rho}`")))
}

/// Discrete Gaussian noise of deviation `scale` for whole numbers.
pub(crate) fn gaussian(scale: f64) -> Result<Release, PrivacyError> {
    let domain = VectorDomain::new(AtomDomain::<i64>::default());
    make_gaussian::<_, _, ZeroConcentratedDivergence>(domain, L2Distance::default(), scale, None).map_err(refused)
}

pub(crate) fn refused(error: opendp::error::Error) -> PrivacyError {
    PrivacyError::Counts(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_never_costs_more_than_rho_and_wastes_next_to_nothing() {
        for rho in [1e-6, 1e-3, 0.005, 0.01, 0.05, 0.3, 0.5, 2.0, 10.0] {
            for records in [1, 7, 10_000] {
                let spent = gaussian(noise_scale(rho, records).unwrap()).unwrap().map(&f64::from(records)).unwrap();
                assert!(spent <= rho && spent > rho * (1.0 - 1e-12), "{spent} of {rho}");
            }
        }
    }

    #[test]
    fn counts_keep_their_mean_and_get_the_deviation_of_the_scale() {
        let rho = 0.005;
        let scale = noise_scale(rho, 3).unwrap();
        let released = noisy_counts(&[1_000; 20_000], rho, 3).unwrap();
        let errors: Vec<f64> = released.iter().map(|count| f64::from(i32::try_from(count - 1_000).unwrap())).collect();
        let mean = errors.iter().sum::<f64>() / 20_000.0;
        let variance = errors.iter().map(|error| error * error).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 6.0 * scale / 20_000.0_f64.sqrt(), "{mean}");
        assert!((variance / (scale * scale) - 1.0).abs() < 6.0 * (2.0_f64 / 20_000.0).sqrt(), "{variance}");
    }

    #[test]
    fn a_rho_that_is_no_positive_number_is_refused() {
        for rho in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(noisy_counts(&[1], rho, 1), Err(PrivacyError::Mechanism { .. })), "{rho}");
        }
    }
}
