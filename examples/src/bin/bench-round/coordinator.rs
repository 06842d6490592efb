//! The measured coordinator: a process of its own that tells its parent on standard output how to reach it, and ends
//! when its standard input does.

use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use shared::aggregate::Aggregation;
use shared::feature::FeatureViewRef;
use shared::local::LocalTraining;
use shared::participation::Participation;
use shared::privacy::{Guarantee, PrivacyUnit};
use shared::task::{Deadlines, ModelSpec, PrivacyTerms, Recipe, ReleaseGates, Task};
use shared::{Digest, ParamVector, ParticipantId, TaskId, Timestamp};
use shared_ops::clock::SystemClock;
use tokio_util::sync::CancellationToken;

use crate::Args;

const WAIT_MS: u64 = 600_000;

/// How the parent reaches the coordinator.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Door {
    pub(crate) address: String,
    pub(crate) ca_certificate_pem: String,
    pub(crate) tokens: Vec<(ParticipantId, String)>,
}

/// Runs the coordinator until standard input ends. The first line on it starts the task.
pub(crate) fn serve(args: &Args) -> anyhow::Result<()> {
    let runtime = coordinator::runtime()?;
    let folder = args.data_dir.as_deref().context("a coordinator needs `--data-dir`")?;
    let stop = CancellationToken::new();
    let config = config(folder, args.participants);
    let running = runtime.block_on(coordinator::start(config, Arc::new(SystemClock), stop.clone()))?;
    let names = names(args.participants)?;
    let tokens = names.iter().map(|name| {
        let token = running.coordinator.issue_token(name)?;
        Ok((name.clone(), token.token.expose().to_owned()))
    });
    let door = Door {
        address: format!("https://localhost:{}", running.addresses.federation.port()),
        ca_certificate_pem: running.coordinator.ca_certificate_pem().to_owned(),
        tokens: tokens.collect::<anyhow::Result<_>>()?,
    };
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(&door)?).and_then(|()| out.flush())?;
    let mut lines = std::io::stdin().lines();
    if lines.next().transpose()?.is_some() {
        let initial = ParamVector::zeros(usize::try_from(args.dim)?);
        let coordinator = Arc::clone(&running.coordinator);
        let task = task(args, names)?;
        runtime.block_on(runtime.spawn_blocking(move || coordinator.create_task(task, &initial)))??;
        writeln!(out, "begun").and_then(|()| out.flush())?;
        for line in lines {
            line?;
        }
    }
    stop.cancel();
    Ok(runtime.block_on(running.ended())?)
}

fn config(folder: &Path, participants: u32) -> coordinator::Config {
    let mut config = coordinator::Config { data_dir: folder.to_owned(), ..coordinator::Config::default() };
    config.federation.listen.set_port(0);
    config.admin.listen.set_port(0);
    config.limits.tokens = NonZeroU32::MIN.saturating_add(participants);
    config
}

fn names(participants: u32) -> anyhow::Result<Vec<ParticipantId>> {
    Ok((0..participants).map(|number| ParticipantId::new(format!("site-{number}"))).collect::<Result<_, _>>()?)
}

/// A linear model: its parameters are one weight per input and one bias.
fn task(args: &Args, cohort: Vec<ParticipantId>) -> anyhow::Result<Task> {
    Ok(Task {
        task_id: TaskId::new("bench")?,
        title: "A measurement".to_owned(),
        cohort: cohort.into_iter().collect(),
        quorum: args.participants,
        rounds: args.rounds,
        feature_view: FeatureViewRef { name: "none".to_owned(), version: 1, digest: Digest([0; 32]) },
        model: ModelSpec { inputs: args.dim.saturating_sub(1), hidden: Vec::new() },
        recipe: Recipe {
            local_steps: 1,
            sampling_rate: 0.5,
            learning_rate: 0.1,
            momentum: 0.0,
            clip_norm: 1.0,
            local: LocalTraining::default(),
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
        secure_aggregation: false,
        deadlines: Deadlines { join_ms: WAIT_MS, collect_ms: WAIT_MS, evaluate_ms: WAIT_MS },
        gates: ReleaseGates { min_true_positive_rate: 0.0, max_false_positive_rate: 1.0 },
        seed: 1,
        created_at: Timestamp::EPOCH,
    })
}

/// The coordinator's process as its parent sees it. It ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(crate) door: Door,
}

impl Process {
    /// Starts this very program again, as a coordinator.
    pub(crate) fn start(args: &Args, folder: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", "--participants", &args.participants.to_string(), "--dim", &args.dim.to_string()])
            .args(["--rounds", &args.rounds.to_string(), "--data-dir"])
            .arg(folder)
            .arg("--encoding")
            .arg(clap::ValueEnum::to_possible_value(&args.encoding).context("an encoding has a name")?.get_name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("the coordinator's output is a pipe")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let door = serde_json::from_str(&line).with_context(|| format!("the coordinator did not start: {line}"))?;
        Ok(Self { child, input, output, door })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets the task begin.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the coordinator takes no more input")?;
        writeln!(input, "begin").and_then(|()| input.flush())?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(line.trim() == "begun", "the coordinator did not begin: {line}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input.take();
        // It ends by itself within its grace; there is nobody left to tell if not.
        let _ = self.child.wait();
    }
}
