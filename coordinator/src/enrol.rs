//! Who may take part: one-time tokens, enrolment, and revocation that holds from the next call on.
//!
//! A token is the operator's approval of one participant id. Only its digest is stored.

mod registry;
mod token;

pub use registry::{Participant, Registry};
pub use token::IssuedToken;

use shared::{Explain, ParticipantId, Timestamp};

use crate::error::Class;

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The caller showed no certificate.
    #[error("this call needs a client certificate")]
    NoCertificate,
    /// Nobody enrolled under the certificate's name.
    #[error("`{0}` is not enrolled")]
    Unknown(ParticipantId),
    /// The operator shut the participant out.
    #[error("`{0}` is revoked")]
    Revoked(ParticipantId),
    /// The participant has got a newer certificate since.
    #[error("the certificate of `{0}` was replaced by a newer one")]
    Superseded(ParticipantId),
    /// The certificate's time is over.
    #[error("the certificate of `{participant_id}` ended at {not_after}")]
    Expired {
        /// Whose.
        participant_id: ParticipantId,
        /// When.
        not_after: Timestamp,
    },
    /// The token is unknown, expired, used by somebody else, or made for another id.
    #[error("the enrolment token is not good for `{0}`")]
    BadToken(ParticipantId),
    /// The certificate authority's answer cannot be read back.
    #[error("the new certificate cannot be read")]
    Unreadable,
}

impl Explain for EnrolError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoCertificate => "certificate-missing",
            Self::Unknown(_) => "participant-unknown",
            Self::Revoked(_) => "participant-revoked",
            Self::Superseded(_) => "certificate-superseded",
            Self::Expired { .. } => "certificate-expired",
            Self::BadToken(_) => "token-not-good",
            Self::Unreadable => "certificate-unreadable",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NoCertificate => "enrol first, then connect with the certificate",
            Self::Unknown(_) | Self::Expired { .. } => "ask the operator for a token and enrol",
            Self::Revoked(_) => "ask the operator why, and for a new token",
            Self::Superseded(_) => "use the newest certificate; if you have none, somebody else enrolled in your name",
            Self::BadToken(_) => "ask the operator for a new token for this participant id",
            Self::Unreadable => "report this; it is a fault of the coordinator",
        }
    }
}

impl EnrolError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::NoCertificate => Class::Unauthenticated,
            Self::Unreadable => Class::Internal,
            _ => Class::Denied,
        }
    }
}
