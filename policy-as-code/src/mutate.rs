//! Mutation testing of a policy repository: every careless edit that its tests would let pass.
//!
//! A mutant is killed when a test fails with it. Nothing is written: mutants exist in memory, one at a time.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::thread;

use policy_as_code_cedar::{CedarError, Mutant, Mutants, Place, Shift, Slip, TestName, TestOutcome, TestSuite};
use serde::Serialize;
use shared::Explain;

use crate::PolicyError;
use crate::coverage::{Suite, suites};
use crate::repository::{Repository, site_of};

/// The mutants of a repository's policies, and the tests that each of them has to get past.
pub struct Trials {
    parts: Vec<Part>,
}

/// One of the repository's policy sets, and the mutants of the policies that its tests answer for.
struct Part {
    tests: TestSuite,
    mutants: Mutants,
}

/// What became of a repository's mutants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mutated {
    /// How many mutants there were.
    pub mutants: usize,
    /// How many of them failed a test.
    pub killed: usize,
    /// How many more edits were no mutants: loading would refuse them, or they change nothing.
    pub void: usize,
    /// Those that no test noticed, the most dangerous first, then in the order of files and lines.
    pub survivors: Vec<Survivor>,
}

/// An edit that no test notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survivor {
    /// The policy's id.
    pub id: String,
    /// Where the policy stands.
    pub place: Place,
    /// What was done to it.
    pub slip: Slip,
    /// What that does to the requests that are allowed.
    pub shift: Shift,
    /// The fragment that was edited.
    pub before: String,
    /// What stands in its place; empty when it was dropped.
    pub after: String,
}

/// Why mutants were not tried.
#[derive(Debug, thiserror::Error)]
pub enum MutateError {
    /// The repository does not load.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A test fails without any mutant.
    #[error("`{file}` test `{name}` fails before anything is changed: {reason}")]
    TestFails {
        /// The test's file.
        file: String,
        /// The test.
        name: String,
        /// Why it fails.
        reason: String,
    },
    /// There are more mutants than allowed.
    #[error("the policies have {mutants} mutants, more than the limit of {limit}")]
    TooMany {
        /// How many there are.
        mutants: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl Explain for MutateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Policy(error) => error.code(),
            Self::TestFails { .. } => "mutate-test-fails",
            Self::TooMany { .. } => "mutate-too-many",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Policy(error) => error.hint(),
            Self::TestFails { .. } => "mend the policy or the test; `ringfence-policy test` runs them all",
            Self::TooMany { .. } => "raise `--limit`, if there is the time",
        }
    }
}

impl From<CedarError> for MutateError {
    fn from(error: CedarError) -> Self {
        Self::Policy(error.into())
    }
}

impl Trials {
    /// The mutants of the policies of `repository`, which has to pass its own tests; `limit` is how many there may be.
    pub fn prepare(repository: &Repository, limit: usize) -> Result<Self, MutateError> {
        let mut parts = Vec::new();
        for Suite { tests, of_a_site } in suites(repository)? {
            passes(&tests)?;
            // What holds everywhere is tried once, by the tests that hold everywhere.
            let mutants = tests.mutants(|place| !of_a_site || site_of(&place.path).is_some())?;
            parts.push(Part { tests, mutants });
        }
        let trials = Self { parts };
        match trials.count() {
            mutants if mutants > limit => Err(MutateError::TooMany { mutants, limit }),
            _ => Ok(trials),
        }
    }

    /// How many mutants there are.
    pub fn count(&self) -> usize {
        self.all().count()
    }

    /// Puts the tests to every mutant, on so many threads. `tried` is called after each.
    pub fn run(&self, threads: NonZeroUsize, tried: &(dyn Fn() + Sync)) -> Result<Mutated, MutateError> {
        let verdicts = Mutex::new(Vec::new());
        let share = |first: usize| {
            for (index, (tests, mutant)) in self.all().enumerate().skip(first).step_by(threads.get()) {
                let verdict = survivor(tests, mutant);
                verdicts.lock().unwrap_or_else(PoisonError::into_inner).push((index, verdict));
                tried();
            }
        };
        thread::scope(|scope| {
            let share = &share;
            (0..threads.get()).for_each(|first| drop(scope.spawn(move || share(first))));
        });
        let mut verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
        verdicts.sort_by_key(|(index, _)| *index);
        let verdicts: Result<Vec<_>, CedarError> = verdicts.into_iter().map(|(_, verdict)| verdict).collect();
        Ok(self.mutated(verdicts?))
    }

    fn all(&self) -> impl Iterator<Item = (&TestSuite, &Mutant)> {
        self.parts.iter().flat_map(|part| part.mutants.valid.iter().map(|mutant| (&part.tests, mutant)))
    }

    fn mutated(&self, verdicts: Vec<Option<Survivor>>) -> Mutated {
        let mutants = verdicts.len();
        let mut survivors: Vec<Survivor> = verdicts.into_iter().flatten().collect();
        survivors.sort_by_key(|survivor| survivor.shift);
        let void = self.parts.iter().map(|part| part.mutants.void).sum();
        Mutated { mutants, killed: mutants - survivors.len(), void, survivors }
    }
}

fn passes(tests: &TestSuite) -> Result<(), MutateError> {
    let failed = |(TestName { file, name }, outcome): (TestName, TestOutcome)| {
        outcome.failure.map(|reason| MutateError::TestFails { file, name, reason })
    };
    tests.outcomes().into_iter().find_map(failed).map_or(Ok(()), Err)
}

fn survivor(tests: &TestSuite, mutant: &Mutant) -> Result<Option<Survivor>, CedarError> {
    Ok(if tests.killed_by(mutant)?.is_some() { None } else { Some(Survivor::from(mutant)) })
}

impl From<&Mutant> for Survivor {
    fn from(mutant: &Mutant) -> Self {
        let Mutant { id, place, slip, shift, before, after, .. } = mutant.clone();
        Self { id, place, slip, shift, before, after }
    }
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, place, slip, before, after, .. } = self;
        write!(f, "{place}: `{id}`: ")?;
        match slip {
            Slip::PolicyRemoved => write!(f, "the policy removed"),
            Slip::ConjunctDropped | Slip::DisjunctDropped => write!(f, "`{before}` dropped"),
            _ => write!(f, "`{before}` made `{after}`"),
        }
    }
}

impl fmt::Display for Mutated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in [Shift::PermitsMore, Shift::PermitsOther, Shift::PermitsLess] {
            let mut of_shift = self.survivors.iter().filter(|survivor| survivor.shift == shift).peekable();
            if of_shift.peek().is_some() {
                writeln!(f, "no test notices that this {}:", told(shift))?;
            }
            of_shift.try_for_each(|survivor| writeln!(f, "  {survivor}"))?;
        }
        let Self { mutants, killed, void, survivors } = self;
        let survived = survivors.len();
        write!(
            f,
            "{mutants} mutants, {killed} killed, {survived} survived; {void} more edits would not load or change nothing"
        )
    }
}

pub(crate) fn told(shift: Shift) -> &'static str {
    match shift {
        Shift::PermitsMore => "permits more",
        Shift::PermitsOther => "permits other requests",
        Shift::PermitsLess => "permits less",
    }
}

#[cfg(test)]
mod tests;
