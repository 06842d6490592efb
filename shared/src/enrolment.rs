//! How a participant asks to be enrolled: the one message that is signed by a key nobody knows yet.

use serde::{Deserialize, Serialize};

use crate::ParticipantId;
use crate::document::Document;
use crate::masking::Element;

/// A participant's request for a certificate, signed by the identity key that it carries, as proof of possession.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The operator's one-time token.
    pub token: String,
    /// The name that the participant asks for.
    pub participant_id: ParticipantId,
    /// PKCS #10 request for the TLS certificate, in PEM. Its key was made on site.
    pub csr_pem: String,
    /// The Ed25519 key that will sign joins, updates and evaluations: 64 hexadecimal digits.
    pub identity_key: String,
    /// The key that others will seal to what is meant for this participant alone.
    pub agreement_key: Element,
}

impl Document for Enrolment {
    const DOMAIN: &'static str = "enrolment";
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment").field("participant_id", &self.participant_id).finish_non_exhaustive()
    }
}

/// A participant's request for a fresh certificate, signed by its identity key and sent under the certificate that is
/// about to expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// Who asks.
    pub participant_id: ParticipantId,
    /// PKCS #10 request for the next TLS certificate, in PEM.
    pub csr_pem: String,
}

impl Document for Renewal {
    const DOMAIN: &'static str = "renewal";
}
