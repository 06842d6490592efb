//! Conversions between numbers that measurements need and that lose nothing that matters to them.

/// The nearest single-precision number.
#[expect(clippy::as_conversions, reason = "rounding to the nearest is what is asked for")]
pub fn narrow(value: f64) -> f32 {
    value as f32
}

/// A count as a number; none here comes near 2³².
pub fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
