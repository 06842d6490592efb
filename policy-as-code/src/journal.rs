//! Where decisions, intents, outcomes and rollbacks are written before the next thing happens.
//!
//! Whoever runs playbooks brings the journal (a participant: its audit log); nothing here keeps records itself.

use shared::Explain;
use shared::audit::AuditKind;

/// The journal did not take a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal did not take a record: {reason}")]
pub struct JournalError {
    /// Why it was not taken.
    pub reason: String,
}

impl Explain for JournalError {
    fn code(&self) -> &'static str {
        "journal-refused"
    }

    fn hint(&self) -> &'static str {
        "nothing is done without a record; check the audit log's disk, then try again"
    }
}

/// Takes records.
pub trait Journal: Send + Sync {
    /// Writes one record and returns its index. The record survives a crash once this returns `Ok`; until then nobody
    /// acts on it. After a crash a record may be written twice: it names its run and step.
    fn record(&self, kind: AuditKind, content: serde_json::Value) -> Result<u64, JournalError>;
}
