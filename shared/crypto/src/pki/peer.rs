//! Who stands at the other end of a TLS connection. TLS has already verified the certificate's chain, validity and key
//! possession; this reads the participant's name from it, and accepts one form only.

use shared::{Digest, ParticipantId};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::{PARTICIPANT_URI, Validity};
use crate::{CryptoError, digest};

/// A participant's certificate, as TLS verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The participant it was issued to.
    pub participant_id: ParticipantId,
    /// Its serial number, hexadecimal: what a revocation names.
    pub serial: String,
    /// SHA-256 of the public key that it certifies.
    pub key: Digest,
    /// Within which time it is good.
    pub validity: Validity,
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
        Ok(Self {
            participant_id,
            serial: hex::encode(certificate.raw_serial()),
            key: digest(certificate.public_key().raw),
            validity: Validity::of(&certificate),
        })
    }

    /// Reads the certificate in PEM, as [`PeerCertificate::from_der`] does.
    pub fn from_pem(certificate_pem: &str) -> Result<Self, CryptoError> {
        let malformed = |_| CryptoError::Certificate("the peer's certificate is no PEM".to_owned());
        let (_, pem) = parse_x509_pem(certificate_pem.as_bytes()).map_err(malformed)?;
        Self::from_der(&pem.contents)
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
