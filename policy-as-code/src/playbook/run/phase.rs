//! Where a run and each of its steps can stand, and what that calls for.

use serde::{Deserialize, Serialize};
use shared::decision::Lease;
use shared::{RunId, Timestamp};

use crate::actuator::Undo;
use crate::playbook::ast::{ActionStep, StepId};
use crate::playbook::executor::Responder;

/// Why something is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked for it.
    Requested {
        /// Who.
        by: String,
    },
    /// The lease lapsed.
    Lapsed,
    /// A step failed or was not approved in time.
    StepFailed {
        /// Its number.
        step: u32,
    },
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum RunStatus {
    /// Its last step is under way.
    Running,
    /// Everything in force is being undone.
    RollingBack {
        /// Why.
        cause: Cause,
    },
    /// No step follows. What is in force stays until its lease lapses or somebody asks.
    Ended {
        /// How it ended.
        outcome: Outcome,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Its way led to an end step.
    Completed,
    /// It did not go on.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// Everything was undone.
    RolledBack {
        /// Why.
        cause: Cause,
    },
}

/// Why a run did not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum StopReason {
    /// The policy set allowed no more than an alert.
    AlertOnly,
    /// Another run holds the asset.
    AssetHeld {
        /// Which.
        by: RunId,
    },
    /// A lease lapsed while a later step was under way.
    LeaseLapsed,
}

/// A step that the run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepState {
    /// Its number within the run, from 1.
    pub number: u32,
    /// Its identifier in the playbook.
    pub id: StepId,
    /// What it does.
    pub action: ActionStep,
    /// Where it stands.
    pub phase: StepPhase,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum StepPhase {
    /// Nothing was decided.
    Planned,
    /// The policy set wants people's approval.
    AwaitingApproval {
        /// Until when it waits.
        until: Timestamp,
        /// Who approved.
        approvals: Vec<Responder>,
        /// How many of the approvals the policy set has been asked about.
        asked: usize,
    },
    /// The policy set refused, or the asset is held.
    Refused,
    /// Nobody approved in time.
    Unapproved,
    /// Decided and reserved.
    Reserved {
        /// The permission.
        lease: Lease,
    },
    /// The intent is durable in the journal.
    Intended {
        /// The permission.
        lease: Lease,
    },
    /// What undoes it is durable; the effect may or may not be in force.
    UndoCaptured {
        /// The permission.
        lease: Lease,
        /// What undoes it.
        undo: Undo,
    },
    /// The effect is in force, unverified.
    Applied {
        /// The permission.
        lease: Lease,
        /// What undoes it.
        undo: Undo,
    },
    /// The effect is in force and was verified.
    Verified {
        /// The permission.
        lease: Lease,
        /// What undoes it.
        undo: Undo,
        /// Since when.
        at: Timestamp,
    },
    /// It failed; whatever it did is to be undone.
    Failed {
        /// The permission.
        lease: Lease,
        /// What undoes it; `None` when it failed before anything was done.
        undo: Option<Undo>,
        /// Why it failed.
        reason: String,
    },
    /// Nothing of it is in force.
    RolledBack {
        /// Why it was undone.
        cause: Cause,
    },
}

impl StepPhase {
    /// The lease and the undo of a step that holds a place in the ledger.
    pub fn hold(&self) -> Option<(&Lease, Option<&Undo>)> {
        match self {
            Self::Reserved { lease } | Self::Intended { lease } => Some((lease, None)),
            Self::UndoCaptured { lease, undo } | Self::Applied { lease, undo } | Self::Verified { lease, undo, .. } => {
                Some((lease, Some(undo)))
            }
            Self::Failed { lease, undo, .. } => Some((lease, undo.as_ref())),
            Self::Planned
            | Self::AwaitingApproval { .. }
            | Self::Refused
            | Self::Unapproved
            | Self::RolledBack { .. } => None,
        }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Todo {
    /// Ask the policy set about the last step, for the release or for the person who approved last.
    Decide,
    /// Stop waiting for approval.
    GiveUpWaiting,
    /// Make the intent durable.
    Intend,
    /// Capture what undoes the step.
    Capture,
    /// Act.
    Apply,
    /// Try to get past the effect.
    Verify,
    /// Undo a step.
    Undo {
        /// Its number.
        step: u32,
        /// Why.
        cause: Cause,
    },
    /// Wait: for approval, for a lease to lapse, or for ever.
    Nothing,
}

impl StepPhase {
    /// What a step that is under way calls for.
    pub(super) fn todo(&self, now: Timestamp) -> Todo {
        match self {
            Self::Planned => Todo::Decide,
            Self::AwaitingApproval { approvals, asked, .. } if *asked < approvals.len() => Todo::Decide,
            Self::AwaitingApproval { until, .. } if *until <= now => Todo::GiveUpWaiting,
            Self::Reserved { .. } => Todo::Intend,
            Self::Intended { .. } => Todo::Capture,
            Self::UndoCaptured { .. } => Todo::Apply,
            Self::Applied { .. } => Todo::Verify,
            Self::AwaitingApproval { .. }
            | Self::Refused
            | Self::Unapproved
            | Self::Verified { .. }
            | Self::Failed { .. }
            | Self::RolledBack { .. } => Todo::Nothing,
        }
    }
}
