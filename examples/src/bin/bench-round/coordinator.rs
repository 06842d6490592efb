//! The measured coordinator: a process of its own that tells its parent on standard output how to reach it, and ends
//! when its standard input does.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use coordinator::{Addresses, Config, Running};
use examples::rounds::Victim;
use serde::{Deserialize, Serialize};
use shared::aggregate::Aggregation;
use shared::feature::FeatureViewRef;
use shared::local::LocalTraining;
use shared::masking::{Assurance, SecureAggregation};
use shared::participation::Participation;
use shared::privacy::{Guarantee, PrivacyUnit};
use shared::task::{Deadlines, ModelSpec, PrivacyTerms, Recipe, ReleaseGates, Task, TrainingMechanism};
use shared::{Digest, ParamVector, ParticipantId, TaskId, Timestamp};
use shared_ops::clock::SystemClock;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::Args;

const WAIT_MS: u64 = 600_000;

/// How the others reach the coordinator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Door {
    /// Where participants connect.
    pub(crate) address: String,
    /// Where it tells what it has counted.
    pub(crate) metrics: String,
    pub(crate) ca_certificate_pem: String,
    /// Who may still enrol.
    pub(crate) tokens: Vec<(ParticipantId, String)>,
}

/// Runs the coordinator until standard input ends. The first line on it starts the task.
pub(crate) fn serve(args: &Args) -> anyhow::Result<()> {
    let (runtime, stop) = (coordinator::runtime()?, CancellationToken::new());
    let running = start(&runtime, config(args)?, &stop)?;
    let names = names(args.participants)?;
    let tokens = names.iter().map(|name| {
        let token = running.coordinator.issue_token(name)?;
        Ok((name.clone(), token.token.expose().to_owned()))
    });
    say(&door(&running, tokens.collect::<anyhow::Result<_>>()?))?;
    let mut lines = std::io::stdin().lines();
    if lines.next().transpose()?.is_some() {
        let initial = ParamVector::zeros(usize::try_from(args.dim)?);
        let coordinator = Arc::clone(&running.coordinator);
        let task = task(args, names)?;
        runtime.block_on(runtime.spawn_blocking(move || coordinator.create_task(task, &initial)))??;
        say(&"begun")?;
        lines.try_for_each(|line| line.map(drop))?;
    }
    stop.cancel();
    Ok(runtime.block_on(running.ended())?)
}

/// Runs the coordinator again where it was killed, on the same ports, until standard input ends.
pub(crate) fn serve_again(args: &Args) -> anyhow::Result<()> {
    let (runtime, stop) = (coordinator::runtime()?, CancellationToken::new());
    let mut config = config(args)?;
    let addresses: Addresses = serde_json::from_slice(&std::fs::read(config.data_dir.join("addresses.json"))?)?;
    config.federation.listen = addresses.federation;
    config.admin.listen = addresses.admin;
    let running = start(&runtime, config, &stop)?;
    say(&door(&running, Vec::new()))?;
    std::io::stdin().lines().try_for_each(|line| line.map(drop))?;
    stop.cancel();
    Ok(runtime.block_on(running.ended())?)
}

fn start(runtime: &Runtime, config: Config, stop: &CancellationToken) -> anyhow::Result<Running> {
    Ok(runtime.block_on(coordinator::start(config, Arc::new(SystemClock), stop.clone()))?)
}

/// Writes one line of JSON to the parent.
pub(crate) fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    Ok(writeln!(out, "{}", serde_json::to_string(what)?).and_then(|()| out.flush())?)
}

fn door(running: &Running, tokens: Vec<(ParticipantId, String)>) -> Door {
    Door {
        address: format!("https://localhost:{}", running.addresses.federation.port()),
        metrics: format!("http://{}/metrics", running.addresses.admin),
        ca_certificate_pem: running.coordinator.ca_certificate_pem().to_owned(),
        tokens,
    }
}

fn config(args: &Args) -> anyhow::Result<Config> {
    let folder: &Path = args.data_dir.as_deref().context("a coordinator needs `--data-dir`")?;
    let mut config = Config { data_dir: folder.to_owned(), ..Config::default() };
    config.federation.listen.set_port(0);
    config.admin.listen.set_port(0);
    config.limits.tokens = NonZeroU32::MIN.saturating_add(args.participants);
    Ok(config)
}

fn names(participants: u32) -> anyhow::Result<Vec<ParticipantId>> {
    Ok((0..participants).map(|number| ParticipantId::new(format!("site-{number}"))).collect::<Result<_, _>>()?)
}

/// All participants, less those that will be cut off.
fn quorum(args: &Args) -> u32 {
    match args.kill {
        Some(Victim::Participant | Victim::FrozenParticipant) => args.participants.saturating_sub(1).max(1),
        Some(Victim::Coordinator) | None => args.participants.saturating_sub(args.drop).max(1),
    }
}

/// A linear model: its parameters are one weight per input and one bias.
fn task(args: &Args, cohort: Vec<ParticipantId>) -> anyhow::Result<Task> {
    Ok(Task {
        task_id: TaskId::new("bench")?,
        title: "A measurement".to_owned(),
        cohort: cohort.into_iter().collect(),
        quorum: quorum(args),
        rounds: args.rounds(),
        feature_view: FeatureViewRef { name: "none".to_owned(), version: 1, digest: Digest([0; 32]) },
        model: ModelSpec { inputs: args.dim.saturating_sub(1), hidden: Vec::new() },
        recipe: Recipe {
            local_steps: 1,
            sampling_rate: 0.5,
            learning_rate: 0.1,
            momentum: 0.0,
            clip_norm: 1.0,
            adaptive_clip: None,
            local: LocalTraining::default(),
            mechanism: TrainingMechanism::default(),
            noise_multiplier: None,
        },
        privacy: PrivacyTerms {
            unit: PrivacyUnit::Record,
            ceiling: Guarantee { epsilon: 1.0, delta: 1e-5 },
            evaluation_rho: 1e-3,
        },
        aggregation: Aggregation::default(),
        encodings: vec![args.encoding.encoding()?],
        participation: Participation::default(),
        secure_aggregation: args.secure.then(|| SecureAggregation {
            clip_norm: 1.0,
            value_bits: 16,
            assurance: if args.prove { Assurance::NormProofs { root: None } } else { Assurance::None },
            roster: BTreeMap::new(),
        }),
        deadlines: Deadlines { join_ms: WAIT_MS, collect_ms: WAIT_MS, evaluate_ms: WAIT_MS, unmask_ms: WAIT_MS },
        gates: ReleaseGates { min_true_positive_rate: 0.0, max_false_positive_rate: 1.0 },
        seed: 1,
        created_at: Timestamp::EPOCH,
    })
}
