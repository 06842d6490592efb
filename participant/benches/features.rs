//! Throughput of a site's way in, on one core: compressed JSON events to checked events, and events to feature vectors.
//!
//! Runs on the sample data (`RINGFENCE_DATA`, by default `../shared/data` beside the workspace); without it there is
//! nothing to measure, and it says so.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use participant::collect::{Collector, Format, decompressed};
use participant::event::Event;
use participant::feature::Engine;
use shared::Timestamp;
use shared_crypto::TokenKey;

fn sample(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("RINGFENCE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    std::fs::read(folder.join("pgaudit-sim").join(name)).ok()
}

#[expect(clippy::expect_used, reason = "bytes in memory can be read")]
fn parse(compressed: &[u8], format: Format) -> impl Iterator<Item = Event> {
    let input = decompressed(compressed).expect("bytes in memory");
    Collector::new(input, format, Timestamp::MAX).flatten()
}

fn engine() -> Engine {
    Engine::new(&Arc::new(TokenKey::from_bytes(&[1; 32])))
}

fn way_in(criterion: &mut Criterion) {
    let (Some(json), Some(log)) = (sample("site1.events.jsonl.gz"), sample("site1.pgaudit.jsonlog.gz")) else {
        eprintln!("there is no sample data; set RINGFENCE_DATA");
        return;
    };
    let events: Vec<Event> = parse(&json, Format::EventJson).collect();
    let mut group = criterion.benchmark_group("way-in");
    group.throughput(Throughput::Elements(u64::try_from(events.len()).unwrap_or_default()));
    group.sample_size(20);
    group.bench_function("gzip-json-to-events", |bencher| bencher.iter(|| parse(&json, Format::EventJson).count()));
    group.bench_function("gzip-pgaudit-to-events", |bencher| bencher.iter(|| parse(&log, Format::Pgaudit).count()));
    group.bench_function("events-to-vectors", |bencher| {
        bencher.iter(|| {
            let mut engine = engine();
            for event in &events {
                black_box(engine.observe(event));
            }
        });
    });
    group.bench_function("gzip-json-to-vectors", |bencher| {
        bencher.iter(|| {
            let mut engine = engine();
            for event in parse(&json, Format::EventJson) {
                black_box(engine.observe(&event));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, way_in);
criterion_main!(benches);
