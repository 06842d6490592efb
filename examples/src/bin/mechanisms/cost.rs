//! What correlated noise costs beside independent noise.
#![expect(clippy::disallowed_methods, reason = "measures wall time")]

use std::time::Instant;

use examples::number::count;
use examples::statistics::median;
use serde::Serialize;
use shared_privacy::PrivacyError;
use shared_privacy::banded::{Correlation, Strategy};
use shared_privacy::noise::GaussianNoise;

/// Coordinates of a step's sum.
const DIM: usize = 100_000;
/// Steps that are measured, after as many as there are bands.
const STEPS: u32 = 15;

/// The time that one step's noise takes.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    /// One band is independent noise.
    pub(crate) bands: u32,
    /// Nanoseconds a coordinate: median over the steps.
    pub(crate) ns_per_coordinate: f64,
    /// Bytes a coordinate that are kept between steps.
    pub(crate) bytes_per_coordinate: u32,
}

/// Measures a step's noise over `bands` bands.
pub(crate) fn cost(bands: u32) -> Result<Cost, PrivacyError> {
    let mut correlation = Correlation::new(&Strategy::square_root(bands)?);
    let mut values = vec![0.5_f32; DIM];
    // What fills the bands need not be noise of this quality.
    (0..bands).try_for_each(|_| correlation.add(&mut values, |_| Ok::<(), PrivacyError>(())))?;
    let mut source = GaussianNoise::from_os()?;
    let mut times = Vec::new();
    for _ in 0..STEPS {
        let start = Instant::now();
        correlation.add(&mut values, |values| source.add(1.0, values))?;
        times.push(start.elapsed().as_secs_f64() * 1e9 / count(DIM));
    }
    let ns_per_coordinate = median(times).unwrap_or(f64::NAN);
    Ok(Cost { bands, ns_per_coordinate, bytes_per_coordinate: 4 * (bands - 1) })
}
