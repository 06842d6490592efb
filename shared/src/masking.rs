//! Secure aggregation as both ends write it down: the terms of a task and the signed documents of a round.
//!
//! The protocol is pipelined secure aggregation with one server that nobody trusts, after Bonawitz et al. 2017
//! ("Practical Secure Aggregation for Privacy-Preserving Machine Learning", the variant for an active adversary): each
//! site masks its update with a secret of its own and with one for each neighbour, shares both kinds of secrets among its
//! neighbours, and the survivors of a round reveal of each site one kind or the other, never both. The arithmetic on
//! keys, shares and masks is `shared-crypto`'s.

mod assurance;
mod document;
pub mod label;
mod layout;
mod terms;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use assurance::{Assurance, Challenge, Draw, MAX_PROVEN, NormClaim, OpenedUpdate};
pub use document::{Agreement, Cosignature, MaskedSum, MaskingPlan, Reveal, Survivors};
pub use layout::Layout;
pub use terms::{RosterKeys, SecureAggregation, honest_survivors, threshold};

use crate::Digest;

/// How many words carry the blinding of each commitment behind the words of the update: 16 bits of it in each.
pub const BLINDING_WORDS: usize = 16;
/// The most neighbours that a site shares masks and secrets with.
pub const MAX_NEIGHBOURS: usize = 128;
/// How many bytes a sealed share takes: the dealing's own key, the share, and a tag.
pub const SEALED_SHARE_BYTES: usize = 80;
/// The fewest sites that can hide behind each other.
pub const MIN_COHORT: usize = 3;

/// A group element or a scalar of Ristretto255 in its canonical encoding (RFC 9496), 64 hexadecimal digits. Whether it is
/// one is checked where it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Element(pub Digest);

impl Element {
    /// The encoding's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl From<[u8; 32]> for Element {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Digest(bytes))
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a site brings to a masked round when it joins: its key for this round, and shares of its secret for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskingOffer {
    /// The public part of the site's key for this round.
    pub round_key: Element,
    /// SHA-256 of the dealing of that key's secret part: sealed shares and the polynomial's commitments.
    pub dealing: Digest,
}

/// What stands in the header of a masked update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskedPart {
    /// Digest of the signed [`MaskingPlan`] that the masks were made for.
    pub plan: Digest,
    /// Blinded Pedersen commitments to the update before it was masked, one for each of its rows
    /// ([`SecureAggregation::layout`]).
    pub commitments: Vec<Element>,
    /// The public part of the secret that the site's own mask is made of.
    pub self_mask: Element,
    /// SHA-256 of the dealing of that secret.
    pub dealing: Digest,
}
