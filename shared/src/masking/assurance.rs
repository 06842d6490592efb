//! What a task asks of updates that nobody sees, so that one site cannot spoil the sum. Terms only; drawing, opening and
//! proving are done elsewhere.

use serde::{Deserialize, Serialize};

use super::Element;
use crate::document::Document;
use crate::{Digest, ParticipantId, RoundId};

/// How many bits an entry may have, its sign included, where sites prove what their updates are.
const PROVEN_BITS: u32 = 16;
/// The longest update that is proven anything of: a proof is a message.
pub const MAX_PROVEN: usize = 1 << 20;

/// What a task asks of hidden updates, beyond a place in the ring that no entry can leave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Assurance {
    /// Nothing. A site that lies about its update can move the sum as far as the ring allows, unseen; hold-outs show that
    /// the model got worse, not through whom.
    #[default]
    None,
    /// Some of those who delivered open theirs to the coordinator, which sees whether each is what its site committed to and
    /// no longer than the task allows. Each is drawn by a lot of its own, which follows from its signed header and from what
    /// the coordinator committed to before: neither can choose it. It does not stop who is not drawn, nor an update that is
    /// harmful within the norm. Costs no ε, because updates are private by themselves.
    Openings {
        /// How many open if the whole cohort delivers, on average: at most a third of it, so that the others still hide behind
        /// each other.
        sites: u32,
    },
    /// Every site shows how long its hidden update about is, by the squares of random projections that are fixed once the
    /// updates are, and proves it; who is more than 2.5 times as long as the task allows has no weight in the sum. With a root,
    /// whose own update is opened, each also shows and proves its inner product with that: who does not point its way has no
    /// weight either. It does not stop what is harmful within the norm and on the root's side. These two numbers cost no ε:
    /// updates are private by themselves.
    NormProofs {
        /// By whose update the others are measured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<ParticipantId>,
    },
}

impl Assurance {
    /// By whose update the others are measured.
    pub fn root(&self) -> Option<&ParticipantId> {
        match self {
            Self::NormProofs { root } => root.as_ref(),
            Self::None | Self::Openings { .. } => None,
        }
    }

    /// Whether anybody has to show anything of its update once it is delivered.
    pub fn asks(&self) -> bool {
        *self != Self::None
    }

    /// Refuses terms that would leave nobody hidden, or have no room.
    pub(crate) fn validate(&self, cohort: usize, value_bits: u32) -> Result<(), String> {
        match self {
            Self::Openings { sites } => {
                let most = cohort / 3;
                let fits = usize::try_from(*sites).is_ok_and(|sites| (1..=most).contains(&sites));
                if fits {
                    Ok(())
                } else {
                    Err(format!("{sites} sites to open are not 1 to {most}, a third of the cohort"))
                }
            }
            Self::NormProofs { .. } if value_bits > PROVEN_BITS => {
                Err(format!("value_bits must be at most {PROVEN_BITS} where sites prove what their updates are"))
            }
            Self::None | Self::NormProofs { .. } => Ok(()),
        }
    }
}

/// The coordinator's word that lets those who are drawn open their updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draw {
    /// Which round.
    pub round_id: RoundId,
    /// Digest of the signed [`super::MaskingPlan`].
    pub plan: Digest,
    /// What the plan has the digest of: each lot follows from it and a signed header.
    pub beacon: Digest,
}

impl Document for Draw {
    const DOMAIN: &'static str = "draw";
}

/// A drawn site's own secrets of the round: all that the masks on its update are made of, and nobody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenedUpdate {
    /// Which round.
    pub round_id: RoundId,
    /// Whose.
    pub participant_id: ParticipantId,
    /// Digest of the signed [`Draw`].
    pub draw: Digest,
    /// The secret of the key that it joined with.
    pub round_key: Element,
    /// The secret of its own mask.
    pub self_mask: Element,
}

impl Document for OpenedUpdate {
    const DOMAIN: &'static str = "opened-update";
}

/// The coordinator's question to all who delivered: the projections follow from its digest, which nobody knows before the
/// beacon is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// Which round.
    pub round_id: RoundId,
    /// Digest of the signed [`super::MaskingPlan`].
    pub plan: Digest,
    /// What the plan has the digest of.
    pub beacon: Digest,
    /// BLAKE3 of the root's direction, little-endian i32 words, one for each of the update's.
    pub direction: Option<Digest>,
}

impl Document for Challenge {
    const DOMAIN: &'static str = "challenge";
}

/// A site's word on what its hidden update is, which it proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormClaim {
    /// Which round.
    pub round_id: RoundId,
    /// Whose.
    pub participant_id: ParticipantId,
    /// Digest of the signed [`Challenge`].
    pub challenge: Digest,
    /// The sum of the squares of the update's projections, in squares of the grid's step.
    pub squares: u64,
    /// The inner product with the direction, where there is one.
    pub inner: Option<i64>,
    /// SHA-256 of the proof, as `shared-crypto` lays it out.
    pub proof: Digest,
}

impl Document for NormClaim {
    const DOMAIN: &'static str = "norm-claim";
}
