//! What the encodings share that keep every value: frames of one length, the last one shorter. Position is arithmetic.

use super::{EncodingError, RandomBytes};
use crate::params::ParamError;

/// The most values a frame has.
pub(super) const MAX_FRAME: usize = 1024;

/// Reads a frame whose first value has this index in the vector. There are as many bytes as the values take.
pub(super) type DecodeFrame = fn(usize, &[u8], &mut [f32]) -> Result<(), EncodingError>;

/// One dense encoding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dense {
    /// Values per frame, from 1 to [`MAX_FRAME`].
    pub(super) values: usize,
    /// The bytes of a frame of this many values.
    pub(super) bytes: fn(usize) -> usize,
    /// Appends one frame.
    pub(super) encode: fn(&[f32], &mut RandomBytes<'_>, &mut Vec<u8>),
    /// Reads one frame.
    pub(super) decode: DecodeFrame,
}

impl Dense {
    /// The bytes of `params` values.
    pub(super) fn encoded_len(&self, params: usize) -> usize {
        let rest = params % self.values;
        let last = if rest == 0 { 0 } else { (self.bytes)(rest) };
        (params / self.values).saturating_mul((self.bytes)(self.values)).saturating_add(last)
    }

    /// Frame after frame.
    pub(super) fn encode(&self, values: &[f32], random: &mut RandomBytes<'_>) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.encoded_len(values.len()));
        values.chunks(self.values).for_each(|frame| (self.encode)(frame, random, &mut payload));
        payload
    }
}

/// Refuses NaN and infinity among the values of a frame that begins at `first`.
pub(super) fn check_finite(first: usize, values: &[f32]) -> Result<(), EncodingError> {
    // Without an early end the loop runs in vector instructions.
    if values.iter().fold(true, |finite, value| finite & value.is_finite()) {
        return Ok(());
    }
    let at = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
    Err(ParamError::NotFinite { index: first.saturating_add(at) }.into())
}
