//! Proofs that leave the site: that an entry is in the log, and that the log only grew. Both verify offline.

use serde::{Deserialize, Serialize};
use shared::Digest;
use shared::canonical;
use shared::document::SignedDocument;
use shared_crypto::PublicKey;

use crate::merkle::{is_consistent, is_included, leaf_hash};
use crate::{AuditError, Checkpoint};

/// Proof that an entry stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The entry, signed by who emitted it; that signature is for the reader to check with the emitter's key.
    pub entry: SignedDocument,
    /// Its place in the log, from 0.
    pub index: u64,
    /// The inclusion path, from the leaf up (RFC 6962, section 2.1.1).
    pub path: Vec<Digest>,
    /// The signed checkpoint that the path leads to (C2SP signed note).
    pub checkpoint: String,
}

/// Proof that the log at an older checkpoint is a prefix of the log at this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// The consistency path (RFC 6962, section 2.1.2).
    pub path: Vec<Digest>,
    /// The newer signed checkpoint.
    pub checkpoint: String,
}

/// Checks that the log called `origin` vouches for the receipt's entry. Needs nothing but the log's public key.
pub fn verify_receipt(receipt: &Receipt, log_key: &PublicKey, origin: &str) -> Result<(), AuditError> {
    let checkpoint = Checkpoint::open(&receipt.checkpoint, origin, log_key)?;
    let leaf = leaf_hash(&canonical::encode(&receipt.entry)?);
    if is_included(leaf, receipt.index, checkpoint.size, &receipt.path, &checkpoint.root) {
        Ok(())
    } else {
        Err(AuditError::Proof("inclusion"))
    }
}

/// Checks that nothing was changed or removed since `old_checkpoint`; gives the newer checkpoint.
pub fn verify_consistency(
    old_checkpoint: &str,
    proof: &ConsistencyProof,
    log_key: &PublicKey,
    origin: &str,
) -> Result<Checkpoint, AuditError> {
    let old = Checkpoint::open(old_checkpoint, origin, log_key)?;
    let new = Checkpoint::open(&proof.checkpoint, origin, log_key)?;
    if is_consistent((old.size, &old.root), (new.size, &new.root), &proof.path) {
        Ok(new)
    } else {
        Err(AuditError::Proof("consistency"))
    }
}
