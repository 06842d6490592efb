//! What the encodings promise: exact lengths, bounded error, no bias, one spelling, and an error for everything else.

use proptest::prelude::*;

use super::*;
use crate::Explain;
use crate::canonical;

fn int8(block: u32) -> Encoding {
    Encoding::Int8 { block: BlockLen::new(block).unwrap() }
}

fn int4(block: u32) -> Encoding {
    Encoding::Int4 { block: BlockLen::new(block).unwrap() }
}

fn top_k(per_mille: u32) -> Encoding {
    Encoding::TopK { per_mille: PerMille::new(per_mille).unwrap() }
}

fn every() -> Vec<Encoding> {
    vec![Encoding::F32, Encoding::Bf16, int8(256), int8(1024), int4(256), int4(512), top_k(1), top_k(500)]
}

/// SplitMix64 (Steele et al. 2014), one byte a step: a source of bits that owes nothing to the encoder.
fn seeded(mut state: u64) -> impl FnMut(&mut [u8]) {
    move |bytes| {
        for byte in bytes {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed ^ mixed >> 31).to_le_bytes()[0];
        }
    }
}

/// Values around zero, of many magnitudes.
fn vector(len: usize, seed: u64) -> ParamVector {
    let mut random = seeded(seed);
    let value = |_| {
        let mut bytes = [0; 4];
        random(&mut bytes);
        let [low, high, exponent, _] = bytes;
        f32::from(i16::from_le_bytes([low, high])) * 2f32.powi(-20 - i32::from(exponent % 8))
    };
    ParamVector::new((0..len).map(value).collect()).unwrap()
}

fn decode_in_pieces(
    encoding: Encoding,
    params: usize,
    payload: &[u8],
    piece: usize,
) -> Result<Vec<f32>, EncodingError> {
    let mut values = vec![0.0; params];
    let mut decoder = Decoder::new(encoding, params);
    let mut next = 0;
    for bytes in payload.chunks(piece) {
        decoder.push(bytes, |first, decoded| {
            assert!(first >= next, "{first} after {next}");
            next = first + decoded.len();
            values[first..next].copy_from_slice(decoded);
            Ok::<(), EncodingError>(())
        })?;
    }
    decoder.finish()?;
    assert_eq!(next, params, "the last run ends where the parameters end");
    Ok(values)
}

fn read_from(payload: &[u8]) -> impl FnMut(usize, &mut [u8]) -> Result<(), EncodingError> {
    |offset, into| {
        let found = payload.get(offset..offset + into.len());
        let short = EncodingError::Length { expected: offset + into.len(), found: payload.len() };
        found.map(|bytes| into.copy_from_slice(bytes)).ok_or(short)
    }
}

#[test]
fn the_length_is_exact_for_every_number_of_values() {
    for encoding in every() {
        for params in [0, 1, 2, 3, 255, 256, 257, 1023, 1024, 1025, 65_535, 65_536, 65_537, 200_001] {
            let payload = encoding.encode(&vector(params, 1), &mut seeded(2));
            assert_eq!(payload.len(), encoding.encoded_len(params), "{encoding:?} of {params}");
        }
    }
}

#[test]
fn a_payload_decodes_alike_whole_in_pieces_and_by_ranges() {
    for encoding in every() {
        for params in [0, 1, 257, 2049, 140_000] {
            let payload = encoding.encode(&vector(params, 3), &mut seeded(4));
            let whole = encoding.decode(params, &payload).unwrap().into_vec();
            for piece in [1, 7, 4096, usize::MAX] {
                assert_eq!(decode_in_pieces(encoding, params, &payload, piece).unwrap(), whole, "{encoding:?}");
            }
            for (start, len) in [(0, 1), (1, 1000), (255, 2), (1024, 1024), (65_530, 12), (70_000, 70_000)] {
                let end = params.min(start + len);
                let mut part = vec![f32::NAN; end.saturating_sub(start)];
                let start = start.min(end);
                encoding.decode_range(params, start, &mut part, read_from(&payload)).unwrap();
                assert_eq!(part, whole[start..end], "{encoding:?} from {start} to {end} of {params}");
            }
        }
    }
}

#[test]
fn f32_is_exact_and_bf16_within_two_to_the_minus_eighth() {
    let values = vector(3000, 5);
    let exact = Encoding::F32.encode(&values, &mut seeded(0));
    assert_eq!(exact, values.to_le_bytes());
    assert_eq!(Encoding::F32.decode(3000, &exact).unwrap(), values);
    let rounded = Encoding::Bf16.decode(3000, &Encoding::Bf16.encode(&values, &mut seeded(0))).unwrap();
    for (value, rounded) in values.as_slice().iter().zip(rounded.as_slice()) {
        assert!((value - rounded).abs() <= value.abs() / 256.0);
    }
}

