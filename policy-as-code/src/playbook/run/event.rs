//! What is fixed when a run starts, and what can happen to it: the events it is rebuilt from.

use serde::{Deserialize, Serialize};
use shared::asset::Asset;
use shared::decision::Requester;
use shared::detection::Detection;
use shared::{RunId, Timestamp};

use super::phase::Cause;
use crate::actuator::Undo;
use crate::containment::{PeerGroup, Verdict};
use crate::playbook::Playbook;
use crate::playbook::executor::Responder;

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What was detected, with the reasons.
    pub detection: Detection,
    /// The release that raised it, as policies see it.
    pub requester: Requester,
    /// What is acted on.
    pub asset: Asset,
    /// The asset's peers.
    pub peers: PeerGroup,
    /// How many accounts or hosts an action cuts off.
    pub blast_radius: u32,
    /// Whether the asset is in a maintenance window.
    pub maintenance_window: bool,
}

/// What is fixed when a run starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPlan {
    /// The run.
    pub run_id: RunId,
    /// What it carries out; kept whole, so that a new bundle changes no run under way.
    pub playbook: Playbook,
    /// What it is about.
    pub subject: Subject,
    /// When it started.
    pub started_at: Timestamp,
}

/// What can happen to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "`step` is the step's number, `record` the journal's index, `at` when it happened")]
pub enum RunEvent {
    /// It started.
    Started { plan: Box<RunPlan> },
    /// The policy set was asked, and a place reserved if the answer suffices.
    Decided { step: u32, verdict: Box<Verdict>, record: u64, at: Timestamp },
    /// A person approved.
    Approved { step: u32, responder: Responder, at: Timestamp },
    /// Nobody approved in time.
    Unapproved { step: u32, at: Timestamp },
    /// The intent is durable.
    Intended { step: u32, record: u64, at: Timestamp },
    /// What undoes the step is known.
    UndoCaptured { step: u32, undo: Undo, at: Timestamp },
    /// The actuator acted.
    Applied { step: u32, at: Timestamp },
    /// The actuator tried to get past the effect and could not.
    Verified { step: u32, record: u64, at: Timestamp },
    /// The step failed.
    Failed { step: u32, reason: String, record: u64, at: Timestamp },
    /// Somebody wants everything undone.
    RollbackRequested { by: String, at: Timestamp },
    /// A step was undone.
    RolledBack { step: u32, cause: Cause, record: u64, at: Timestamp },
}

/// An event that does not fit where the run stands. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} does not fit where the run stands")]
pub struct IllegalTransition {
    /// What happened.
    pub what: &'static str,
}
