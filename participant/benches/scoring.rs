//! Latency of one event on its way to a score, event by event: feature vector, logit, calibration; and, for every
//! detection, its reasons. Prints p50 and p99, which throughput benchmarks do not show.
//!
//! Runs on the sample data (`RINGFENCE_DATA`, by default `../shared/data` beside the workspace); without it there is
//! nothing to measure, and it says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use participant::collect::{Collector, Format, open};
use participant::config::DetectionConfig;
use participant::event::Event;
use participant::feature::{self, Engine, WIDTH};
use participant::serve::{Calibration, Installed, Scorer};
use shared::feature::FeatureViewRef;
use shared::release::Release;
use shared::round::Tally;
use shared::task::ModelSpec;
use shared::{Digest, ReleaseId, RoundId, RoundNumber, TaskId, Timestamp};
use shared_crypto::TokenKey;
use shared_model::{Model, initial_params};

fn events() -> Option<Vec<Event>> {
    let folder = std::env::var_os("RINGFENCE_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let input = open(&folder.join("pgaudit-sim/site1.events.jsonl.gz")).ok()?;
    Some(Collector::new(input, Format::EventJson, Timestamp::MAX).flatten().collect())
}

/// A release with the weights that training starts from: what a score costs does not depend on their values.
fn installed(hidden: &[u32]) -> Result<Installed, Box<dyn std::error::Error>> {
    let model = ModelSpec { inputs: u32::try_from(WIDTH)?, hidden: hidden.to_vec() };
    let (zero, view) = (Digest([0; 32]), feature::view());
    let release = Release {
        release_id: ReleaseId::new("bench")?,
        round_id: RoundId { task_id: TaskId::new("bench")?, number: RoundNumber::FIRST },
        task_digest: zero,
        round_record: zero,
        model: model.clone(),
        feature_view: FeatureViewRef { name: view.name, version: view.version, digest: zero },
        params: zero,
        privacy: None,
        tally: Tally::default(),
        released_at: Timestamp::EPOCH,
        replaces: None,
    };
    Ok(Installed { release, digest: zero, model: Model::new(&model, &initial_params(&model, 1))? })
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn measure(events: &[Event], hidden: &[u32], max_rate_bp: u16) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let settings = DetectionConfig { max_false_positive_rate_bp: max_rate_bp, ..DetectionConfig::default() };
    let scorer = Scorer::new(installed(hidden)?, Calibration::new(vec![f32::MAX], vec![0.0; WIDTH]), settings);
    let mut engine = Engine::new(&Arc::new(TokenKey::from_bytes(&[1; 32])));
    let mut durations = Vec::with_capacity(events.len());
    for event in events {
        let before = Instant::now();
        let vector = engine.observe(event);
        scorer.score(event, vector.as_slice(), "token")?;
        durations.push(before.elapsed());
    }
    durations.sort_unstable();
    Ok(durations)
}

fn report(name: &str, durations: &[Duration]) {
    let at = |per_mille: usize| durations.get(durations.len().saturating_sub(1) * per_mille / 1000).copied();
    println!("{name:<44} p50 {:>9.1?}   p99 {:>9.1?}", at(500).unwrap_or_default(), at(990).unwrap_or_default());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(events) = events() else {
        eprintln!("there is no sample data; set RINGFENCE_DATA");
        return Ok(());
    };
    println!("{} events of site1", events.len());
    // A rate of 10000 bp makes every event a detection, so that each one is explained.
    report("event to score, hidden 32", &measure(&events, &[32], 0)?);
    report("event to score, hidden 64-32", &measure(&events, &[64, 32], 0)?);
    report("event to score and reasons, hidden 32", &measure(&events, &[32], 10_000)?);
    Ok(())
}
