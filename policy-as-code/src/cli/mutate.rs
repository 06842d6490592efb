//! `mutate`: the careless edits that no test would notice.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use clap::Args;
use shared::Explain;
use shared_ops::cli::{Failure, Format, print};

use crate::mutate::Trials;
use crate::repository::Repository;

/// How much is tried, and how much may survive.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Refuse a repository that has more mutants
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000)]
    limit: usize,
    /// Fail when more mutants than this survive
    #[arg(long, value_name = "NUMBER")]
    max_survivors: Option<usize>,
}

/// Too many mutants survived.
#[derive(Debug, thiserror::Error)]
#[error("{survivors} mutants survived, more than {max}")]
struct TooMany {
    survivors: usize,
    max: usize,
}

impl Explain for TooMany {
    fn code(&self) -> &'static str {
        "mutate-survivors"
    }

    fn hint(&self) -> &'static str {
        "the survivors stand on standard output, the most dangerous first; add a test that fails with each"
    }
}

pub(super) fn run(repo: &Path, arguments: &Arguments, format: Format) -> Result<(), anyhow::Error> {
    let repository = Repository::read(repo).map_err(Failure::from)?;
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let trials = Trials::prepare(&repository, arguments.limit).map_err(Failure::from)?;
    let bar = super::progress_bar();
    bar.set_length(u64::try_from(trials.count())?);
    let mutated = trials.run(threads, &|| bar.inc(1)).map_err(Failure::from)?;
    bar.finish_and_clear();
    print(&mutated, format)?;
    let survivors = mutated.survivors.len();
    match arguments.max_survivors.filter(|max| survivors > *max) {
        Some(max) => Err(Failure::from(TooMany { survivors, max }).into()),
        None => Ok(()),
    }
}
