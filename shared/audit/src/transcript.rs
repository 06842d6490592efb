//! A round's transcript: one file with everything that decided the round, and its check, offline.
//!
//! The file is an archive in the ustar format with one spelling (`tar tf FILE` lists it): the signed keys, task and
//! record, the audit log's receipt for the record, the parameters and the server's state that the round started from,
//! each accepted update (signed header, encoded bytes; of a masked round the sum and the signed headers) and each signed
//! evaluation. [`verify`] trusts nothing in it but
//! the coordinator's key that its caller brings: who checks has to recompute, or has checked nothing.

mod archive;
mod documents;
mod error;
mod masked;
mod recompute;
mod sections;
mod updates;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::document::Document;
use shared::{ParticipantId, RoundId};
use shared_crypto::PublicKey;

pub use archive::ReadAt;
pub use error::TranscriptError;
pub use masked::MaskedParts;
pub use sections::{Content, Parts, Transcript};
pub use updates::updates_root;
pub use verify::{Claim, Included, Trust, Verified, verify};

/// Whose keys check what in a round, signed by the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranscriptKeys {
    /// Which round.
    pub round_id: RoundId,
    /// Checks the task.
    pub operator: PublicKey,
    /// Checks the audit log's checkpoint.
    pub log: PublicKey,
    /// The audit log's name.
    pub log_origin: String,
    /// Check the updates and evaluations.
    pub participants: BTreeMap<ParticipantId, PublicKey>,
}

impl Document for TranscriptKeys {
    const DOMAIN: &'static str = "transcript-keys";
}

/// The sections' names.
mod name {
    use shared::ParticipantId;

    pub(super) const KEYS: &str = "keys.json";
    pub(super) const TASK: &str = "task.json";
    pub(super) const RECORD: &str = "record.json";
    pub(super) const RECEIPT: &str = "receipt.json";
    pub(super) const CHECKPOINT: &str = "checkpoint.f32";
    pub(super) const SERVER_STATE: &str = "server-state.bin";
    pub(super) const MASKED_SUM: &str = "masked-sum.json";
    pub(super) const SURVIVORS: &str = "survivors.json";
    pub(super) const SUM: &str = "sum.i32";

    pub(super) fn update_header(participant_id: &ParticipantId) -> String {
        format!("updates/{participant_id}.json")
    }

    pub(super) fn update_payload(participant_id: &ParticipantId) -> String {
        format!("updates/{participant_id}.bin")
    }

    pub(super) fn evaluation(participant_id: &ParticipantId) -> String {
        format!("evaluations/{participant_id}.json")
    }
}
