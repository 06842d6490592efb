//! Why a playbook is not runnable, and why a run does not go on.

use shared::store::StoreError;
use shared::{Explain, RunId};

use crate::actuator::ActuatorError;
use crate::containment::ContainmentError;
use crate::journal::JournalError;

use super::run::IllegalTransition;

/// Why a playbook is not runnable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaybookError {
    /// It is no CACAO 2.0 playbook.
    #[error("the playbook cannot be read: {reason}")]
    Syntax {
        /// What is wrong.
        reason: String,
    },
    /// A text is no CACAO identifier.
    #[error("`{text}` is no CACAO identifier")]
    Identifier {
        /// The text.
        text: String,
    },
    /// It uses something that is not carried out here.
    #[error("the playbook uses {what}, which is not carried out here")]
    Unsupported {
        /// What.
        what: String,
    },
    /// It was revoked.
    #[error("the playbook was revoked by its author")]
    Revoked,
    /// It has too many steps.
    #[error("the playbook exceeds {limit} steps")]
    TooManySteps {
        /// How many it may have.
        limit: usize,
    },
    /// It names something that it does not define.
    #[error("the playbook names the {what} `{id}` but does not define it")]
    Missing {
        /// What kind of thing.
        what: &'static str,
        /// Its identifier.
        id: String,
    },
    /// A step comes after itself.
    #[error("step `{step}` comes after itself")]
    Loop {
        /// The step.
        step: String,
    },
    /// No way leads to a step.
    #[error("no way leads to step `{step}`")]
    Unreached {
        /// The step.
        step: String,
    },
    /// A step does not say what follows it.
    #[error("step `{step}` needs either `on_completion`, or `on_success` with or without `on_failure`")]
    Successors {
        /// The step.
        step: String,
    },
    /// A step's extension cannot be carried out.
    #[error("the step extension cannot be carried out: {reason}")]
    Extension {
        /// What is wrong.
        reason: String,
    },
}

impl Explain for PlaybookError {
    fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "playbook-syntax",
            Self::Identifier { .. } => "playbook-identifier",
            Self::Unsupported { .. } => "playbook-unsupported",
            Self::Revoked => "playbook-revoked",
            Self::TooManySteps { .. } => "playbook-too-many-steps",
            Self::Missing { .. } => "playbook-missing",
            Self::Loop { .. } => "playbook-loop",
            Self::Unreached { .. } => "playbook-unreached",
            Self::Successors { .. } => "playbook-successors",
            Self::Extension { .. } => "playbook-extension",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "validate the file against the CACAO 2.0 JSON schema",
            Self::Identifier { .. } => "identifiers are `<type>--<uuid>`",
            Self::Unsupported { .. } => "start, action and end steps are carried out; nothing else is skipped silently",
            Self::Revoked => "use a version that is not revoked",
            Self::TooManySteps { .. } => "split the playbook",
            Self::Missing { .. } => "define it, or name one that is defined",
            Self::Loop { .. } => "let every way end in an end step",
            Self::Unreached { .. } => "remove the step, or let another lead to it",
            Self::Successors { .. } => "see section 4.1 of CACAO 2.0",
            Self::Extension { .. } => "see the extension definition in `playbooks/contain-account.json`",
        }
    }
}

/// Why a run does not go on. What was done stands in its events; the next tick takes it up there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no such run.
    #[error("there is no run `{run_id}`")]
    Unknown {
        /// The run.
        run_id: RunId,
    },
    /// There is such a run already.
    #[error("there is a run `{run_id}` already")]
    Exists {
        /// The run.
        run_id: RunId,
    },
    /// The playbook may not be run now.
    #[error("the playbook `{playbook}` is not valid at present")]
    OutOfValidity {
        /// The playbook's name.
        playbook: String,
    },
    /// What was asked for does not fit where the run stands.
    #[error("run `{run_id}`: {error}")]
    Illegal {
        /// The run.
        run_id: RunId,
        /// Why it does not fit.
        error: IllegalTransition,
    },
    /// The run's events cannot be read.
    #[error("the events of run `{run_id}` cannot be read: {reason}")]
    Damaged {
        /// The run.
        run_id: RunId,
        /// What is wrong.
        reason: String,
    },
    /// Too many runs are open.
    #[error("{limit} runs are open, which is the limit")]
    TooManyRuns {
        /// How many may be.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The containment ledger failed.
    #[error(transparent)]
    Containment(#[from] ContainmentError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An effect could not be undone yet.
    #[error("step {step} of run `{run_id}` could not be undone: {error}")]
    NotUndone {
        /// The run.
        run_id: RunId,
        /// The step, from 1.
        step: u32,
        /// What the actuator says.
        error: ActuatorError,
    },
}

impl Explain for RunError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "run-unknown",
            Self::Exists { .. } => "run-exists",
            Self::OutOfValidity { .. } => "run-out-of-validity",
            Self::Illegal { .. } => "run-illegal",
            Self::Damaged { .. } => "run-damaged",
            Self::TooManyRuns { .. } => "run-too-many",
            Self::Store(error) => error.code(),
            Self::Containment(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::NotUndone { .. } => "run-not-undone",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "list the open runs",
            Self::Exists { .. } => "give every run an id of its own",
            Self::OutOfValidity { .. } => "check `valid_from` and `valid_until` of the playbook",
            Self::Illegal { .. } => "look where the run stands, and ask for what fits",
            Self::Damaged { .. } => "restore the store from a backup; the run is left as it stands",
            Self::TooManyRuns { .. } => "roll back runs that are no longer needed",
            Self::Store(error) => error.hint(),
            Self::Containment(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::NotUndone { .. } => "the next tick tries again; mend the target, or undo the step there by hand",
        }
    }
}
