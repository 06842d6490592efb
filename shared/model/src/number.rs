//! The two conversions between number types that training needs.

/// The f32 nearest to `value`; infinite where it is out of range.
#[expect(clippy::as_conversions, reason = "rounding to nearest is what is asked for")]
pub(crate) fn nearest_f32(value: f64) -> f32 {
    value as f32
}

/// A count as a number; exact below 2^53.
#[expect(clippy::as_conversions, reason = "no slice is longer than 2^53")]
pub(crate) fn count(len: usize) -> f64 {
    len as f64
}
