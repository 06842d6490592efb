//! int4: a block is its scale and half a byte a value, from −7 to 7, the earlier value in the lower half. −8 is refused,
//! and so is an upper half that is not zero where it stands for no value.

use super::block::{BlockLen, SCALE_BYTES, quantise, restore};
use super::dense::{Dense, MAX_FRAME};
use super::{EncodingError, RandomBytes};

const REACH: i8 = 7;

pub(super) fn dense(block: BlockLen) -> Dense {
    Dense { values: block.get(), bytes, encode, decode }
}

fn bytes(values: usize) -> usize {
    values.div_ceil(2).saturating_add(SCALE_BYTES)
}

fn encode(values: &[f32], random: &mut RandomBytes<'_>, payload: &mut Vec<u8>) {
    let levels = quantise(values, REACH, random, payload);
    // Levels past the last value are 0: an odd block is padded.
    let pairs = levels.as_chunks::<2>().0.iter().take(values.len().div_ceil(2));
    payload.extend(pairs.map(|[low, high]| (low & 0x0f | high << 4).cast_unsigned()));
}

fn decode(first: usize, frame: &[u8], into: &mut [f32]) -> Result<(), EncodingError> {
    let Some((scale, bytes)) = frame.split_first_chunk() else { return Err(EncodingError::Scale { first }) };
    let mut levels = [0; MAX_FRAME];
    for ([low, high], byte) in levels.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        // An arithmetic shift to the right carries the sign of the half.
        (*low, *high) = ((byte << 4).cast_signed() >> 4, byte.cast_signed() >> 4);
    }
    if levels.get(into.len()).is_some_and(|padding| *padding != 0) {
        return Err(EncodingError::Padding { first });
    }
    restore(first, *scale, levels.get(..into.len()).unwrap_or_default(), REACH, into)
}
