//! Kills the coordinator and the participants of a long task at random with SIGKILL, again and again, and checks that
//! every round ends with the same aggregate, bit for bit, as in a run that nobody disturbed.
//!
//! Everything is as in production but one thing: sites draw samples and noise from a seed, so that two runs can be
//! compared. That is right for this test and **not private**.

mod federation;
mod outcome;
mod process;
mod role;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use shared_ops::cli::{self, Failure, Format};

/// Runs a task twice, once undisturbed and once with random kills, and compares every round.
///
/// Exit status 1 when a round differs, when a kill was lost, or when the disturbed task does not end.
#[derive(Debug, Parser)]
#[command(name = "kill-loop", version, after_help = cli::exit_help())]
struct Args {
    /// How many rounds the task has.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many processes are killed on the way.
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u32,
    /// How many sites take part.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    sites: u8,
    /// Decides who is killed when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Keeps both runs' folders here.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Runs one of the processes to be killed.
    #[arg(long, hide = true, value_name = "ROLE")]
    role: Option<role::Role>,
    /// The folder of that process.
    #[arg(long, hide = true, value_name = "DIR", requires = "role")]
    folder: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match (&args.role, &args.folder) {
        (Some(role), Some(folder)) => role.run(folder),
        _ => compare(&args),
    };
    cli::finish(done, args.format)
}

fn compare(args: &Args) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    let origin = folder.join("origin");
    federation::prepare(&origin, args.sites, args.rounds)?;
    let calm = federation::run(&origin, &folder.join("calm"), args, 0)?;
    let disturbed = federation::run(&origin, &folder.join("disturbed"), args, args.kills)?;
    let verdict = outcome::Verdict::of(&calm, &disturbed);
    let failed = |error| Failure::new("output-failed", "give standard output somewhere to go", error);
    cli::print(&verdict, args.format).map_err(failed)?;
    verdict.holds().map_err(|reason| Failure::new("kill-loop-differs", "look at the logs with `--keep`", reason).into())
}
