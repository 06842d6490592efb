//! Who stands at the other end of a TLS connection. TLS has already verified the certificate's chain, validity and key
//! possession; this reads the participant's name from it, and accepts one form only.

use shared::{ParticipantId, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::PARTICIPANT_URI;
use crate::CryptoError;

/// A participant's certificate, as TLS verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The participant it was issued to.
    pub participant_id: ParticipantId,
    /// Its serial number, hexadecimal: what a revocation names.
    pub serial: String,
    /// When it expires.
    pub not_after: Timestamp,
}

impl PeerCertificate {
    /// Reads the certificate's DER bytes. Refuses a certificate whose URI name and common name are not one participant's.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let refused = |reason: &str| CryptoError::Certificate(reason.to_owned());
        let (rest, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|_| refused("the peer's certificate is malformed"))?;
        if !rest.is_empty() {
            return Err(refused("bytes follow the peer's certificate"));
        }
        let participant_id =
            participant(&certificate).ok_or_else(|| refused("the peer's certificate is not a participant's"))?;
        let expiry = certificate.validity().not_after.timestamp();
        Ok(Self {
            participant_id,
            serial: hex::encode(certificate.raw_serial()),
            not_after: Timestamp::from_micros(expiry.saturating_mul(1_000_000)),
        })
    }
}

fn participant(certificate: &X509Certificate<'_>) -> Option<ParticipantId> {
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
    let id = ParticipantId::new(uri.strip_prefix(PARTICIPANT_URI)?).ok()?;
    let mut common_names = certificate.subject().iter_common_name();
    let common_name = common_names.next()?.as_str().ok()?;
    (common_name == id.as_str() && common_names.next().is_none()).then_some(id)
}
