//! Sessions with the solver: formulas in, answers out, several sessions side by side.
//!
//! An answer is an answer, or the reason why there is none; a solver that cannot be relied on ends the whole inquiry.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use cedar_policy_symcc::{Asserts, CedarSymCompiler, Env, SymEnv, WellFormedAsserts};
use shared::{Digest, Timestamp};
use tokio::runtime::Runtime;

use super::Solver;
use super::process::{Process, Stopped};
use crate::CedarError;

/// The stack of a session: formulas nest as deep as a set has policies. Only what is touched takes memory.
const STACK: usize = 512 * 1024 * 1024;

/// An answer, or why there is none.
pub(super) type Answer<T> = Result<T, String>;

/// What the solver was asked in one inquiry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queries {
    /// How many queries the solver answered.
    pub asked: usize,
    /// How many were not asked, because they were proven before, or for another environment.
    pub recalled: usize,
    /// The queries that are proven: their formulas hold for no request.
    pub proven: BTreeSet<Digest>,
}

pub(super) struct Session<'a> {
    solver: &'a Solver,
    runtime: Runtime,
    compiler: CedarSymCompiler<Process<'a>>,
}

impl<'a> Session<'a> {
    fn new(solver: &'a Solver) -> Result<Self, CedarError> {
        let compiler = CedarSymCompiler::new(Process::new(solver)).map_err(CedarError::symbolic)?;
        let runtime = runtime().map_err(|error| solver.config.absent(&error))?;
        Ok(Self { solver, runtime, compiler })
    }

    /// The present instant.
    pub(super) fn now(&self) -> Timestamp {
        self.solver.now()
    }

    pub(super) fn micros_since(&self, started: Timestamp) -> u64 {
        u64::try_from(self.now().since(started).as_micros()).unwrap_or(u64::MAX)
    }

    /// A request for which all `asserts` hold; none where they contradict each other.
    pub(super) fn example(&mut self, asserts: &WellFormedAsserts<'_>) -> Result<Answer<Option<Env>>, CedarError> {
        let result = self.runtime.block_on(self.compiler.check_sat(asserts));
        self.conclude(result)
    }

    /// Whether `asserts` contradict each other.
    pub(super) fn contradiction(&mut self, asserts: Asserts, symenv: &SymEnv) -> Result<Answer<bool>, CedarError> {
        let result = self.runtime.block_on(self.compiler.check_unsat_raw(asserts, symenv));
        self.conclude(result)
    }

    /// The digests of the queries since the last call.
    pub(super) fn recent(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.compiler.solver_mut().recent)
    }

    fn conclude<T>(&mut self, result: cedar_policy_symcc::err::Result<T>) -> Result<Answer<T>, CedarError> {
        match (result, self.compiler.solver_mut().stopped.take()) {
            (Ok(answer), _) => Ok(Ok(answer)),
            (Err(_), Some(Stopped::Failed(error))) => Err(error.into()),
            (Err(_), Some(Stopped::Undecided(reason))) => Ok(Err(reason)),
            (Err(error), None) => Ok(Err(error.to_string())),
        }
    }
}

/// Does `work` for each of `items`, as many at once as the solver may have processes; results in the order of the items.
pub(super) fn each<T, R>(
    solver: &Solver,
    items: &[T],
    work: impl Fn(&mut Session<'_>, &T) -> Result<R, CedarError> + Sync,
) -> Result<(Vec<R>, Queries), CedarError>
where
    T: Sync,
    R: Send,
{
    let next = AtomicUsize::new(0);
    let share = || {
        let mut session = Session::new(solver)?;
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            done.push((index, work(&mut session, item)?));
        }
        Ok((done, std::mem::take(&mut session.compiler.solver_mut().queries)))
    };
    let count = solver.config.processes.clamp(1, items.len().max(1));
    let shares = threads(count, &share).map_err(|error| solver.config.absent(&error))?;
    collect(shares)
}

type Share<R> = (Vec<(usize, R)>, Queries);

fn collect<R>(shares: Vec<Result<Share<R>, CedarError>>) -> Result<(Vec<R>, Queries), CedarError> {
    let (mut results, mut queries) = (Vec::new(), Queries::default());
    for share in shares {
        let (done, part) = share?;
        results.extend(done);
        queries.asked = queries.asked.saturating_add(part.asked);
        queries.recalled = queries.recalled.saturating_add(part.recalled);
        queries.proven.extend(part.proven);
    }
    results.sort_by_key(|(index, _)| *index);
    Ok((results.into_iter().map(|(_, result)| result).collect(), queries))
}

/// Runs `work` in `count` threads of its own, where no other runtime is in the way.
pub(super) fn threads<R: Send>(count: usize, work: &(impl Fn() -> R + Sync)) -> io::Result<Vec<R>> {
    std::thread::scope(|scope| {
        let start = |_| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let started: Vec<_> = (0..count).map(start).collect::<io::Result<_>>()?;
        let ended = started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok(ended.collect())
    })
}

/// A runtime for the thread that asks for it.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
