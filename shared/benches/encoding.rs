//! What an update of a million values costs to encode at a site, and to decode at the coordinator as it arrives. Run with
//! `cargo bench -p shared --bench encoding`. Times are for comparing encodings on one machine; nothing is asserted.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shared::ParamVector;
use shared::canonical;
use shared::encoding::{Decoder, Encoding, EncodingError};

const PARAMS: u16 = 1000;
const REPEATS: usize = 1000;
/// What one message carries.
const CHUNK_BYTES: usize = 256 * 1024;
const ENCODINGS: [&str; 5] = [
    r#"{"kind":"f32"}"#,
    r#"{"kind":"bf16"}"#,
    r#"{"block":512,"kind":"int8"}"#,
    r#"{"block":512,"kind":"int4"}"#,
    r#"{"kind":"top_k","per_mille":10}"#,
];

#[expect(clippy::expect_used, reason = "a benchmark without its values has nothing to measure")]
fn values() -> ParamVector {
    let wave: Vec<f32> = (0..PARAMS).map(|index| f32::from(index).sin() * 1e-3).collect();
    ParamVector::new(wave.repeat(REPEATS)).expect("sines are finite")
}

/// A generator that costs next to nothing, so that the encoder is what is measured.
fn cheap_bytes() -> impl FnMut(&mut [u8]) {
    let mut state = 1_u64;
    move |bytes| {
        for word in bytes.as_chunks_mut::<4>().0 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let [.., a, b, c, d] = state.to_le_bytes();
            *word = [a, b, c, d];
        }
    }
}

fn decode(encoding: Encoding, params: usize, payload: &[u8]) -> Result<f32, EncodingError> {
    let mut decoder = Decoder::new(encoding, params);
    let mut last = 0.0;
    for chunk in payload.chunks(CHUNK_BYTES) {
        decoder.push(chunk, |_, values| -> Result<(), EncodingError> {
            last = values.last().copied().unwrap_or(last);
            Ok(())
        })?;
    }
    decoder.finish().map(|()| last)
}

#[expect(clippy::expect_used, reason = "the texts are those of encodings")]
fn encodings(criterion: &mut Criterion) {
    let values = values();
    let mut group = criterion.benchmark_group("an update of a million values");
    group.throughput(Throughput::Elements(values.len().try_into().unwrap_or(u64::MAX)));
    for text in ENCODINGS {
        let encoding: Encoding = canonical::decode(text.as_bytes()).expect("a canonical text");
        let payload = encoding.encode(&values, &mut cheap_bytes());
        let bytes = payload.len();
        let mut random = cheap_bytes();
        group.bench_function(format!("encode {text}, {bytes} bytes"), |b| {
            b.iter(|| encoding.encode(black_box(&values), &mut random));
        });
        group.bench_function(format!("decode {text}"), |b| {
            b.iter(|| decode(encoding, values.len(), black_box(&payload)));
        });
    }
    group.finish();
}

criterion_group!(benches, encodings);
criterion_main!(benches);
