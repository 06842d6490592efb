//! Stochastic rounding of a block of values to levels under one scale.
//!
//! Source: Alistarh et al. 2017, "QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding", section 3.1,
//! with the block's largest magnitude in place of its L2 norm. A block is a scale (f32) and a level l in −L..=L for each
//! value, which stands for scale · l / L. The largest value lies on ±L exactly, so that one content has one scale.

use serde::{Deserialize, Serialize};

use super::dense::MAX_FRAME;
use super::{EncodingError, InvalidEncoding, RandomBytes};

/// How many values share a scale: 256, 512 or 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct BlockLen(u16);

impl BlockLen {
    /// A block of 256, 512 or 1024 values.
    pub fn new(len: u32) -> Result<Self, InvalidEncoding> {
        let short = u16::try_from(len).map_err(|_| InvalidEncoding::BlockLen(len))?;
        if matches!(short, 256 | 512 | 1024) { Ok(Self(short)) } else { Err(InvalidEncoding::BlockLen(len)) }
    }

    /// How many values.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl TryFrom<u32> for BlockLen {
    type Error = InvalidEncoding;

    fn try_from(len: u32) -> Result<Self, InvalidEncoding> {
        Self::new(len)
    }
}

impl From<BlockLen> for u32 {
    fn from(len: BlockLen) -> u32 {
        len.0.into()
    }
}

/// The bytes of a block's scale.
pub(super) const SCALE_BYTES: usize = 4;

/// Writes the scale of at most [`MAX_FRAME`] values and gives the level of each, from `−reach` to `reach`.
///
/// A value between two levels goes to the upper one with the probability of its distance from the lower one, to 32
/// random bits: the expectation is the value.
pub(super) fn quantise(
    values: &[f32],
    reach: i8,
    random: &mut RandomBytes<'_>,
    payload: &mut Vec<u8>,
) -> [i8; MAX_FRAME] {
    let scale = values.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    payload.extend(scale.to_le_bytes());
    let mut levels = [0; MAX_FRAME];
    if scale > 0.0 {
        let mut draws = [[0; 4]; MAX_FRAME];
        let draws = draws.get_mut(..values.len()).unwrap_or_default();
        random(draws.as_flattened_mut());
        for ((level, value), draw) in levels.iter_mut().zip(values).zip(draws) {
            // Divided first: the largest magnitude gives 1 exactly.
            let position = f64::from(*value) / f64::from(scale) * f64::from(reach);
            *level = round(position, u32::from_le_bytes(*draw), reach);
        }
    }
    levels
}

/// `position`, within ±`reach`, rounded down after a uniform draw from [0, 1) is added.
#[expect(clippy::as_conversions, reason = "the shifted sum lies in [0, 2 · reach + 1), so that truncation rounds down")]
fn round(position: f64, draw: u32, reach: i8) -> i8 {
    let uniform = f64::from(draw) / 2f64.powi(32);
    // Shifted to be positive, since truncation towards zero is much cheaper than rounding down.
    let shifted = position + f64::from(reach) + uniform;
    (shifted as i16 - i16::from(reach)) as i8
}

/// The values of a block that begins at `first`, after checking that scale and levels are what [`quantise`] gives.
pub(super) fn restore(
    first: usize,
    scale: [u8; SCALE_BYTES],
    levels: &[i8],
    reach: i8,
    into: &mut [f32],
) -> Result<(), EncodingError> {
    let scale = f32::from_le_bytes(scale);
    if !scale.is_finite() || scale.is_sign_negative() {
        return Err(EncodingError::Scale { first });
    }
    let reached = levels.iter().fold(0, |most: u8, level| most.max(level.unsigned_abs()));
    if reached != if scale == 0.0 { 0 } else { reach.unsigned_abs() } {
        return Err(EncodingError::Levels { first });
    }
    for (value, level) in into.iter_mut().zip(levels) {
        *value = scale * (f32::from(*level) / f32::from(reach));
    }
    Ok(())
}
