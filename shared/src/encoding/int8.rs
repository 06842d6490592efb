//! int8: a block is its scale and one byte a value, from −127 to 127. −128 is refused.

use super::block::{BlockLen, SCALE_BYTES, quantise, restore};
use super::dense::{Dense, MAX_FRAME};
use super::{EncodingError, RandomBytes};

const REACH: i8 = 127;

pub(super) fn dense(block: BlockLen) -> Dense {
    Dense { values: block.get(), bytes, encode, decode }
}

fn bytes(values: usize) -> usize {
    values.saturating_add(SCALE_BYTES)
}

fn encode(values: &[f32], random: &mut RandomBytes<'_>, payload: &mut Vec<u8>) {
    let levels = quantise(values, REACH, random, payload);
    payload.extend(levels.iter().take(values.len()).map(|level| level.cast_unsigned()));
}

fn decode(first: usize, frame: &[u8], into: &mut [f32]) -> Result<(), EncodingError> {
    let Some((scale, bytes)) = frame.split_first_chunk() else { return Err(EncodingError::Scale { first }) };
    let mut levels = [0; MAX_FRAME];
    levels.iter_mut().zip(bytes).for_each(|(level, byte)| *level = byte.cast_signed());
    restore(first, *scale, levels.get(..bytes.len()).unwrap_or_default(), REACH, into)
}
