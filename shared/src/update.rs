//! What participants send in a round. No type here can carry an event: raw telemetry never leaves a site.

use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::encoding::Encoding;
use crate::masking::{MaskedPart, MaskingOffer};
use crate::{Digest, ParticipantId, RoundId, Timestamp};

/// An update travels in chunks of this many bytes, the last of which may be shorter; each has a digest of its own.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// A participant's word that it takes part in a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Which round.
    pub round_id: RoundId,
    /// Who joins.
    pub participant_id: ParticipantId,
    /// Digest of the signed task as this participant saw it, so that all agree on the terms.
    pub task_digest: Digest,
    /// What it brings to a masked round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<MaskingOffer>,
}

impl Document for Join {
    const DOMAIN: &'static str = "join";
}

/// The signed head of an update. The encoded parameters follow it on the wire in chunks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateHeader {
    /// Which round.
    pub round_id: RoundId,
    /// Whose update.
    pub participant_id: ParticipantId,
    /// Digest of the signed task.
    pub task_digest: Digest,
    /// Digest of the checkpoint that training started from: an update for another model is refused as stale.
    pub checkpoint: Digest,
    /// How the parameters are encoded; one of those that the task offers.
    pub encoding: Encoding,
    /// How many encoded bytes follow.
    pub byte_count: u64,
    /// BLAKE3 of the BLAKE3 digests of the encoded bytes' chunks of [`CHUNK_BYTES`], one after the other.
    pub payload: Digest,
    /// How many optimiser steps led to it, at most what the task's recipe says.
    pub local_steps: u32,
    /// What comes with a masked update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<MaskedPart>,
}

impl Document for UpdateHeader {
    const DOMAIN: &'static str = "update";
}

/// A participant's noised hold-out counts for a round's candidate.
///
/// The counts carry discrete Gaussian noise (zCDP, the task's `evaluation_rho`), so they may be negative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Which round.
    pub round_id: RoundId,
    /// Who evaluated.
    pub participant_id: ParticipantId,
    /// Digest of the candidate's parameters.
    pub candidate: Digest,
    /// Attacks that scored above the operating threshold.
    pub true_positives: i64,
    /// Attacks that scored below it.
    pub false_negatives: i64,
    /// Ordinary events that scored above it.
    pub false_positives: i64,
    /// Ordinary events that scored below it.
    pub true_negatives: i64,
}

impl Document for Evaluation {
    const DOMAIN: &'static str = "evaluation";
}

/// The coordinator's signed word that an update is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateReceipt {
    /// Which round.
    pub round_id: RoundId,
    /// Whose update.
    pub participant_id: ParticipantId,
    /// Digest of the accepted payload.
    pub payload: Digest,
    /// When it became durable.
    pub accepted_at: Timestamp,
}

impl Document for UpdateReceipt {
    const DOMAIN: &'static str = "update-receipt";
}
