//! What changes a target and gives it back.
//!
//! An actuator decides nothing and keeps no plan: it captures what an effect will change, makes the change, tries to get
//! past it, and restores what it captured. Each call may come twice.

pub mod dry_run;
pub mod embedded;
pub mod postgres;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shared::decision::ContainmentAction;
use shared::store::StoreError;
use shared::{AssetId, Explain, RunId};

use crate::playbook::Postcondition;

/// One effect of one step of one run. Run and step name it: what was done once for them is not done again, and what was
/// undone for them stays undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The run.
    pub run_id: RunId,
    /// Its step, from 1.
    pub step: u32,
    /// What is done.
    pub action: ContainmentAction,
    /// On what.
    pub target: AssetId,
}

/// What restores a target, in the actuator's own form. It holds settings, never secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Undo(pub serde_json::Value);

/// Why an actuator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ActuatorError {
    /// There is no such target.
    #[error("the target `{target}` is not known here")]
    UnknownTarget {
        /// Which.
        target: AssetId,
    },
    /// This actuator cannot do that.
    #[error("`{action}` cannot be carried out on this kind of target")]
    Unsupported {
        /// What.
        action: ContainmentAction,
    },
    /// The target may not be touched, or the action would not hold on it.
    #[error("the target `{target}` is not to be touched: {reason}")]
    OffLimits {
        /// Which.
        target: AssetId,
        /// Why.
        reason: String,
    },
    /// The address of the target's server cannot be read.
    #[error("the server's address cannot be read: {reason}")]
    BadAddress {
        /// What is wrong.
        reason: String,
    },
    /// The target's server does not answer.
    #[error("the server at `{location}` does not answer: {reason}")]
    Unreachable {
        /// Where.
        location: String,
        /// What went wrong.
        reason: String,
    },
    /// The server does not let us.
    #[error("the server does not permit it: {reason}")]
    NotPermitted {
        /// What it says.
        reason: String,
    },
    /// The server refused for another reason.
    #[error("the server refused: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// The probe got past the effect.
    #[error("the effect does not hold: {bypass}")]
    NotHeld {
        /// What still worked.
        bypass: String,
    },
    /// The effect was undone before; somebody acts on an outdated plan.
    #[error("step {step} of run `{run_id}` was undone already")]
    Undone {
        /// The run.
        run_id: RunId,
        /// The step.
        step: u32,
    },
    /// What was captured cannot be read.
    #[error("what was captured for `{target}` cannot be read: {reason}")]
    BadUndo {
        /// For which target.
        target: AssetId,
        /// What is wrong.
        reason: String,
    },
    /// It took too long.
    #[error("the actuator did not answer within {limit:?}")]
    TimedOut {
        /// How long it may take.
        limit: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ActuatorError {
    /// Whether trying again may help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotHeld { .. } | Self::TimedOut { .. } | Self::Store(_) => true,
            Self::UnknownTarget { .. }
            | Self::Unsupported { .. }
            | Self::OffLimits { .. }
            | Self::BadAddress { .. }
            | Self::NotPermitted { .. }
            | Self::Refused { .. }
            | Self::Undone { .. }
            | Self::BadUndo { .. } => false,
        }
    }
}

impl Explain for ActuatorError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownTarget { .. } => "actuator-unknown-target",
            Self::Unsupported { .. } => "actuator-unsupported",
            Self::OffLimits { .. } => "actuator-off-limits",
            Self::BadAddress { .. } => "actuator-bad-address",
            Self::Unreachable { .. } => "actuator-unreachable",
            Self::NotPermitted { .. } => "actuator-not-permitted",
            Self::Refused { .. } => "actuator-refused",
            Self::NotHeld { .. } => "actuator-not-held",
            Self::Undone { .. } => "actuator-undone",
            Self::BadUndo { .. } => "actuator-bad-undo",
            Self::TimedOut { .. } => "actuator-timed-out",
            Self::Store(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::UnknownTarget { .. } => "add the asset to the actuator's inventory",
            Self::Unsupported { .. } => "use a playbook whose actions this target supports",
            Self::OffLimits { .. } => "contain this target by hand",
            Self::BadAddress { .. } => "write it as `postgresql://user:password@host:port/database`",
            Self::Unreachable { .. } => "check that the server runs and that its address is right",
            Self::NotPermitted { .. } => "connect with a role that may change roles and end sessions",
            Self::Refused { .. } => "read the server's log",
            Self::NotHeld { .. } => "find out what gives the target its way round the setting; the step is undone",
            Self::Undone { .. } => "start a new run",
            Self::BadUndo { .. } => "restore the target by hand; the run's events show what was captured",
            Self::TimedOut { .. } => "check the server's load; the step is tried again",
            Self::Store(error) => error.hint(),
        }
    }
}

/// Changes targets and gives them back.
#[async_trait]
pub trait Actuator: Send + Sync {
    /// What will restore the target after `effect`. Changes nothing.
    async fn capture(&self, effect: &Effect) -> Result<Undo, ActuatorError>;

    /// Makes the change; a second call for the same run and step changes nothing more.
    async fn apply(&self, effect: &Effect) -> Result<(), ActuatorError>;

    /// Tries to get past the effect, and fails with [`ActuatorError::NotHeld`] if that works. `undo` says how the target
    /// stood before.
    async fn probe(&self, effect: &Effect, postcondition: Postcondition, undo: &Undo) -> Result<(), ActuatorError>;

    /// Restores what was captured, whether or not the effect was ever applied.
    async fn restore(&self, effect: &Effect, undo: &Undo) -> Result<(), ActuatorError>;
}
