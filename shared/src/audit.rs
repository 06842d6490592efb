//! What stands in the audit log: one record for everything decided or done.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::document::Document;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// A token was made or withdrawn; a participant was enrolled, approved, quarantined, reinstated or revoked.
    Enrolment,
    /// Somebody changed something by the admin API or the command line, or was refused.
    Admin,
    /// A task was accepted, admitted or refused.
    Task,
    /// A round was committed or aborted.
    Round,
    /// A release was published, verified or refused.
    Release,
    /// The privacy ledger was debited.
    Debit,
    /// A detection was raised.
    Detection,
    /// A policy engine decided.
    Decision,
    /// An action is about to be taken.
    Intent,
    /// An action was taken, or failed.
    Outcome,
    /// An action was undone.
    Rollback,
    /// A policy bundle was loaded or refused.
    Bundle,
}

/// One entry of the audit log, signed by who did it (not by who keeps the log).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// What it is about.
    pub kind: AuditKind,
    /// When it happened.
    pub at: Timestamp,
    /// Who did it: a participant id, `coordinator`, or a responder's name.
    pub actor: String,
    /// What happened, as the domain type's JSON.
    pub content: serde_json::Value,
}

impl Document for AuditRecord {
    const DOMAIN: &'static str = "audit-record";
}
