//! Who may take part: one-time tokens, enrolment, approval, quarantine, and revocation that holds from that moment on.
//!
//! A token lets its holder ask in the name of one participant id; whether that suffices is the configuration's choice.
//! Nothing here checks a certificate's chain: TLS has done that.

mod certify;
mod participant;
mod registry;
mod standing;
#[cfg(test)]
mod tests;
mod token;

pub use participant::Participant;
pub use registry::Registry;
pub use standing::{Change, IllegalChange, Standing, State};
pub use token::{IssuedToken, OutstandingToken};

use std::time::Duration;

use shared::{Digest, Explain, ParticipantId, Timestamp};

use crate::error::Class;

/// Why a caller is not let in, or a participant does not change.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The caller showed no certificate.
    #[error("this call needs a client certificate")]
    NoCertificate,
    /// Nobody enrolled under this name.
    #[error("`{0}` is not enrolled")]
    Unknown(ParticipantId),
    /// The operator has not approved the participant.
    #[error("`{0}` waits for the operator's approval")]
    Pending(ParticipantId),
    /// The participant may watch, and nothing else.
    #[error("`{0}` is quarantined")]
    Quarantined(ParticipantId),
    /// The operator shut the participant out.
    #[error("`{0}` is revoked")]
    Revoked(ParticipantId),
    /// The participant has got newer certificates since.
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
    /// There is no such token, or it was used.
    #[error("no unused enrolment token has the id `{0}`")]
    UnknownToken(Digest),
    /// A renewal names another participant than its certificate.
    #[error("the renewal is in the name of `{0}`, and the certificate is not")]
    OtherName(ParticipantId),
    /// A renewal asks for a certificate over a key that has one.
    #[error("the renewal of `{0}` is over a key that has a certificate already")]
    OldKey(ParticipantId),
    /// The last certificate is too new.
    #[error("`{participant_id}` got a certificate less than {} s ago", .pause.as_secs_f64())]
    TooSoon {
        /// Whose.
        participant_id: ParticipantId,
        /// The least time between two certificates.
        pause: Duration,
    },
    /// The participant's state does not allow the change.
    #[error("`{participant_id}` is {}: the change `{}` is not for it", .state.as_str(), .change.as_str())]
    Change {
        /// Whose.
        participant_id: ParticipantId,
        /// Its state.
        state: State,
        /// What was asked.
        change: Change,
    },
}

impl Explain for EnrolError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoCertificate => "certificate-missing",
            Self::Unknown(_) => "participant-unknown",
            Self::Pending(_) => "participant-pending",
            Self::Quarantined(_) => "participant-quarantined",
            Self::Revoked(_) => "participant-revoked",
            Self::Superseded(_) => "certificate-superseded",
            Self::Expired { .. } => "certificate-expired",
            Self::BadToken(_) => "token-not-good",
            Self::UnknownToken(_) => "token-unknown",
            Self::OtherName(_) => "renewal-other-name",
            Self::OldKey(_) => "renewal-old-key",
            Self::TooSoon { .. } => "certificate-too-soon",
            Self::Change { .. } => "participant-state",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NoCertificate => "enrol first, then connect with the certificate",
            Self::Unknown(_) => "a site asks the operator for a token and enrols; an operator lists the participants",
            Self::Expired { .. } => "ask the operator for a token and enrol",
            Self::Pending(_) => "ask again with the same token once the operator has approved it",
            Self::Quarantined(_) => "ask the operator why; it can be reinstated",
            Self::Revoked(_) => "ask the operator why; the site can only enrol under another id",
            Self::Superseded(_) => "use the newest certificate; if you have none, somebody else enrolled in your name",
            Self::BadToken(_) => "ask the operator for a new token for this participant id",
            Self::UnknownToken(_) => "list the tokens; revoke the participant if the token was used",
            Self::OtherName(_) => "renew with the certificate and the identity key of one participant",
            Self::OldKey(_) => "make a new key for each certificate",
            Self::TooSoon { .. } => "use the newest certificate, and renew it when two thirds of its life are over",
            Self::Change { .. } => "ask for the participant's state: pending is approved, quarantined is reinstated",
        }
    }
}

impl EnrolError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::NoCertificate => Class::Unauthenticated,
            Self::OldKey(_) => Class::Invalid,
            Self::Unknown(_) | Self::UnknownToken(_) => Class::Missing,
            Self::TooSoon { .. } => Class::Busy,
            Self::Change { .. } => Class::Conflict,
            _ => Class::Denied,
        }
    }
}
