//! What can go wrong with the log and its proofs.

use std::sync::Arc;

use shared::Explain;
use shared::canonical::CanonicalError;
use shared::store::StoreError;

/// Why the log did not append, read, or prove.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// The store failed. Callers whose entries were written together share one error.
    #[error("the audit log: {0}")]
    Store(Arc<StoreError>),
    /// An entry has no canonical form.
    #[error(transparent)]
    Canonical(Arc<CanonicalError>),
    /// An entry is larger than an entry bundle can hold.
    #[error("an audit entry of {size} bytes exceeds the limit of {limit}")]
    EntryTooLarge {
        /// Its canonical size, bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// More entries than one call may append.
    #[error("{size} audit entries in one call exceed the limit of {limit}")]
    BatchTooLarge {
        /// How many there were.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A write panicked, so that what is in the store is unknown.
    #[error("a write to the audit log before this one panicked")]
    Interrupted,
    /// The origin cannot name a log.
    #[error("`{0}` cannot name an audit log")]
    Origin(String),
    /// The log is not that long.
    #[error("the audit log has {size} entries, none at {index}")]
    NoEntry {
        /// What was asked for.
        index: u64,
        /// How long the log is.
        size: u64,
    },
    /// What the store holds is not what was written.
    #[error("the audit log is damaged at entry {index}: {what}")]
    Damaged {
        /// The first entry concerned.
        index: u64,
        /// What is wrong.
        what: String,
    },
    /// A checkpoint is malformed or not signed by the log.
    #[error("the checkpoint {0}")]
    Checkpoint(&'static str),
    /// A proof does not lead to the checkpoint's root.
    #[error("the {0} proof does not lead to the checkpoint's root")]
    Proof(&'static str),
}

impl Explain for AuditError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Canonical(error) => error.code(),
            Self::EntryTooLarge { .. } => "audit-entry-too-large",
            Self::BatchTooLarge { .. } => "audit-batch-too-large",
            Self::Interrupted => "audit-interrupted",
            Self::Origin(_) => "audit-origin",
            Self::NoEntry { .. } => "audit-no-entry",
            Self::Damaged { .. } => "audit-damaged",
            Self::Checkpoint(_) => "audit-checkpoint",
            Self::Proof(_) => "audit-proof",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Store(error) => match **error {
                StoreError::Conflict { .. } => {
                    "restart the process, and let one only write to the log; nothing was written"
                }
                _ => error.hint(),
            },
            Self::Canonical(error) => error.hint(),
            Self::EntryTooLarge { .. } => "store the evidence elsewhere and log its digest",
            Self::BatchTooLarge { .. } => "append in several calls",
            Self::Interrupted => "restart the process; the log opens at its last durable checkpoint",
            Self::Origin(_) => "use a URL without its scheme, without spaces and `+`, such as `example.com/site-1`",
            Self::NoEntry { .. } => "ask for an entry below the log's size",
            Self::Damaged { .. } => "stop writing, keep the store as evidence, and compare with receipts and backups",
            Self::Checkpoint(_) => "check origin and log key; otherwise treat the checkpoint as forged",
            Self::Proof(_) => "treat it as forged, or as evidence that the log was rewritten",
        }
    }
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<CanonicalError> for AuditError {
    fn from(error: CanonicalError) -> Self {
        Self::Canonical(Arc::new(error))
    }
}
