//! Runs a federation of many virtual participants in one process, on the very state machine and aggregation rules of the
//! coordinator, in virtual time: for choosing a task's settings, for attack studies, and for measuring.
//!
//! There is no network, no signature and no disk here; `bench-round` measures those.

mod arrival;
mod combine;
mod round;
mod task;
mod training;
mod vectors;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use examples::output;
use shared_ops::cli::{self, Format};

/// Simulates rounds of N virtual participants and prints what each took and whose updates counted.
///
/// Without `--train` each participant sends one of `--distinct` made-up updates of D parameters. With it each is a site
/// of its own, with generated telemetry of its own, that trains the production model with differential privacy.
#[derive(Debug, Parser)]
#[command(name = "simulate", version, after_help = cli::exit_help())]
pub(crate) struct Args {
    /// How many virtual participants there are.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    participants: u32,
    /// How many parameters an update has; a trained model has its own number.
    #[arg(long, value_name = "D", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(2..=100_000_000))]
    dim: u32,
    /// How many rounds there are.
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// How many different made-up updates there are.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    distinct: u32,
    /// How updates become one change of the model.
    #[arg(long, value_enum, default_value_t = RuleName::Mean)]
    rule: RuleName,
    /// How many of the participants a robust rule takes for liars.
    #[arg(long, value_name = "F", default_value_t = 0)]
    byzantine: u32,
    /// Trains for real.
    #[arg(long)]
    train: bool,
    /// How many participants are enough to close a round; all when absent.
    #[arg(long, value_name = "N")]
    goal: Option<u32>,
    /// How many times the goal are invited.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    over_selection: f64,
    /// Share of participants that never deliver in a round.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    dropout: f64,
    /// How many rounds late an update may come; it then weighs less. Without it late updates are dropped.
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    late: u32,
    /// How long a round collects at most, in virtual seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    deadline: u64,
    /// How many threads aggregate.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Decides vectors, delays and dropouts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How to print the figures.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// A rule by name; its settings come from `--byzantine` or are the usual ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuleName {
    Mean,
    CoordinateMedian,
    TrimmedMean,
    MultiKrum,
    Bulyan,
    GeometricMedian,
    CenteredClipping,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = round::simulate(&args).and_then(|simulation| output::print(&simulation, args.format));
    cli::finish(done, args.format)
}
