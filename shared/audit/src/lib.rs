//! The transparency log: everything decided or done, in a Merkle tree that can only grow (RFC 6962), with signed
//! checkpoints in the form that public witnesses and independent verifiers read (C2SP tlog-checkpoint, signed-note).
//!
//! The log orders entries and proves that it keeps them; it neither signs nor judges what an entry says, and never
//! changes or removes one. Its key signs checkpoints only, so that who keeps the log cannot forge an entry.

mod checkpoint;
mod error;
mod log;
mod merkle;
mod note;
mod receipt;
pub mod transcript;
mod tree;

pub use checkpoint::Checkpoint;
pub use error::AuditError;
pub use log::{AuditLog, MAX_BATCH, MAX_ENTRY, Verified};
pub use receipt::{ConsistencyProof, Receipt, verify_consistency, verify_receipt};
