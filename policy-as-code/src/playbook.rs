//! Playbooks: a subset of CACAO 2.0, and runs of them that survive a crash at any point.
//!
//! Reading order: [`ast`] (what a playbook says), [`extension`] (what ours adds to CACAO), [`run`] (where a run stands,
//! as a pure state machine), [`log`] (its events, durable), [`executor`] (what drives it).

pub mod ast;
mod error;
pub mod executor;
pub mod extension;
pub mod log;
mod parse;
pub mod run;

use std::collections::BTreeMap;

pub use ast::{ActionStep, Playbook, Step, StepId};
pub use error::{PlaybookError, RunError};
pub use executor::{Executor, Responder, Site};
pub use extension::{Extension, Postcondition, UndoKind};
pub use run::{Cause, Outcome, RunEvent, RunState, RunStatus, StepPhase, StepState, StopReason, Subject};

use crate::PolicyError;
use crate::repository::Repository;

/// All playbooks of a repository, by file name without its ending.
pub fn parse_all(repository: &Repository) -> Result<BTreeMap<String, Playbook>, PolicyError> {
    let mut playbooks = BTreeMap::new();
    for source in repository.folder("playbooks") {
        let playbook = Playbook::parse(&source.text);
        let playbook = playbook.map_err(|error| PolicyError::Playbook { path: source.path.clone(), error })?;
        let name = source.path.trim_start_matches("playbooks/").trim_end_matches(".json");
        playbooks.insert(name.to_owned(), playbook);
    }
    Ok(playbooks)
}
