//! The signed documents of a masked round, in the order in which they come.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Element;
use crate::document::Document;
use crate::{Digest, ParticipantId, ReleaseId, RoundId};

/// The coordinator's word on whose masks a round's updates carry. Its digest goes into every mask, so that sites that
/// were shown different plans, or different models, make a sum that is noise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskingPlan {
    /// Which round.
    pub round_id: RoundId,
    /// Digest of the signed task, which fixes roster, grid, clipping and noise.
    pub task_digest: Digest,
    /// Digest of the parameters that training starts from.
    pub checkpoint: Digest,
    /// Who joined: digest of each signed join.
    pub joined: BTreeMap<ParticipantId, Digest>,
    /// SHA-256 of the beacon: 32 random bytes that the coordinator shows once updates are fixed, where the task asks for more
    /// of them than their sum. What is asked of whom follows from both, so that neither side can choose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beacon: Option<Digest>,
}

impl Document for MaskingPlan {
    const DOMAIN: &'static str = "masking-plan";
}

/// The coordinator's word on who delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survivors {
    /// Which round.
    pub round_id: RoundId,
    /// Digest of the signed [`MaskingPlan`].
    pub plan: Digest,
    /// Whose update counts: digest of each signed header.
    pub delivered: BTreeMap<ParticipantId, Digest>,
    /// Who joined and did not deliver.
    pub dropped: BTreeSet<ParticipantId>,
}

impl Document for Survivors {
    const DOMAIN: &'static str = "survivors";
}

/// A survivor's word that it was shown this set, given once a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Which round.
    pub round_id: RoundId,
    /// Who agrees.
    pub participant_id: ParticipantId,
    /// Digest of the signed [`Survivors`].
    pub survivors: Digest,
}

impl Document for Agreement {
    const DOMAIN: &'static str = "agreement";
}

/// What a survivor holds of the others' secrets: of each survivor a share of its own mask, of each who dropped a share
/// of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    /// Which round.
    pub round_id: RoundId,
    /// Whose shares these are.
    pub participant_id: ParticipantId,
    /// Digest of the signed [`Survivors`] that was agreed on.
    pub survivors: Digest,
    /// The share of each dealer's secret.
    pub shares: BTreeMap<ParticipantId, Element>,
    /// Dealers of whom it was handed nothing that opens. It proves nothing: once a dealer's secret is known, anybody can see
    /// who is right. To show what opens a share would be to show it of whatever the coordinator has handed in its place.
    pub unopened: BTreeSet<ParticipantId>,
}

impl Document for Reveal {
    const DOMAIN: &'static str = "reveal";
}

/// The coordinator's word on what a masked round's updates add up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskedSum {
    /// Which round.
    pub round_id: RoundId,
    /// Digest of the signed [`Survivors`].
    pub survivors: Digest,
    /// BLAKE3 of the sum's little-endian i32 words.
    pub sum: Digest,
    /// The sum of the blindings of each row's commitments.
    pub blindings: Vec<Element>,
}

impl Document for MaskedSum {
    const DOMAIN: &'static str = "masked-sum";
}

/// A site's word that a release follows from rounds that it has checked itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosignature {
    /// Which release.
    pub release_id: ReleaseId,
    /// Digest of the signed release.
    pub release: Digest,
    /// Who signs.
    pub participant_id: ParticipantId,
}

impl Document for Cosignature {
    const DOMAIN: &'static str = "cosignature";
}
