//! Compares two versions of a repository.

use std::path::Path;

use clap::Args;
use shared_ops::cli::{Failure, Format, print};

use super::prove::SolverArgs;
use crate::diff::diff;
use crate::repository::Repository;

/// What is compared, and how.
#[derive(Debug, Args)]
pub(super) struct Versions {
    /// The version before: a git revision of the repository, or a folder
    base: String,
    /// The version after
    head: String,
    #[command(flatten)]
    solver: SolverArgs,
}

pub(super) fn run(repo: &Path, versions: &Versions, format: Format) -> Result<(), anyhow::Error> {
    let read = |version: &str| Repository::at(repo, version).map_err(Failure::from);
    let (base, head) = (read(&versions.base)?, read(&versions.head)?);
    let (solver, mut memory) = versions.solver.open().map_err(Failure::from)?;
    let report = diff(&base, &head, &solver).map_err(Failure::from)?;
    if let Some(memory) = &mut memory {
        memory.remember(&report.effort.solver, report.effort.proven()).map_err(Failure::from)?;
    }
    Ok(print(&report, format)?)
}
