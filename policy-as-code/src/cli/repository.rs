//! What is done with a repository on disk: check it, run its tests.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use policy_as_code_cedar::{Source, TestOutcome};
use serde::Serialize;
use shared::{Digest, Explain};
use shared_ops::cli::{Exit, Failure, Format, print};

use super::prove::SolverArgs;
use crate::PolicyError;
use crate::decide::Engine;
use crate::governance::Governance;
use crate::lint::{Shadowed, Suspects, unformatted};
use crate::repository::Repository;

/// A repository that loads.
#[derive(Serialize)]
struct Checked {
    bundle: Digest,
    policies: usize,
    sites: usize,
    governance_policies: usize,
    invariants: usize,
    playbooks: usize,
    /// The files that are not laid out.
    unformatted: Vec<String>,
    shadowed: Search,
}

/// The policies that change no answer, or why nobody looked for them.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Search {
    Found(Vec<Shadowed>),
    NotLookedFor { reason: String },
}

/// Files are not laid out.
#[derive(Debug, thiserror::Error)]
#[error("not laid out as `cedar format` does it: {files}")]
struct Unformatted {
    files: String,
}

impl Explain for Unformatted {
    fn code(&self) -> &'static str {
        "policy-unformatted"
    }

    fn hint(&self) -> &'static str {
        "`ringfence-policy format` writes them; a change then shows what it changes"
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bundle, policies, sites, governance_policies, invariants, playbooks, shadowed, .. } = self;
        write!(
            f,
            "ok: {policies} policies, {sites} sites with some of their own, {governance_policies} policies of governance, "
        )?;
        write!(f, "{invariants} invariants, {playbooks} playbooks\nbundle {bundle}")?;
        match shadowed {
            Search::Found(shadowed) => {
                shadowed.iter().try_for_each(|one| write!(f, "\nwarning: without {one} every answer would be the same"))
            }
            Search::NotLookedFor { reason } => {
                write!(f, "\npolicies that change nothing were not looked for: {reason}")
            }
        }
    }
}

pub(super) fn check(repo: &Path, solver: &SolverArgs, format: Format) -> Result<(), anyhow::Error> {
    let repository = Repository::read(repo).map_err(Failure::from)?;
    let engine = Engine::new(&repository, None).map_err(Failure::from)?;
    let mut policies: BTreeSet<String> = engine.policies().places().keys().cloned().collect();
    for site in repository.sites() {
        let engine = Engine::new(&repository, Some(&site)).map_err(Failure::from)?;
        policies.extend(engine.policies().places().keys().cloned());
    }
    let checked = Checked {
        bundle: engine.bundle(),
        policies: policies.len(),
        sites: repository.sites().len(),
        governance_policies: engine.governance().policies().places().len(),
        invariants: engine.invariants().ids().len(),
        playbooks: engine.playbooks().len(),
        unformatted: unformatted(&repository).map_err(Failure::from)?.into_iter().map(|file| file.path).collect(),
        shadowed: search(&repository, solver).map_err(Failure::from)?,
    };
    print(&checked, format)?;
    let files = checked.unformatted.join(", ");
    if files.is_empty() { Ok(()) } else { Err(Failure::from(Unformatted { files }).exit(Exit::Refused).into()) }
}

fn search(repository: &Repository, solver: &SolverArgs) -> Result<Search, PolicyError> {
    let suspects = Suspects::of(repository)?;
    if suspects.is_empty() {
        return Ok(Search::Found(Vec::new()));
    }
    let (solver, memory) = match solver.open() {
        Ok(opened) => opened,
        Err(error) => return Ok(Search::NotLookedFor { reason: format!("{error}; {}", error.hint()) }),
    };
    let (found, proven) = suspects.shadowed(&solver)?;
    if let Some(mut memory) = memory {
        memory.remember(&solver.name(), &proven)?;
    }
    Ok(Search::Found(found))
}

/// How the tests went.
#[derive(Serialize)]
struct Tested {
    tests: usize,
    failed: Vec<FailedTest>,
}

#[derive(Serialize)]
struct FailedTest {
    file: String,
    name: String,
    reason: String,
}

impl fmt::Display for Tested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for FailedTest { file, name, reason } in &self.failed {
            writeln!(f, "failed: `{file}` {name}: {reason}")?;
        }
        write!(f, "{} tests, {} failed", self.tests, self.failed.len())
    }
}

/// Some policy tests failed.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {tests} policy tests failed")]
struct TestsFailed {
    failed: usize,
    tests: usize,
}

impl Explain for TestsFailed {
    fn code(&self) -> &'static str {
        "policy-tests-failed"
    }

    fn hint(&self) -> &'static str {
        "the tests that failed stand on standard output; mend the policy or the test"
    }
}

pub(super) fn test(repo: &Path, format: Format) -> Result<(), anyhow::Error> {
    let repository = Repository::read(repo).map_err(Failure::from)?;
    let tested = run_tests(&repository).map_err(Failure::from)?;
    print(&tested, format)?;
    let (tests, failed) = (tested.tests, tested.failed.len());
    if failed == 0 { Ok(()) } else { Err(Failure::from(TestsFailed { failed, tests }).into()) }
}

fn run_tests(repository: &Repository) -> Result<Tested, PolicyError> {
    let governance = Governance::new(repository)?;
    let mut tested = Tested { tests: 0, failed: Vec::new() };
    for site in repository.everywhere_and_sites() {
        let engine = Engine::new(repository, site.as_deref())?;
        for file in repository.tests(site.as_deref()) {
            tested.take(&file, engine.policies().run_tests(&file)?);
        }
    }
    for file in repository.governance_tests() {
        tested.take(&file, governance.policies().run_tests(&file)?);
    }
    Ok(tested)
}

impl Tested {
    fn take(&mut self, file: &Source, outcomes: Vec<TestOutcome>) {
        for TestOutcome { name, failure, .. } in outcomes {
            self.tests = self.tests.saturating_add(1);
            self.failed.extend(failure.map(|reason| FailedTest { file: file.path.clone(), name, reason }));
        }
    }
}
