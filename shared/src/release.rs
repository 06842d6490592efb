//! A release: the signed, promoted result of a task, and the round records it rests on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregation;
use crate::document::Document;
use crate::feature::FeatureViewRef;
use crate::privacy::Guarantee;
use crate::round::{AcceptedUpdate, Tally};
use crate::task::ModelSpec;
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
    pub aggregation: Aggregation,
    /// Digest of what the server kept from the round before.
    pub server_state_before: Option<Digest>,
    /// Each accepted update, in the order in which the rule takes them.
    pub accepted: BTreeMap<ParticipantId, AcceptedUpdate>,
    /// Root of the Merkle tree (RFC 6962) over the accepted updates, so that one can be shown without the others.
    pub updates_root: Digest,
    /// Digest of the parameters the round ended with.
    pub candidate: Digest,
    /// Digest of what the server keeps for the next round.
    pub server_state: Option<Digest>,
    /// The cohort's noised hold-out counts for the candidate, summed.
    pub tally: Tally,
    /// When the round was committed.
    pub committed_at: Timestamp,
    /// Digest of the signed [`crate::masking::MaskedSum`] that the candidate follows from; `None` where updates are not
    /// masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_sum: Option<Digest>,
    /// Where the round was computed again without some updates: what this record stands in for.
    pub recomputed: Option<Recomputation>,
}

/// How a record came to stand beside the one that its round was committed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recomputation {
    /// Digest of the record that the round was committed with.
    pub replaces: Digest,
    /// Whose updates were left out, in this round and in those before it that were computed again.
    pub left_out: BTreeSet<ParticipantId>,
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
    /// BLAKE3 of the parameters' little-endian f32 bytes.
    pub params: Digest,
    /// What training cost each participant at most.
    pub privacy: Option<Guarantee>,
    /// The cohort's noised hold-out counts, summed.
    pub tally: Tally,
    /// When it was published.
    pub released_at: Timestamp,
    /// The release that this one was recomputed from, without somebody's updates; the record says whose.
    pub replaces: Option<ReleaseId>,
}

impl Document for Release {
    const DOMAIN: &'static str = "release";
}

/// The operator's signed word on which release is the latest. Numbers only grow: who has seen one takes no lower one,
/// so that an older word cannot be shown again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// Counted from 1 at each coordinator.
    pub number: u64,
    /// The latest release from now on.
    pub release_id: ReleaseId,
    /// Digest of that signed release.
    pub release: Digest,
    /// The release that was rolled back to come here; `None` where the operator moved forward.
    pub rolled_back: Option<ReleaseId>,
    /// When the operator said so.
    pub promoted_at: Timestamp,
}

impl Document for Promotion {
    const DOMAIN: &'static str = "promotion";
}
