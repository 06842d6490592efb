//! `replay`: what a change of the policies would have done to decisions that were recorded.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use shared::{Clock, Timestamp};
use shared_ops::cli::{Failure, Format, print};
use shared_ops::clock::SystemClock;

use crate::decide::Engine;
use crate::replay::{Settings, Versions, replay};
use crate::repository::Repository;

/// Where decisions come from.
pub(super) const RECORDS: &str = "Decisions are records of a site's audit log, one JSON object a line:
  ringfence-participant audit export --kind decision --kind rollback >decisions.jsonl
Rollbacks tell which leases are in force no more; records of other kinds are passed over.";

/// What is replayed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The version in force: a folder, or a git revision of the repository
    base: String,
    /// The version proposed: a folder, or a git revision of the repository
    head: String,
    /// Recorded decisions, plain or as `.zst`; `-` for standard input
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    decisions: Vec<PathBuf>,
    /// Leave out decisions that are older
    #[arg(long, value_name = "NUMBER")]
    days: Option<u32>,
    /// Count days back from this instant, and call a lease in force that holds then; without it, now
    #[arg(long, value_name = "TIMESTAMP")]
    as_of: Option<Timestamp>,
    /// Count lines that are no audit record, instead of refusing them
    #[arg(long)]
    skip_damaged: bool,
}

pub(super) fn run(repo: &Path, site: Option<&str>, arguments: &Arguments, format: Format) -> Result<(), anyhow::Error> {
    let [base, head] = load(repo, site, arguments)?;
    let settings = Settings {
        as_of: arguments.as_of.unwrap_or_else(|| SystemClock.now()),
        days: arguments.days,
        skip_damaged: arguments.skip_damaged,
        threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    let bar = super::progress_bar();
    let versions = Versions { base: &base, head: &head };
    let found = replay(versions, &arguments.decisions, settings, &|lines| bar.inc(lines)).map_err(Failure::from)?;
    bar.finish_and_clear();
    Ok(print(&found, format)?)
}

/// Both versions, as they hold at the site: one of them may know nothing of it yet, or no more.
fn load(repo: &Path, site: Option<&str>, arguments: &Arguments) -> Result<[Engine; 2], Failure> {
    let (base, head) = (Repository::at(repo, &arguments.base)?, Repository::at(repo, &arguments.head)?);
    let known_to = |version: &Repository| site.filter(|site| version.sites().contains(*site));
    match (known_to(&base), known_to(&head)) {
        (None, None) => Ok([Engine::new(&base, site)?, Engine::new(&head, site)?]),
        (at_base, at_head) => Ok([Engine::new(&base, at_base)?, Engine::new(&head, at_head)?]),
    }
}
