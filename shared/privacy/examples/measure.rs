//! Measures what a participant waits for: a draw of noise (beside opendp's), a reading of ε, a calibration.
#![expect(clippy::disallowed_methods, reason = "measures wall time")]

use std::time::Instant;

use shared::privacy::{Guarantee, Mechanism};
use shared_privacy::PrivacyError;
use shared_privacy::accountant;
use shared_privacy::counts;
use shared_privacy::noise::GaussianNoise;

fn main() -> Result<(), PrivacyError> {
    // Few enough that a busy machine lets one of nine runs through uninterrupted.
    let mut values = vec![0.5_f32; 100_000];
    let mut noise = GaussianNoise::from_os()?;
    let (nanoseconds, ()) = timed(1e4, || noise.add(1.1, &mut values))?;
    println!("noise: {nanoseconds:.0} ns a value");
    // ρ = 1/(2σ²) with σ = 1024.
    let (nanoseconds, _) = timed(1e5, || counts::noisy_counts(&[0; 10_000], libm::ldexp(1.0, -21), 1))?;
    println!("opendp's discrete noise: {nanoseconds:.0} ns a value");

    for (noise_multiplier, sampling_rate, steps) in [(1.1, 0.004, 30_000), (0.8, 0.001, 30_000), (4.0, 0.05, 30_000)] {
        let training = Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate, steps };
        let (milliseconds, epsilon) = timed(1e3, || accountant::epsilon(&[training], 1e-6))?;
        println!("epsilon: {milliseconds:.1} ms ({training:?}: {epsilon:.4})");
    }
    for epsilon in [0.5, 2.0, 8.0] {
        let target = Guarantee { epsilon, delta: 1e-6 };
        let (milliseconds, found) = timed(1e3, || accountant::calibrate(target, 0.05, 300))?;
        println!("calibrate: {milliseconds:.0} ms ({target:?}: {found:.4})");
    }
    Ok(())
}

/// The least of nine runs, in seconds times `unit`, and the last result.
fn timed<T>(unit: f64, mut run: impl FnMut() -> Result<T, PrivacyError>) -> Result<(f64, T), PrivacyError> {
    let mut result = run()?;
    let mut least = f64::INFINITY;
    for _ in 0..9 {
        let start = Instant::now();
        result = run()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok((least * unit, result))
}
