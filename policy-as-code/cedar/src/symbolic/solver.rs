//! The solver that proofs rely on: which program, how long a query may take, what it has proven before.
//!
//! It is cvc5 or nothing: another program, or a version that nobody has tried, is refused before it is asked.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use shared::{Clock, Digest, Timestamp};
use tokio::process::Command;

use super::SolverError;
use super::session::{runtime, threads};

/// How long a solver may take to say what it is.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// How much of an introduction is told.
const MAX_TOLD: usize = 200;
/// The oldest cvc5 1 that is known to answer rightly.
const OLDEST: (u32, u32) = (0, 3);

/// How a solver is run.
#[derive(Clone)]
pub struct SolverConfig {
    /// The program; a bare name is looked for on the search path.
    pub program: PathBuf,
    /// How long one query may take.
    pub time_limit: Duration,
    /// How many queries may be under way at once, each in a process of its own.
    pub processes: usize,
    /// Tells how long queries took.
    pub clock: Arc<dyn Clock>,
    /// SHA-256.
    pub digest: fn(&[u8]) -> Digest,
}

/// A solver that was found fit.
pub struct Solver {
    pub(super) config: SolverConfig,
    version: String,
    /// Queries that are proven: many environments ask the same.
    known: Mutex<BTreeSet<Digest>>,
}

impl Solver {
    /// Finds the solver and asks it what it is.
    pub fn find(config: SolverConfig) -> Result<Self, SolverError> {
        let says = introduction(&config)?;
        match version(&says) {
            Some(version) => Ok(Self { config, version, known: Mutex::default() }),
            None => Err(SolverError::Unfit { program: config.name(), says }),
        }
    }

    /// The solver, which is not asked again what it has answered `unsat` before.
    #[must_use]
    pub fn knowing(self, known: BTreeSet<Digest>) -> Self {
        Self { known: Mutex::new(known), ..self }
    }

    /// Name and version, such as `cvc5 1.0.3`.
    pub fn name(&self) -> String {
        format!("cvc5 {}", self.version)
    }

    /// The present instant, by the clock that times the solver.
    pub fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    pub(super) fn knows(&self, query: &Digest) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(query)
    }

    pub(super) fn learn(&self, query: Digest) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(query);
    }
}

impl SolverConfig {
    pub(super) fn name(&self) -> String {
        self.program.display().to_string()
    }

    pub(super) fn absent(&self, reason: &dyn fmt::Display) -> SolverError {
        SolverError::Absent { program: self.name(), reason: reason.to_string() }
    }
}

/// The first line that the program writes when asked for its version.
fn introduction(config: &SolverConfig) -> Result<String, SolverError> {
    let asked = threads(1, &|| runtime()?.block_on(version_output(config)));
    let asked: io::Result<Vec<Output>> = asked.and_then(|asked| asked.into_iter().collect());
    let asked = asked.map_err(|error| config.absent(&error))?;
    let said = asked.first().map(|output| String::from_utf8_lossy(&output.stdout)).unwrap_or_default();
    Ok(said.lines().next().unwrap_or_default().chars().take(MAX_TOLD).collect())
}

async fn version_output(config: &SolverConfig) -> io::Result<Output> {
    let mut command = Command::new(&config.program);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(INTRODUCTION, command.output()).await?
}

/// The version in `This is cvc5 version 1.0.3 [...]`, if it will do.
fn version(says: &str) -> Option<String> {
    let version = says.strip_prefix("This is cvc5 version ")?.split_whitespace().next()?;
    let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
    let (major, minor, patch) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    (major == 1 && (minor, patch) >= OLDEST).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cvc5_1_from_1_0_3_on_will_do() {
        let cases = [
            ("This is cvc5 version 1.0.3", Some("1.0.3")),
            ("This is cvc5 version 1.3.1 [git tag 1.3.1 branch HEAD]", Some("1.3.1")),
            ("This is cvc5 version 1.3.2-dev.12", Some("1.3.2-dev.12")),
            ("This is cvc5 version 1.0.2", None),
            ("This is cvc5 version 0.9.9", None),
            ("This is cvc5 version 2.0.0", None),
            ("This is CVC4 version 1.8", None),
            ("Z3 version 4.8.12 - 64 bit", None),
            ("", None),
        ];
        for (says, expected) in cases {
            assert_eq!(version(says).as_deref(), expected, "{says}");
        }
    }
}
