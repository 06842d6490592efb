//! What privacy costs a training step, and what a score costs. Run with `cargo bench -p shared-model`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::task::ModelSpec;
use shared_model::{Batch, Model, clipped_gradient_sum, initial_params, plain_gradient};

const BATCH: usize = 256;
const INPUTS: u32 = 96;

#[expect(clippy::expect_used, reason = "a benchmark without its model has nothing to measure")]
fn model() -> Model {
    let spec = ModelSpec { inputs: INPUTS, hidden: vec![64, 32] };
    Model::new(&spec, &initial_params(&spec, 1)).expect("the parameters are those of the specification")
}

/// Values of unit scale around 0.
fn random(len: usize) -> Vec<f32> {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let mut value = || {
        let [low, high, ..] = rng.next_u32().to_le_bytes();
        f32::from(i16::from_le_bytes([low, high])) / 16384.0
    };
    (0..len).map(|_| value()).collect()
}

fn steps(criterion: &mut Criterion) {
    let model = model();
    let rows = random(BATCH * 96);
    let labels: Vec<f32> = rows.chunks(96).map(|row| f32::from(u8::from(row.iter().sum::<f32>() > 0.0))).collect();
    let batch = Batch { rows: &rows, labels: &labels };
    let mut group = criterion.benchmark_group("gradient of 256 rows, 96-64-32");
    group.bench_function("plain", |b| b.iter(|| plain_gradient(black_box(&model), &batch)));
    group.bench_function("clipped per example", |b| b.iter(|| clipped_gradient_sum(black_box(&model), &batch, 1.0)));
    group.finish();
}

fn scores(criterion: &mut Criterion) {
    let model = model();
    let rows = random(BATCH * 96);
    let row = random(96);
    let mut group = criterion.benchmark_group("inference, 96-64-32");
    group.bench_function("one row", |b| b.iter(|| model.probability(black_box(&row))));
    group.bench_function("256 rows", |b| b.iter(|| model.logits(black_box(&rows))));
    group.bench_function("reasons, 32 steps", |b| b.iter(|| model.attributions(black_box(&row), &[0.0; 96], 32)));
    group.finish();
}

criterion_group!(benches, steps, scores);
criterion_main!(benches);
