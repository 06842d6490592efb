//! One process of the solver: takes a query whole, digests it, and asks it unless it was proven before.
//!
//! A query that takes too long costs the process its life, and the query its answer; it never counts as proven.

use std::process::Stdio;
use std::time::Duration;

use cedar_policy_symcc::solver::{Decision, DecisionWithModel, Solver as SymccSolver, SolverError as SymccError};
use shared::Digest;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::session::Queries;
use super::{Solver, SolverError};

/// The longest answer, in bytes. The model of a request takes some thousand.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How much of a wrong answer is told.
const MAX_TOLD: usize = 300;
/// How long a process that has closed its output may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a query has no answer.
pub(super) enum Stopped {
    /// The solver cannot be relied on.
    Failed(SolverError),
    /// The solver gave up, or was given up.
    Undecided(String),
}

pub(super) struct Process<'a> {
    solver: &'a Solver,
    running: Option<Running>,
    query: Vec<u8>,
    /// The queries since somebody looked.
    pub(super) recent: Vec<Digest>,
    pub(super) queries: Queries,
    pub(super) stopped: Option<Stopped>,
}

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl<'a> Process<'a> {
    /// A process that starts with the first query that needs it.
    pub(super) fn new(solver: &'a Solver) -> Self {
        Self {
            solver,
            running: None,
            query: Vec::new(),
            recent: Vec::new(),
            queries: Queries::default(),
            stopped: None,
        }
    }

    async fn decide(&mut self) -> Result<Decision, Stopped> {
        self.query.extend_from_slice(b"(check-sat)\n");
        let query = std::mem::take(&mut self.query);
        let digest = (self.solver.config.digest)(&query);
        self.recent.push(digest);
        if self.solver.knows(&digest) {
            self.queries.recalled += 1;
            self.queries.proven.insert(digest);
            return Ok(Decision::Unsat);
        }
        self.queries.asked += 1;
        let answer = self.exchange(&query, |_| true).await?;
        match answer.trim() {
            "unsat" => {
                self.solver.learn(digest);
                self.queries.proven.insert(digest);
                Ok(Decision::Unsat)
            }
            "sat" => Ok(Decision::Sat),
            "unknown" => Err(Stopped::Undecided("the solver could not decide it".to_owned())),
            _ => Err(self.nonsense(&answer)),
        }
    }

    async fn model(&mut self) -> Result<DecisionWithModel, Stopped> {
        match self.decide().await? {
            Decision::Unsat => Ok(DecisionWithModel::Unsat),
            Decision::Unknown => Ok(DecisionWithModel::Unknown),
            Decision::Sat => {
                let model = self.exchange(b"(get-model)\n", is_whole_model).await?;
                if model.starts_with("(error") {
                    Err(self.nonsense(&model))
                } else {
                    Ok(DecisionWithModel::Sat { model })
                }
            }
        }
    }

    /// Writes `text` and reads lines until they are a `whole` answer.
    async fn exchange(&mut self, text: &[u8], whole: fn(&str) -> bool) -> Result<String, Stopped> {
        let limit = self.solver.config.time_limit;
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start().map_err(Stopped::Failed)?,
        };
        match tokio::time::timeout(limit, running.exchange(text, whole)).await {
            Ok(Ok(answer)) => {
                self.running = Some(running);
                Ok(answer)
            }
            Ok(Err(error)) => Err(Stopped::Failed(self.post_mortem(running, &error).await)),
            Err(_) => Err(Stopped::Undecided(format!("the solver did not answer within {limit:?}"))),
        }
    }

    fn start(&self) -> Result<Running, SolverError> {
        let program = &self.solver.config.program;
        let absent = |reason: &dyn std::fmt::Display| self.solver.config.absent(reason);
        let mut command = Command::new(program);
        command.args(["--lang", "smt"]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| absent(&error))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Running { child, input, output: BufReader::new(output) }),
            _ => Err(absent(&"it has no standard input or output")),
        }
    }

    async fn post_mortem(&self, mut running: Running, error: &std::io::Error) -> SolverError {
        let mut said = String::new();
        let last_words = async {
            if let Some(stderr) = running.child.stderr.take() {
                // What cannot be read is not told; how the process ended is.
                let _ = stderr.take(1_000).read_to_string(&mut said).await;
            }
            running.child.wait().await
        };
        let end = match tokio::time::timeout(FAREWELL, last_words).await {
            Ok(Ok(status)) => status.to_string(),
            _ => error.to_string(),
        };
        let said = said.lines().next().map(|line| format!(", `{line}`")).unwrap_or_default();
        SolverError::Died { program: self.solver.config.name(), reason: format!("{end}{said}") }
    }

    fn nonsense(&mut self, answer: &str) -> Stopped {
        self.running = None;
        let answer = answer.trim().chars().take(MAX_TOLD).collect();
        Stopped::Failed(SolverError::Nonsense { program: self.solver.config.name(), answer })
    }

    fn stop<T>(&mut self, result: Result<T, Stopped>) -> Result<T, SymccError> {
        result.map_err(|stopped| {
            self.stopped = Some(stopped);
            SymccError::SolverMarkedFailed
        })
    }
}

impl Running {
    async fn exchange(&mut self, text: &[u8], whole: fn(&str) -> bool) -> std::io::Result<String> {
        self.input.write_all(text).await?;
        self.input.flush().await?;
        let mut answer = String::new();
        loop {
            let left = u64::try_from(MAX_ANSWER.saturating_sub(answer.len())).unwrap_or_default();
            if (&mut self.output).take(left).read_line(&mut answer).await? == 0 {
                return Err(std::io::Error::other("no whole answer"));
            }
            if whole(&answer) {
                return Ok(answer);
            }
        }
    }
}

/// A model stands between a line `(` and a line `)`; an error is one line.
fn is_whole_model(lines: &str) -> bool {
    !lines.starts_with("(\n") && !lines.starts_with("(\r\n") || lines.lines().last().is_some_and(|line| line == ")")
}

impl SymccSolver for Process<'_> {
    fn smtlib_input(&mut self) -> &mut (dyn AsyncWrite + Unpin + Send) {
        &mut self.query
    }

    async fn enable_models(&mut self) -> Result<(), SymccError> {
        self.query.extend_from_slice(b"(set-option :produce-models true)\n");
        Ok(())
    }

    async fn check_sat(&mut self) -> Result<Decision, SymccError> {
        let decided = self.decide().await;
        self.stop(decided)
    }

    async fn check_sat_with_model(&mut self) -> Result<DecisionWithModel, SymccError> {
        let decided = self.model().await;
        self.stop(decided)
    }
}
