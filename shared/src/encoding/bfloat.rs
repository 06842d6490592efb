//! bf16: sign, exponent and seven bits of an f32's fraction. A finite value stays finite: what would round up to
//! infinity becomes the largest bf16.

use super::dense::{Dense, MAX_FRAME, check_finite};
use super::{EncodingError, RandomBytes};

pub(super) const DENSE: Dense = Dense { values: MAX_FRAME, bytes, encode, decode };

/// The largest finite bf16, sign aside.
const LARGEST: u16 = 0x7f7f;
const SIGN: u16 = 0x8000;

/// The bf16 nearest to a finite `value`, ties to even.
pub(super) fn from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let half = 0x7fff + (bits >> 16 & 1);
    // Adding the half carries into the upper 16 bits where it rounds up; a finite f32 cannot overflow 32 bits by it.
    let [_, _, low, high] = bits.wrapping_add(half).to_le_bytes();
    let rounded = u16::from_le_bytes([low, high]);
    (rounded & SIGN) | (rounded & !SIGN).min(LARGEST)
}

/// The value of a bf16, exactly.
pub(super) fn to_f32(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

fn bytes(values: usize) -> usize {
    values.saturating_mul(2)
}

fn encode(values: &[f32], _: &mut RandomBytes<'_>, payload: &mut Vec<u8>) {
    payload.extend(values.iter().flat_map(|value| from_f32(*value).to_le_bytes()));
}

fn decode(first: usize, frame: &[u8], into: &mut [f32]) -> Result<(), EncodingError> {
    for (value, word) in into.iter_mut().zip(frame.as_chunks::<2>().0) {
        *value = to_f32(u16::from_le_bytes(*word));
    }
    check_finite(first, into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_to_the_nearest_and_ties_to_even() {
        let cases = [
            (1.0, 0x3f80),
            (-1.0, 0xbf80),
            // Half way between two neighbours: the even one, below and above.
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::from_bits(0x3f80_7fff), 0x3f80),
            (-0.0, 0x8000),
            (f32::MAX, 0x7f7f),
            (f32::MIN, 0xff7f),
        ];
        for (value, half) in cases {
            assert_eq!(from_f32(value), half, "{value}");
        }
    }

    #[test]
    fn every_finite_bf16_survives_the_way_through_f32() {
        for half in 0..=u16::MAX {
            if to_f32(half).is_finite() {
                assert_eq!(from_f32(to_f32(half)), half);
            }
        }
    }
}
