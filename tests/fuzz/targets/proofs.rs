//! What is shown as proof: receipts and consistency proofs of an audit log, its checkpoints, and transcripts of rounds.
//! None that was not signed by the one key that counts is ever believed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shared_audit::transcript::{Trust, verify};
use shared_audit::{Checkpoint, ConsistencyProof, Receipt, verify_consistency, verify_receipt};
use shared_crypto::{PublicKey, SigningKey};

/// A key whose signatures no input holds.
static KEY: LazyLock<PublicKey> = LazyLock::new(|| SigningKey::from_seed(&[7; 32]).public());

fuzz_target!(|bytes: &[u8]| {
    let trust = Trust { coordinator: *KEY, operator: None };
    assert!(verify(bytes, &trust, None).is_err());
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(Checkpoint::open(text, "origin", &KEY).is_err());
    if let Ok(receipt) = serde_json::from_str::<Receipt>(text) {
        assert!(verify_receipt(&receipt, &KEY, "origin").is_err());
    }
    if let Ok(proof) = serde_json::from_str::<ConsistencyProof>(text) {
        assert!(verify_consistency(text, &proof, &KEY, "origin").is_err());
    }
});
