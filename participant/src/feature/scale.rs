//! Fixed transforms from counts, ages and shares to roughly [-1, 1].
//!
//! Nothing here depends on data: a normalisation learnt from telemetry would itself need a privacy budget. `libm` and
//! not the system's mathematics computes them, so that a vector is the same on every machine (promise A6).

/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub(super) const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub(super) const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub(super) const DAY: i64 = 24 * HOUR;

/// ln(1 + x) / ln(1 + top), held within [0, 1]: 0 at 0, 1 from `top` on.
pub(super) fn log(x: f32, top: f32) -> f32 {
    // Most counts are 0 most of the time, and logarithms are what a vector costs.
    if x > 0.0 { (libm::log1pf(x) / libm::log1pf(top)).min(1.0) } else { 0.0 }
}

/// How long `micros` is on a logarithmic scale of seconds: 0 for none, 1 from a day on. A wider scale would tell the
/// later data from the earlier, which is drift and no sign of an attack.
pub(super) fn age(micros: i64) -> f32 {
    log(seconds(micros), 86_400.0)
}

/// How far a number of rows exceeds what people read: 0 up to a thousand, 1 from a hundred thousand on, logarithmic.
pub(super) fn bulk(rows: f32) -> f32 {
    (libm::logf(rows.max(1_000.0) / 1_000.0) / libm::logf(100.0)).min(1.0)
}

/// 1 where it holds, 0 where not.
pub(super) fn flag(holds: bool) -> f32 {
    f32::from(u8::from(holds))
}

/// How surprising it is to meet something met `count` times among `total`: 0 where nothing is known yet, towards 1 for
/// something new after ten thousand others.
pub(super) fn surprise(count: u32, total: u32) -> f32 {
    let ratio = (real(total) + 1.0) / (real(count.min(total)) + 1.0);
    (libm::logf(ratio) / 9.21).min(1.0)
}

/// A count as a real number, exact up to 2^24 and then to the nearest.
#[expect(clippy::as_conversions, reason = "no lossless conversion exists; features are logarithmic and tolerate it")]
pub(super) fn real(count: u32) -> f32 {
    count as f32
}

/// A length as a real number.
pub(super) fn length(count: usize) -> f32 {
    real(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Seconds of a span of microseconds, to the nearest; 0 for a negative one.
#[expect(clippy::as_conversions, reason = "no lossless conversion exists; features are logarithmic and tolerate it")]
pub(super) fn seconds(micros: i64) -> f32 {
    micros.max(0) as f32 / 1e6
}

/// A row count or duration as a real number.
#[expect(clippy::as_conversions, reason = "no lossless conversion exists; features are logarithmic and tolerate it")]
pub(super) fn wide(count: u64) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scale_stays_between_zero_and_one() {
        for x in [0_u32, 1, 5, 1_000, u32::MAX] {
            for value in [log(real(x), 100.0), age(i64::from(x) * SECOND), surprise(0, x), surprise(x, x)] {
                assert!((0.0..=1.0).contains(&value), "{x}: {value}");
            }
        }
        assert_eq!((age(-5), age(i64::MAX), log(f32::INFINITY, 10.0)), (0.0, 1.0, 1.0));
    }

    #[test]
    fn the_unknown_surprises_only_against_experience() {
        assert_eq!(surprise(0, 0), 0.0);
        assert!(surprise(0, 1_000) > 0.7 && surprise(900, 1_000) < 0.02);
    }
}
