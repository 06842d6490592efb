//! Trains a federation on labelled telemetry of several sites and says how well it detects, against training alone and
//! against pooling all data in one place, with and without differential privacy.
//!
//! The sites learn in one process, by the same features, training rounds, exact aggregation and privacy accounting as
//! in production; no network and no signatures. Noise and samples follow `--seed` so that a run can be repeated, which
//! is right for measuring quality and **not private**.

mod regime;
mod report;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use shared_ops::cli::{self, Failure, Format};

use regime::Federation;
use report::Report;
use site::Site;

/// Trains a federation on labelled sites and prints its quality beside local, pooled and private training.
///
/// DIR holds, for each site, NAME.events.jsonl.gz or NAME.pgaudit.jsonlog.gz, and NAME.labels.csv.gz with the columns
/// event_id, label, scenario, technique, split; an event of a pgaudit log has the id SESSION_ID/LINE_NUM. Each site's
/// events go through one feature engine in time order; models learn from the rows of the train split and are judged on
/// those of the test split, thresholds chosen per site on the scored set. The recipes were chosen on train splits alone.
#[derive(Debug, Parser)]
#[command(name = "federate", version, after_help = cli::exit_help())]
struct Args {
    /// Folder of the sites that train.
    #[arg(long, value_name = "DIR", default_value = "../shared/data/pgaudit-sim")]
    data: PathBuf,
    /// Folder of sites in the same format that never train and are scored with each federated release. A site without a
    /// test split is scored on all its rows.
    #[arg(long, value_name = "DIR")]
    holdout: Option<PathBuf>,
    /// How to print the table.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Decides first weights, samples and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(run(&args), args.format)
}

fn run(args: &Args) -> anyhow::Result<()> {
    let sites = site::load_all(&args.data)?;
    let strangers = args.holdout.as_deref().map(site::load_all).transpose()?.unwrap_or_default();
    let strangers = strangers.into_iter().map(Site::watching).collect();
    let rows = Federation::new(sites, strangers, args.seed)?.rows()?;
    cli::print(&Report { rows }, args.format)
        .map_err(|error| Failure::new("output-failed", "give standard output somewhere to go", error).into())
}
