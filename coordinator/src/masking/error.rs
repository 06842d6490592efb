//! Why a masked round has no sum, or a sum does not give what is asked of it. Nobody learns a single update.

use shared::{Explain, ParticipantId, ReleaseId};

/// Why a masked round has no sum, or its sum does not give what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskingError {
    /// Something of the round is not masked.
    #[error("the round is masked, and part of it is not")]
    NotMasked,
    /// Too few right shares of a secret were revealed.
    #[error("{found} right shares of the secret of `{dealer}` where {needed} are needed")]
    Shares {
        /// Whose secret.
        dealer: ParticipantId,
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A word of the sum is larger than all updates together can make it.
    #[error("word {index} of the sum is larger than the updates can make it")]
    OutOfRange {
        /// Which word.
        index: usize,
    },
    /// The sum is not the one that was committed to.
    #[error("the sum is not the one that the survivors committed to")]
    Commitments,
    /// A single update is to be left out of a sum of masked ones.
    #[error("the updates behind release `{0}` are masked: none of them can be left out of their sum")]
    Inseparable(ReleaseId),
    /// A thread that unmasked ended before its time.
    #[error("unmasking was interrupted")]
    Interrupted,
}

impl Explain for MaskingError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotMasked => "masking-incomplete",
            Self::Shares { .. } => "masking-too-few-shares",
            Self::OutOfRange { .. } => "masking-out-of-range",
            Self::Commitments => "masking-commitments",
            Self::Inseparable(_) => "masking-inseparable",
            Self::Interrupted => "masking-interrupted",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Shares { .. } => "look in the audit log for misconduct; the round is tried anew with fresh masks",
            Self::OutOfRange { .. } | Self::Commitments => {
                "a site sent another update than it committed to; have sites open their commitments to find it"
            }
            Self::Inseparable(_) => "quarantine the site, roll back, and train again from the release before",
            Self::NotMasked | Self::Interrupted => "the round is tried anew with fresh masks",
        }
    }
}
