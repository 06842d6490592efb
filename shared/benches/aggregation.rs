//! How long it takes to combine 100 updates that lie in memory: the exact mean beside a plain f32 sum, which is what
//! the machine allows, and the robust rules. Two threads, and for the mean also one. Times are for comparing runs on one
//! machine; nothing is asserted.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shared::ParticipantId;
use shared::aggregate::{Aggregation, Combination, PreStep, RowMeta, Rule, Slices};

/// Updates.
const ROWS: u16 = 100;
/// Parameters.
const DIMENSIONS: [usize; 2] = [100_000, 1_000_000];
/// What a core's first-level cache holds of a sum.
const BLOCK: usize = 4096;

/// Numbers of about 2^-10, different in every row.
fn rows(dimension: usize) -> Vec<Vec<f32>> {
    let entry = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(f32::from_bits(0x3A80_0000 | (*state >> 9) | (*state & 0x8000_0000)))
    };
    let row = |seed: u16| {
        let mut state = u32::from(seed);
        std::iter::from_fn(move || entry(&mut state)).take(dimension).collect()
    };
    (0..ROWS).map(row).collect()
}

fn rules() -> Vec<(&'static str, Aggregation)> {
    let byzantine = 20;
    let root = ParticipantId::new("row-0").unwrap_or_else(|_| unreachable!("a valid name"));
    let alone = |rule| Aggregation { rule, ..Aggregation::default() };
    let mixed = |rule| Aggregation { pre: vec![PreStep::NearestNeighbourMixing { byzantine }], ..alone(rule) };
    vec![
        ("coordinate-median", alone(Rule::CoordinateMedian)),
        ("trimmed-mean", alone(Rule::TrimmedMean { byzantine })),
        ("mean-around-median", alone(Rule::MeanAroundMedian { byzantine })),
        ("krum", alone(Rule::Krum { byzantine })),
        ("multi-krum", alone(Rule::MultiKrum { byzantine, keep: None })),
        ("bulyan", alone(Rule::Bulyan { byzantine })),
        ("geometric-median", alone(Rule::GeometricMedian { smoothing: 1e-6, iterations: 50 })),
        ("centered-clipping", alone(Rule::CenteredClipping { radius: 1.0, iterations: 3 })),
        ("fl-trust", alone(Rule::FlTrust { root, keep_upper_half: true })),
        ("norm-bound", alone(Rule::NormBound { max_norm: 1.0 })),
        ("nnm-trimmed-mean", mixed(Rule::TrimmedMean { byzantine })),
    ]
}

fn meta() -> Vec<RowMeta> {
    let names = (0..ROWS).filter_map(|row| ParticipantId::new(format!("row-{row}")).ok());
    names.map(|participant_id| RowMeta { participant_id, weight: 1, local_steps: 1.0 }).collect()
}

/// The sum as a program would have it that does not care about rounding.
fn plain_sum(rows: &[Vec<f32>], sums: &mut [f32]) {
    for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
        for row in rows {
            let entries = row.iter().skip(block * BLOCK);
            sums.iter_mut().zip(entries).for_each(|(sum, entry)| *sum += entry);
        }
    }
}

fn combine(combination: &Combination<'_>, rows: &Slices<'_, f32>) {
    let outcome = combination.run(rows, |_, block| {
        black_box(block);
        Ok(())
    });
    black_box(outcome).unwrap_or_else(|error| unreachable!("{error}"));
}

fn aggregation(criterion: &mut Criterion) {
    let meta = meta();
    for dimension in DIMENSIONS {
        let vectors = rows(dimension);
        let rows = Slices::new(vectors.iter().map(Vec::as_slice).collect());
        let rows = rows.unwrap_or_else(|error| unreachable!("{error}"));
        let mut group = criterion.benchmark_group(format!("{ROWS} updates of {dimension}"));
        group.sample_size(10).throughput(Throughput::Elements(u64::from(ROWS) * u64::try_from(dimension).unwrap_or(0)));
        let mut sums = vec![0.0; dimension];
        group.bench_function("plain f32 sum", |bencher| bencher.iter(|| plain_sum(black_box(&vectors), &mut sums)));
        for threads in [1, 2] {
            let aggregation = &Aggregation::default();
            let combination = Combination { aggregation, meta: &meta, seed: 0, threads };
            let id = BenchmarkId::new("mean", format!("{threads} threads"));
            group.bench_function(id, |bencher| bencher.iter(|| combine(&combination, &rows)));
        }
        for (name, aggregation) in &rules() {
            let combination = Combination { aggregation, meta: &meta, seed: 0, threads: 2 };
            group.bench_function(*name, |bencher| bencher.iter(|| combine(&combination, &rows)));
        }
        group.finish();
    }
}

criterion_group!(benches, aggregation);
criterion_main!(benches);
