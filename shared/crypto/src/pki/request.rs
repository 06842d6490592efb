//! A participant's request for a certificate. The private key is made here and stays at the site.

use rcgen::{CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, KeyPair};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo};
use shared::ParticipantId;

use super::authority::made;
use crate::{CryptoError, SecretText};

/// The longest request that is read, in bytes.
const MAX_REQUEST: usize = 16 * 1024;
/// An uncompressed P-256 point (SEC 1, section 2.3.3).
const POINT_LEN: usize = 65;

/// A certificate request and the private key it proves possession of.
#[derive(Debug)]
pub struct CertificateRequest {
    /// The private key (PKCS #8, PEM), to be stored with [`crate::key_file`].
    pub key_pem: SecretText,
    /// The request (PKCS #10, PEM), to be sent to the coordinator.
    pub csr_pem: String,
}

impl CertificateRequest {
    /// Makes a key and a request for `participant_id`.
    pub fn new(participant_id: &ParticipantId) -> Result<Self, CryptoError> {
        let key = made(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, participant_id.as_str());
        let csr_pem = made(params.serialize_request(&key).and_then(|request| request.pem()))?;
        Ok(Self { key_pem: SecretText::new(key.serialize_pem()), csr_pem })
    }
}

/// The public key of a request whose sender holds the private one. What else the request asks for is not looked at.
pub(super) fn requested_key(csr_pem: &str) -> Result<SubjectPublicKeyInfo, CryptoError> {
    let refused = |reason: String| CryptoError::CertificateRequest(reason);
    if csr_pem.len() > MAX_REQUEST {
        return Err(refused(format!("{} bytes, more than {MAX_REQUEST}", csr_pem.len())));
    }
    let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(|error| refused(error.to_string()))?;
    let key = &request.public_key;
    if *key.algorithm() != PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != POINT_LEN {
        return Err(refused("the key is not ECDSA P-256".to_owned()));
    }
    SubjectPublicKeyInfo::from_der(&key.subject_public_key_info()).map_err(|error| refused(error.to_string()))
}
