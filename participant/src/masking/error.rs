//! Why a site does not go on with a masked round. Each of these is a reason to look at the coordinator, or at a site.

use shared::{Explain, ParticipantId};

/// Why a site does not go on with a masked round. It has sent nothing that it would not send again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskingError {
    /// The task's updates are not masked.
    #[error("the task's updates are not masked")]
    NotMasked,
    /// The roster has no keys of a participant.
    #[error("the task's roster has no keys of `{0}`")]
    NotInRoster(ParticipantId),
    /// The roster has other keys of this site than it has itself.
    #[error("the task's roster has other keys of this site than its own")]
    OtherOwnKeys,
    /// A participant that this site knows has other keys in the roster than before.
    #[error("the task's roster has other keys of `{0}` than it had in the tasks before")]
    KeysChanged(ParticipantId),
    /// Something is not what it has to be.
    #[error("the {what} is `{found}`, not `{expected}`")]
    Differs {
        /// What.
        what: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The plan has no place for this site, or not the join that it sent.
    #[error("the plan does not have this site's join")]
    NotPlanned,
    /// Documents are missing, or there are too many.
    #[error("{found} {what} where there should be {expected}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Fewer than more than two thirds of the cohort take part.
    #[error("{found} {what}, fewer than the {needed} that protect this site")]
    TooFew {
        /// Of what.
        what: &'static str,
        /// How many are needed.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// A participant stands among those who delivered and among those who dropped, or among neither.
    #[error("`{0}` did not just deliver or just drop")]
    NotDisjoint(ParticipantId),
    /// This site delivered, and is said not to have.
    #[error("this site's update is not among those that were delivered")]
    NotDelivered,
    /// This site is asked to open its update, and the lots did not fall on it.
    #[error("this site is asked to open its update, and was not drawn")]
    NotDrawn,
    /// This site is asked to show its update in a way that the task does not name.
    #[error("this site is asked to show its update, and the task does not say so")]
    NotAsked,
    /// This site has signed another document of this kind in this round.
    #[error("this site has already given another {0} in this round")]
    Twice(&'static str),
    /// The published sum is not the one that the survivors committed to.
    #[error("the published sum is not the one that the survivors committed to")]
    OtherSum,
    /// No candidate follows from the sum.
    #[error("no candidate follows from the sum: {0}")]
    NoCandidate(String),
    /// What this site needs of the round is gone.
    #[error("this site's secrets of the round are gone")]
    SecretsGone,
}

impl Explain for MaskingError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotMasked => "masking-not-masked",
            Self::NotInRoster(_) => "masking-not-in-roster",
            Self::OtherOwnKeys => "masking-other-own-keys",
            Self::KeysChanged(_) => "masking-keys-changed",
            Self::Differs { .. } => "masking-differs",
            Self::NotPlanned => "masking-not-planned",
            Self::Count { .. } => "masking-count",
            Self::TooFew { .. } => "masking-too-few",
            Self::NotDisjoint(_) => "masking-not-disjoint",
            Self::NotDelivered => "masking-not-delivered",
            Self::NotDrawn => "masking-not-drawn",
            Self::NotAsked => "masking-not-asked",
            Self::Twice(_) => "masking-twice",
            Self::OtherSum => "masking-other-sum",
            Self::NoCandidate(_) => "masking-no-candidate",
            Self::SecretsGone => "masking-secrets-gone",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NotMasked | Self::SecretsGone => "wait for the next round",
            Self::NotInRoster(_) | Self::OtherOwnKeys => "enrol again, and have the operator make the task anew",
            Self::KeysChanged(_) => {
                "ask that site over another channel whether it has new keys, then run `ringfence-participant peers forget` for it"
            }
            Self::TooFew { .. } => "wait for a round in which more sites take part",
            Self::Differs { .. }
            | Self::NotPlanned
            | Self::Count { .. }
            | Self::NotDisjoint(_)
            | Self::NotDelivered
            | Self::NotDrawn
            | Self::NotAsked
            | Self::Twice(_)
            | Self::OtherSum
            | Self::NoCandidate(_) => "the coordinator broke the protocol: keep the audit log and ask its operator why",
        }
    }
}
