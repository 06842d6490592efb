//! Reviews a change of the repository, as one Markdown comment for its pull request.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use shared::{Clock, Explain};
use shared_ops::cli::{Exit, Failure, Format, print};
use shared_ops::clock::SystemClock;

use super::prove::SolverArgs;
use crate::replay::Settings;
use crate::repository::Repository;
use crate::review::{Change, Recorded, Review};

/// What is reviewed, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The version before: a git revision of the repository, or a folder
    base: String,
    /// The version after
    head: String,
    /// Recorded decisions to ask again of both versions, plain or as `.zst`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    decisions: Vec<PathBuf>,
    /// Leave out decisions that are older
    #[arg(long, value_name = "NUMBER")]
    days: Option<u32>,
    #[command(flatten)]
    solver: SolverArgs,
}

/// Something speaks against a change.
#[derive(Debug, thiserror::Error)]
#[error("this must not be merged: {objections}")]
struct Objected {
    objections: String,
}

impl Explain for Objected {
    fn code(&self) -> &'static str {
        "review-objected"
    }

    fn hint(&self) -> &'static str {
        "standard output has the review, with a request that shows each fault and the policies to blame"
    }
}

pub(super) fn run(repo: &Path, arguments: &Arguments, format: Format) -> Result<(), anyhow::Error> {
    let Arguments { base: base_name, head: head_name, decisions, days, solver } = arguments;
    let read = |version: &str| Repository::at(repo, version).map_err(Failure::from);
    let (base, head) = (read(base_name)?, read(head_name)?);
    let (solver, mut memory) = solver.open().map_err(Failure::from)?;
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let settings = Settings { as_of: SystemClock.now(), days: *days, skip_damaged: false, threads };
    let recorded = (!decisions.is_empty()).then(|| Recorded { files: decisions.clone(), settings });
    let change = Change { base_name, head_name, base: &base, head: &head };
    let review = Review::of(&change, &solver, recorded.as_ref(), threads);
    if let Some(memory) = &mut memory {
        memory.remember(&solver.name(), &review.proven()).map_err(Failure::from)?;
    }
    print(&review, format)?;
    let objections = review.objections().join("; ");
    if objections.is_empty() { Ok(()) } else { Err(Failure::from(Objected { objections }).exit(Exit::Refused).into()) }
}
