//! `coverage`: the policies that no test decides by.

use std::path::Path;

use clap::Args;
use shared::Explain;
use shared_ops::cli::{Failure, Format, print};

use crate::coverage::Coverage;
use crate::repository::Repository;

/// How much has to be covered.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Fail when fewer policies than this decided a test, in percent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    min: Option<u8>,
}

/// Too few policies decided a test.
#[derive(Debug, thiserror::Error)]
#[error("{percent} % of the policies decided a test, fewer than {min} %")]
struct TooFew {
    percent: u8,
    min: u8,
}

impl Explain for TooFew {
    fn code(&self) -> &'static str {
        "coverage-too-low"
    }

    fn hint(&self) -> &'static str {
        "the policies without a test stand on standard output; add tests to `tests/*.json`"
    }
}

pub(super) fn run(repo: &Path, arguments: &Arguments, format: Format) -> Result<(), anyhow::Error> {
    let repository = Repository::read(repo).map_err(Failure::from)?;
    let coverage = Coverage::of(&repository).map_err(Failure::from)?;
    print(&coverage, format)?;
    let percent = coverage.percent;
    match arguments.min.filter(|min| percent < *min) {
        Some(min) => Err(Failure::from(TooFew { percent, min }).into()),
        None => Ok(()),
    }
}
