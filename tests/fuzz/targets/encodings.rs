//! Every encoding's decoders, on payloads of any bytes: whole, in pieces and by ranges they agree, and what decodes is
//! finite. Also plain parameters.
//!
//! The first four bytes choose how many values are asked for, how large the pieces are, and whether the length is right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::ParamVector;
use shared::encoding::{BlockLen, Decoder, Encoding, EncodingError, PerMille};

/// Two blocks of the largest length and a rest.
const MAX_PARAMS: usize = 2100;

fn every() -> impl Iterator<Item = Encoding> {
    let blocks = [256, 512, 1024].into_iter().flat_map(|len| BlockLen::new(len).ok());
    let quantised = blocks.flat_map(|block| [Encoding::Int8 { block }, Encoding::Int4 { block }]);
    let sparse = [1, 30, 500].into_iter().flat_map(|part| PerMille::new(part).ok());
    let sparse = sparse.map(|per_mille| Encoding::TopK { per_mille });
    [Encoding::F32, Encoding::Bf16].into_iter().chain(quantised).chain(sparse)
}

fn in_pieces(encoding: Encoding, params: usize, payload: &[u8], piece: usize) -> Result<Vec<f32>, EncodingError> {
    let mut values = vec![0.0; params];
    let mut decoder = Decoder::new(encoding, params);
    for bytes in payload.chunks(piece) {
        decoder.push(bytes, |first, decoded| {
            values[first..first + decoded.len()].copy_from_slice(decoded);
            Ok::<(), EncodingError>(())
        })?;
    }
    decoder.finish().map(|()| values)
}

/// The second half of the values.
fn by_range(encoding: Encoding, params: usize, payload: &[u8]) -> Result<Vec<f32>, EncodingError> {
    let mut part = vec![0.0; params - params / 2];
    encoding.decode_range(params, params / 2, &mut part, |offset, into| {
        let missing = EncodingError::Length { expected: offset + into.len(), found: payload.len() };
        into.copy_from_slice(payload.get(offset..offset + into.len()).ok_or(missing)?);
        Ok::<(), EncodingError>(())
    })?;
    Ok(part)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[low, high, piece, fit], rest)) = bytes.split_first_chunk() else { return };
    let params = usize::from(u16::from_le_bytes([low, high])) % MAX_PARAMS;
    let piece = usize::from(piece) + 1;
    for encoding in every() {
        let mut payload = rest.to_vec();
        if fit & 7 != 0 {
            payload.resize(encoding.encoded_len(params), 0);
        }
        let whole = encoding.decode(params, &payload);
        let pieces = in_pieces(encoding, params, &payload, piece);
        assert_eq!(whole.is_ok(), pieces.is_ok(), "{encoding:?}: {whole:?} {pieces:?}");
        let half = by_range(encoding, params, &payload);
        if let Ok(values) = whole {
            assert!(values.as_slice().iter().all(|value| value.is_finite()));
            assert_eq!(Ok(values.as_slice()), pieces.as_deref());
            assert_eq!(Ok(&values.as_slice()[params / 2..]), half.as_deref());
        }
    }
    let _ = ParamVector::from_le_bytes(rest, params);
});
