//! Has a solver prove the repository, and writes the certificate where everything is proven.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use policy_as_code_cedar::{Solver, SolverConfig};
use shared_ops::cli::{Exit, Failure, Format, print};
use shared_ops::clock::SystemClock;

use crate::PolicyError;
use crate::prove::{ProofMemory, prove};
use crate::repository::Repository;

/// Two queries are under way at once; more processes would wait for each other on small machines.
const PROCESSES: usize = 2;

/// How the solver is run.
#[derive(Debug, Args)]
pub(super) struct SolverArgs {
    /// The solver: cvc5 1.0.3 or a later cvc5 1
    #[arg(long, value_name = "PATH", default_value = "cvc5")]
    solver: PathBuf,
    /// How long one query may take
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    time_limit: NonZeroU64,
    /// Remembers what was proven; keep it where a pull request cannot write [default: `ringfence/proofs.json` in the
    /// user's cache folder]
    #[arg(long, value_name = "FILE", env = "RINGFENCE_POLICY_PROOFS")]
    proofs: Option<PathBuf>,
    /// Prove everything anew
    #[arg(long)]
    anew: bool,
}

/// What is done with the proof.
#[derive(Debug, Args)]
pub(super) struct Proving {
    #[command(flatten)]
    solver: SolverArgs,
    /// Where the certificate is written, if everything is proven
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

pub(super) fn run(repo: &Path, proving: &Proving, format: Format) -> Result<(), anyhow::Error> {
    let repository = Repository::read(repo).map_err(Failure::from)?;
    let (solver, mut memory) = proving.solver.open().map_err(Failure::from)?;
    let report = prove(&repository, &solver).map_err(Failure::from)?;
    if let Some(memory) = &mut memory {
        memory.remember(&report.effort.solver, report.effort.proven()).map_err(Failure::from)?;
    }
    print(&report, format)?;
    let certificate = report.certificate(&repository).map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    if let Some(path) = &proving.certificate {
        std::fs::write(path, serde_json::to_string_pretty(&certificate)?).map_err(|error| unwritable(path, &error))?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    PolicyError::Write { path: path.display().to_string(), reason: error.to_string() }.into()
}

impl SolverArgs {
    /// The solver, and what it has proven before.
    pub(super) fn open(&self) -> Result<(Solver, Option<ProofMemory>), PolicyError> {
        let solver = Solver::find(SolverConfig {
            program: self.solver.clone(),
            time_limit: Duration::from_secs(self.time_limit.get()),
            processes: PROCESSES,
            clock: Arc::new(SystemClock),
            digest: shared_crypto::digest,
        });
        let solver = solver.map_err(policy_as_code_cedar::CedarError::from)?;
        let memory = self.proofs.clone().or_else(default_proofs).map(|path| ProofMemory::open(&path));
        let known = memory.as_ref().filter(|_| !self.anew).map(|memory| memory.proven_by(&solver.name()));
        Ok((solver.knowing(known.unwrap_or_default()), memory))
    }
}

/// `ringfence/proofs.json` in the user's cache folder; none for a user without a home.
fn default_proofs() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(folder.join("ringfence/proofs.json"))
}
