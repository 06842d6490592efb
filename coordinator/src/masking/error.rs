//! Why a masked round has no sum, or a sum does not give what is asked of it. Nobody learns a single update.

use shared::{Explain, ParticipantId, ReleaseId};

/// Why a masked round has no sum, or its sum does not give what is asked of it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
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
    /// A site opened its update with secrets that are not those it joined and delivered with.
    #[error("`{0}` shows other secrets than those that it joined and delivered with")]
    OtherSecrets(ParticipantId),
    /// A site sent another update than it committed to.
    #[error("the update of `{0}` is not the one that it committed to")]
    OtherUpdate(ParticipantId),
    /// A site sent an update that is longer than the task allows.
    #[error("the update of `{participant_id}` is {found:.0} steps of the grid long, where {allowed:.0} are allowed")]
    TooLong {
        /// Whose.
        participant_id: ParticipantId,
        /// Its L2 norm.
        found: f64,
        /// What the task allows.
        allowed: f64,
    },
    /// A site signed a proof of its update that does not hold.
    #[error("what `{0}` proves of its update does not hold")]
    Unproven(ParticipantId),
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
            Self::OtherSecrets(_) => "masking-other-secrets",
            Self::OtherUpdate(_) => "masking-other-update",
            Self::TooLong { .. } => "masking-too-long",
            Self::Unproven(_) => "masking-unproven",
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
            Self::OtherSecrets(_) | Self::OtherUpdate(_) | Self::TooLong { .. } | Self::Unproven(_) => {
                "the site is quarantined and the round goes on without it; what shows it is kept: `round proofs`"
            }
            Self::Inseparable(_) => "quarantine the site, roll back, and train again from the release before",
            Self::NotMasked | Self::Interrupted => "the round is tried anew with fresh masks",
        }
    }
}
