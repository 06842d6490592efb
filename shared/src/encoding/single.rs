//! f32: the values as they are.

use super::dense::{Dense, MAX_FRAME, check_finite};
use super::{EncodingError, RandomBytes};

pub(super) const DENSE: Dense = Dense { values: MAX_FRAME, bytes, encode, decode };

fn bytes(values: usize) -> usize {
    values.saturating_mul(4)
}

fn encode(values: &[f32], _: &mut RandomBytes<'_>, payload: &mut Vec<u8>) {
    payload.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn decode(first: usize, frame: &[u8], into: &mut [f32]) -> Result<(), EncodingError> {
    for (value, word) in into.iter_mut().zip(frame.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*word);
    }
    check_finite(first, into)
}
