//! The review of a change to the policies: all that a reviewer has to see before merging, most important first.
//!
//! It says what the change can never cause, what it newly allows, what it would have done to recorded decisions, and
//! what its tests leave open. It decides nothing: a person merges.

mod markdown;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use policy_as_code_cedar::Solver;
use serde::Serialize;
use shared::{Digest, Explain};

use crate::PolicyError;
use crate::coverage::Coverage;
use crate::decide::Engine;
use crate::diff::{PolicyDiff, diff};
use crate::invariant::Invariants;
use crate::lint::Lint;
use crate::mutate::{Mutated, Trials};
use crate::prove::{Effort, ProofReport, prove};
use crate::replay::{Replay, Settings, Versions, replay};
use crate::repository::Repository;

/// How many mutants a review tries at most.
const MAX_MUTANTS: usize = 20_000;

/// What a review compares, or runs.
const COMPARED: [&str; 5] = ["governance/", "policies/", "invariants/", "schema/", "tests/"];

/// What is reviewed.
pub struct Change<'a> {
    /// What the version before is called.
    pub base_name: &'a str,
    /// What the version after is called.
    pub head_name: &'a str,
    /// The version before.
    pub base: &'a Repository,
    /// The version after.
    pub head: &'a Repository,
}

/// Recorded decisions, and which of them count.
pub struct Recorded {
    /// The files that hold them.
    pub files: Vec<PathBuf>,
    /// Which of them count, and how they are read.
    pub settings: Settings,
}

/// What a review found.
#[derive(Debug, Serialize)]
pub struct Review {
    /// What the version before is called.
    pub base: String,
    /// What the version after is called.
    pub head: String,
    /// The files that differ, served or not.
    pub changed: Vec<String>,
    /// Who owns an invariant that is added, changed or gone.
    pub approvers: BTreeSet<String>,
    /// What is proven of the version after.
    pub proof: Finding<ProofReport>,
    /// How the two versions differ in what they allow.
    pub difference: Finding<PolicyDiff>,
    /// What both versions say to recorded decisions; `None` where none were given.
    pub replay: Option<Finding<Replay>>,
    /// How the policies are laid out, and which of them change nothing.
    pub lint: Finding<Lint>,
    /// Which policies the tests decide by.
    pub coverage: Finding<Coverage>,
    /// Which careless edits the tests would let pass.
    pub mutants: Finding<Mutated>,
}

/// A part of a review, or why there is none.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Finding<T> {
    /// What was found.
    Found(T),
    /// Why nothing was.
    Missing {
        /// The error's code.
        code: &'static str,
        /// What it says.
        error: String,
        /// How to mend it.
        hint: &'static str,
    },
}

impl<T> Finding<T> {
    fn of<E: Explain>(result: Result<T, E>) -> Self {
        match result {
            Ok(found) => Self::Found(found),
            Err(error) => Self::Missing { code: error.code(), error: error.to_string(), hint: error.hint() },
        }
    }

    fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Missing { .. } => None,
        }
    }
}

impl Review {
    /// Reviews `change`, with `solver` for the proofs. What cannot be done for one part is told there, and the others
    /// are done all the same.
    pub fn of(change: &Change<'_>, solver: &Solver, recorded: Option<&Recorded>, threads: NonZeroUsize) -> Self {
        let Change { base_name, head_name, base, head } = *change;
        Self {
            base: base_name.to_owned(),
            head: head_name.to_owned(),
            changed: base.differing(head),
            approvers: approvers(base, head),
            proof: Finding::of(prove(head, solver)),
            difference: Finding::of(diff(base, head, solver)),
            replay: recorded.map(|recorded| replayed(base, head, recorded)),
            lint: Finding::of(Lint::of(head, solver)),
            coverage: Finding::of(Coverage::of(head)),
            mutants: Finding::of(Trials::prepare(head, MAX_MUTANTS).and_then(|trials| trials.run(threads, &|| ()))),
        }
    }

    /// The queries that were proven, for [`crate::prove::ProofMemory`].
    pub fn proven(&self) -> BTreeSet<Digest> {
        let proof = self.proof.found().map(|proof| &proof.effort);
        let difference = self.difference.found().map(|difference| &difference.effort);
        let lint = self.lint.found().into_iter().flat_map(|lint| &lint.proven);
        proof.into_iter().chain(difference).flat_map(Effort::proven).chain(lint).copied().collect()
    }

    /// Why this must not be merged; empty where nothing speaks against it.
    pub fn objections(&self) -> Vec<String> {
        let unproven = match &self.proof {
            Finding::Found(proof) => {
                proof.unproven().iter().map(|claim| format!("`{claim}` is not proven")).collect::<Vec<_>>()
            }
            Finding::Missing { error, .. } => vec![error.clone()],
        };
        let failing = match &self.mutants {
            Finding::Missing { code: "mutate-test-fails", error, .. } => Some(error.clone()),
            _ => None,
        };
        let unread = match &self.replay {
            Some(Finding::Missing { error, .. }) => Some(error.clone()),
            _ => None,
        };
        unproven.into_iter().chain(failing).chain(unread).collect()
    }

    /// The files that differ and that no part of this review compares: a person has to read them.
    fn unread(&self) -> impl Iterator<Item = &String> {
        self.changed.iter().filter(|path| !COMPARED.iter().any(|folder| path.starts_with(folder)))
    }

    /// The files that differ and hold invariants: what is proven is another thing than before.
    fn invariants(&self) -> impl Iterator<Item = &String> {
        self.changed.iter().filter(|path| path.starts_with("invariants/"))
    }
}

fn replayed(base: &Repository, head: &Repository, recorded: &Recorded) -> Finding<Replay> {
    match (Engine::new(base, None), Engine::new(head, None)) {
        (Ok(base), Ok(head)) => {
            let versions = Versions { base: &base, head: &head };
            Finding::of(replay(versions, &recorded.files, recorded.settings, &|_| ()))
        }
        (Err(error), _) | (_, Err(error)) => Finding::of(Err::<Replay, _>(error)),
    }
}

/// Who owns the invariants in files that differ, on either side; a side that does not load has none to tell.
fn approvers(base: &Repository, head: &Repository) -> BTreeSet<String> {
    let changed: BTreeSet<String> = base.differing(head).into_iter().collect();
    let owners = |side: &Repository| -> Result<Vec<String>, PolicyError> {
        let invariants = Invariants::parse(side)?;
        let places = invariants.never().places().iter().chain(invariants.always().places());
        let touched = places.filter(|(_, place)| changed.contains(&place.path));
        Ok(touched.filter_map(|(id, _)| invariants.annotation(id, "owner").map(str::to_owned)).collect())
    };
    [base, head].into_iter().flat_map(|side| owners(side).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests;