#[test]
fn stochastic_rounding_stays_within_a_level_of_its_block() {
    for (encoding, reach) in [(int8(256), 127.0), (int4(256), 7.0)] {
        let values = vector(1000, 6);
        let rounded = encoding.decode(1000, &encoding.encode(&values, &mut seeded(7))).unwrap();
        for (values, rounded) in values.as_slice().chunks(256).zip(rounded.as_slice().chunks(256)) {
            let scale = values.iter().fold(0_f32, |most, value| most.max(value.abs()));
            for (value, rounded) in values.iter().zip(rounded) {
                assert!((value - rounded).abs() <= scale / reach * 1.000_01, "{value} became {rounded}");
            }
        }
    }
}

#[test]
fn stochastic_rounding_has_no_bias() {
    const ROUNDS: u32 = 4000;
    let values = vector(256, 8);
    let scale = values.as_slice().iter().fold(0_f32, |most, value| most.max(value.abs()));
    for (encoding, reach) in [(int8(256), 127.0), (int4(256), 7.0)] {
        let mut random = seeded(9);
        let mut sums = vec![0.0; 256];
        for _ in 0..ROUNDS {
            let rounded = encoding.decode(256, &encoding.encode(&values, &mut random)).unwrap();
            sums.iter_mut().zip(rounded.as_slice()).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        // One rounding deviates by at most half a level, so the mean by at most that over the root of the rounds.
        // 5 such deviations at 256 values: an unbiased encoder fails one seed in ten thousand.
        let bound = 5.0 * 0.5 * f64::from(scale) / reach / f64::from(ROUNDS).sqrt();
        for (sum, value) in sums.iter().zip(values.as_slice()) {
            let bias = sum / f64::from(ROUNDS) - f64::from(*value);
            assert!(bias.abs() < bound, "{encoding:?}: {value} is off by {bias}, more than {bound}");
        }
    }
}

#[test]
fn top_k_keeps_the_largest_and_the_earlier_of_equals() {
    let encoding = top_k(400);
    let values = ParamVector::new(vec![1.0, -3.0, 1.0, 0.5, 2.0]).unwrap();
    let kept = encoding.decode(5, &encoding.encode(&values, &mut seeded(0))).unwrap();
    assert_eq!(kept.as_slice(), [0.0, -3.0, 0.0, 0.0, 2.0]);
    let equals = ParamVector::new(vec![1.0; 5]).unwrap();
    let kept = encoding.decode(5, &encoding.encode(&equals, &mut seeded(0))).unwrap();
    assert_eq!(kept.as_slice(), [1.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn error_feedback_sends_everything_in_the_end() {
    for encoding in every() {
        let mut residual = Residual::zeros(2000);
        let (mut sent, mut truth) = (vec![0.0; 2000], vec![0.0; 2000]);
        let mut random = seeded(10);
        for round in 0..50 {
            let values = vector(2000, round);
            let (payload, next) = residual.encode(&encoding, &values, &mut random).unwrap();
            residual = next;
            let decoded = encoding.decode(2000, &payload).unwrap();
            sent.iter_mut().zip(decoded.as_slice()).for_each(|(sent, value)| *sent += f64::from(*value));
            truth.iter_mut().zip(values.as_slice()).for_each(|(truth, value)| *truth += f64::from(*value));
        }
        for ((sent, left), truth) in sent.iter().zip(residual.as_params().as_slice()).zip(&truth) {
            assert!((sent + f64::from(*left) - truth).abs() < 1e-6, "{encoding:?}");
        }
    }
}

#[test]
fn a_residual_of_another_length_is_refused() {
    let refused = Residual::zeros(3).encode(&Encoding::F32, &ParamVector::zeros(4), &mut seeded(0));
    assert_eq!(refused.unwrap_err().code(), "params-wrong-length");
}

#[test]
fn the_operators_order_decides_among_what_is_supported() {
    let offered = [int4(512), Encoding::Bf16, Encoding::F32];
    assert_eq!(choose(&offered, &EncodingKind::ALL), Some(int4(512)));
    assert_eq!(choose(&offered, &[EncodingKind::F32, EncodingKind::Bf16]), Some(Encoding::Bf16));
    assert_eq!(choose(&offered, &[EncodingKind::TopK]), None);
}

#[test]
fn an_encoding_has_one_canonical_text_and_none_with_impossible_settings() {
    let texts = [
        r#"{"kind":"f32"}"#,
        r#"{"kind":"bf16"}"#,
        r#"{"block":512,"kind":"int8"}"#,
        r#"{"block":256,"kind":"int4"}"#,
        r#"{"kind":"top_k","per_mille":10}"#,
    ];
    for (text, kind) in texts.iter().zip(EncodingKind::ALL) {
        let encoding: Encoding = canonical::decode(text.as_bytes()).unwrap();
        assert_eq!(encoding.kind(), kind);
        assert_eq!(canonical::encode(&encoding).unwrap(), text.as_bytes());
    }
    let refused = [
        r#"{"block":0,"kind":"int8"}"#,
        r#"{"block":300,"kind":"int4"}"#,
        r#"{"block":4294967296,"kind":"int4"}"#,
        r#"{"kind":"top_k","per_mille":0}"#,
        r#"{"kind":"top_k","per_mille":501}"#,
        r#"{"kind":"gzip"}"#,
        r#"{"block":512,"kind":"f32"}"#,
    ];
    for text in refused {
        assert!(canonical::decode::<Encoding>(text.as_bytes()).is_err(), "{text}");
    }
}

/// A payload of `encoding` of this many values, changed by `spoil`, and the code that it is refused with.
fn refusal(encoding: Encoding, params: usize, spoil: impl Fn(&mut Vec<u8>)) -> &'static str {
    let mut payload = encoding.encode(&vector(params, 11), &mut seeded(12));
    spoil(&mut payload);
    let whole = encoding.decode(params, &payload).unwrap_err();
    let pieces = decode_in_pieces(encoding, params, &payload, 5).unwrap_err();
    assert_eq!(whole.code(), pieces.code());
    whole.code()
}

#[test]
fn what_no_encoder_writes_is_refused() {
    for encoding in every() {
        assert_eq!(refusal(encoding, 300, |payload| payload.truncate(payload.len() - 1)), "encoding-length");
        assert_eq!(refusal(encoding, 300, |payload| payload.push(0)), "encoding-length");
    }
    let infinite = f32::INFINITY.to_le_bytes();
    assert_eq!(refusal(Encoding::F32, 9, |p| p[4..8].copy_from_slice(&infinite)), "params-not-finite");
    assert_eq!(refusal(Encoding::Bf16, 9, |p| p[2..4].copy_from_slice(&[0x80, 0x7f])), "params-not-finite");
    for encoding in [int8(256), int4(256)] {
        assert_eq!(refusal(encoding, 300, |p| p[..4].copy_from_slice(&infinite)), "encoding-scale");
        assert_eq!(refusal(encoding, 300, |p| p[..4].copy_from_slice(&(-0_f32).to_le_bytes())), "encoding-scale");
        assert_eq!(refusal(encoding, 300, |p| p[..4].fill(0)), "encoding-levels");
        assert_eq!(refusal(encoding, 300, |p| p[4..9].fill(0x80)), "encoding-levels");
        assert_eq!(refusal(encoding, 10, |p| p[4..].fill(0x11)), "encoding-levels");
    }
    assert_eq!(refusal(int4(256), 3, |p| *p.last_mut().unwrap() |= 0x10), "encoding-padding");
    assert_eq!(refusal(top_k(100), 300, |p| p[0] += 1), "encoding-directory");
    assert_eq!(refusal(top_k(100), 70_000, |p| p[..4].fill(0xff)), "encoding-directory");
    assert_eq!(refusal(top_k(100), 300, |p| p[4..8].copy_from_slice(&[255, 255, 0, 0])), "encoding-order");
    assert_eq!(refusal(top_k(100), 300, |p| p.copy_within(4..8, 8)), "encoding-order");
    assert_eq!(refusal(top_k(100), 300, |p| p[6..8].copy_from_slice(&[0x80, 0xff])), "params-not-finite");
}

#[test]
fn a_range_outside_the_vector_is_refused() {
    for encoding in every() {
        for (start, len) in [(0, 11), (10, 1), (usize::MAX, 2)] {
            let refused = encoding.decode_range(10, start, &mut vec![0.0; len], read_from(&[]));
            assert_eq!(refused.unwrap_err().code(), "encoding-range");
        }
    }
}

fn any_encoding() -> impl Strategy<Value = Encoding> {
    prop::sample::select(every())
}

/// Finite values of every magnitude that an f32 has.
fn any_vector() -> impl Strategy<Value = ParamVector> {
    let finite = any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite());
    prop::collection::vec(finite, 0..700).prop_map(|values| ParamVector::new(values).unwrap())
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_and_without_dice_encodes_to_itself(
        encoding in any_encoding(), values in any_vector(), seed: u64,
    ) {
        let decoded = encoding.decode(values.len(), &encoding.encode(&values, &mut seeded(seed))).unwrap();
        if !matches!(encoding, Encoding::Int8 { .. } | Encoding::Int4 { .. }) {
            prop_assert_eq!(encoding.decode(values.len(), &encoding.encode(&decoded, &mut seeded(0))).unwrap(), decoded);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_decoded_alike_by_every_door(
        encoding in any_encoding(),
        params in 0..600_usize,
        bytes in prop::collection::vec(any::<u8>(), 0..2500),
        piece in 1..99_usize,
    ) {
        let mut exact = bytes.clone();
        exact.resize(encoding.encoded_len(params), 0);
        for payload in [bytes, exact] {
            let whole = encoding.decode(params, &payload);
            let pieces = decode_in_pieces(encoding, params, &payload, piece);
            prop_assert_eq!(whole.is_ok(), pieces.is_ok());
            let mut part = vec![0.0; params / 2];
            let ranged = encoding.decode_range(params, params / 3, &mut part, read_from(&payload));
            if let Ok(values) = whole {
                prop_assert_eq!(ranged, Ok(()));
                prop_assert_eq!(&part, &values.as_slice()[params / 3..params / 3 + params / 2]);
            }
        }
    }
}
