//! A release: the signed, promoted result of a task, and the round records it rests on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::feature::FeatureViewRef;
use crate::privacy::Guarantee;
use crate::round::Tally;
use crate::task::{AggregationRule, ModelSpec};
use crate::{Digest, ParticipantId, ReleaseId, RoundId, Timestamp};

/// What decided a round, signed by the coordinator; any participant can check offline that its update is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundRecord {
    /// Which round.
    pub round_id: RoundId,
    /// Digest of the signed task.
    pub task_digest: Digest,
    /// Digest of the parameters the round started from.
    pub checkpoint: Digest,
    /// The rule that was applied.
    pub aggregation: AggregationRule,
    /// Each accepted update: participant and payload digest.
    pub accepted: BTreeMap<ParticipantId, Digest>,
    /// Digest of the parameters the round ended with.
    pub candidate: Digest,
    /// The cohort's noised hold-out counts for the candidate, summed.
    pub tally: Tally,
    /// When the round was committed.
    pub committed_at: Timestamp,
}

impl Document for RoundRecord {
    const DOMAIN: &'static str = "round-record";
}

/// A model that sites may serve. The parameters travel beside it as bytes with this digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The release's id.
    pub release_id: ReleaseId,
    /// The round whose candidate this is.
    pub round_id: RoundId,
    /// Digest of the signed task.
    pub task_digest: Digest,
    /// Digest of the round's signed record.
    pub round_record: Digest,
    /// The model's shape.
    pub model: ModelSpec,
    /// What it must be fed with.
    pub feature_view: FeatureViewRef,
    /// SHA-256 of the parameters' little-endian f32 bytes.
    pub params: Digest,
    /// What training cost each participant at most.
    pub privacy: Option<Guarantee>,
    /// The cohort's noised hold-out counts, summed.
    pub tally: Tally,
    /// When it was published.
    pub released_at: Timestamp,
}

impl Document for Release {
    const DOMAIN: &'static str = "release";
}
