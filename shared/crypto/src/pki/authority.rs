//! The federation's certificate authority, kept by the coordinator in one secret file.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer};
use rcgen::{KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd};
use shared::{ParticipantId, Timestamp};
use x509_parser::pem::parse_x509_pem;

use super::request::requested_key;
use super::{PARTICIPANT_URI, Validity};
use crate::{CryptoError, SecretText, key_file, random_bytes};

/// The authority's file within the folder it is given.
const FILE: &str = "authority.pem";
/// How long an authority made by [`CertificateAuthority::load_or_create`] is valid.
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Certificates are valid from this long before they are issued, for peers whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// A TLS endpoint's certificate and private key.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key (PKCS #8), PEM.
    pub key_pem: SecretText,
}

/// Issues the certificates of one federation.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl CertificateAuthority {
    /// A new authority called `name`, with a new key, that is kept nowhere.
    pub fn create(name: &str, now: Timestamp, validity: Duration) -> Result<Self, CryptoError> {
        let key = made(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256))?;
        let mut params = blank(name, now, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = made(params.self_signed(&key))?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// The authority kept in `folder`; makes one called `name`, valid for ten years, on first use.
    pub fn load_or_create(folder: &Path, name: &str, now: Timestamp) -> Result<Self, CryptoError> {
        let path = folder.join(FILE);
        if let Some(text) = key_file::read_text(&path)? {
            return Self::from_pem(&text);
        }
        let authority = Self::create(name, now, AUTHORITY_VALIDITY)?;
        if key_file::create(&path, authority.to_pem().expose().as_bytes())? {
            return Ok(authority);
        }
        let reason = "a link to nowhere".to_owned();
        Self::from_pem(&key_file::read_text(&path)?.ok_or(CryptoError::KeyFileContent { path, reason })?)
    }

    /// The authority's certificate: what the federation's members trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Within which time the authority's certificate is good.
    pub fn validity(&self) -> Result<Validity, CryptoError> {
        Validity::of_pem(&self.certificate_pem)
    }

    /// A server's certificate, with a new key, for these DNS names and IP addresses.
    pub fn issue_server(
        &self,
        names: &[String],
        now: Timestamp,
        validity: Duration,
    ) -> Result<TlsIdentity, CryptoError> {
        let Some(first) = names.first() else {
            return Err(CryptoError::Certificate("a server needs at least one name".to_owned()));
        };
        let key = made(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256))?;
        let mut params = leaf(first, ExtendedKeyUsagePurpose::ServerAuth, now, validity)?;
        params.subject_alt_names = made(CertificateParams::new(names))?.subject_alt_names;
        let certificate_pem = made(params.signed_by(&key, &self.issuer))?.pem();
        Ok(TlsIdentity { certificate_pem, key_pem: SecretText::new(key.serialize_pem()) })
    }

    /// A participant's certificate (PEM) over the key of its request.
    ///
    /// The request's signature proves that its sender holds the key; every name that the request asks for is ignored, and
    /// only `participant_id`, which the coordinator approved, goes into the certificate.
    pub fn sign_request(
        &self,
        csr_pem: &str,
        participant_id: &ParticipantId,
        now: Timestamp,
        validity: Duration,
    ) -> Result<String, CryptoError> {
        let key = requested_key(csr_pem)?;
        let mut params = leaf(participant_id.as_str(), ExtendedKeyUsagePurpose::ClientAuth, now, validity)?;
        let uri = made(format!("{PARTICIPANT_URI}{participant_id}").try_into())?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        Ok(made(params.signed_by(&key, &self.issuer))?.pem())
    }

    fn to_pem(&self) -> SecretText {
        SecretText::new(format!("{}{}", self.issuer.key().serialize_pem(), self.certificate_pem))
    }

    fn from_pem(text: &SecretText) -> Result<Self, CryptoError> {
        let start = text.expose().find(BEGIN_CERTIFICATE).unwrap_or(0);
        let (key_pem, certificate_pem) = text.expose().split_at(start);
        let key = made(KeyPair::from_pem(key_pem))?;
        if !belongs(&key, certificate_pem) {
            return Err(CryptoError::Certificate(
                "the authority's key and certificate do not fit each other".to_owned(),
            ));
        }
        let issuer = made(Issuer::from_ca_cert_pem(certificate_pem, key))?;
        Ok(Self { issuer, certificate_pem: certificate_pem.to_owned() })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateAuthority(redacted)")
    }
}

fn belongs(key: &KeyPair, certificate_pem: &str) -> bool {
    let Ok((_, pem)) = parse_x509_pem(certificate_pem.as_bytes()) else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    certificate.is_ca() && certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
}

/// What certificates of both kinds of endpoint have in common.
fn leaf(
    name: &str,
    usage: ExtendedKeyUsagePurpose,
    now: Timestamp,
    validity: Duration,
) -> Result<CertificateParams, CryptoError> {
    let mut params = blank(name, now, validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A certificate of nothing but a common name, a validity, and a random serial number (RFC 5280, section 4.1.2.2).
fn blank(name: &str, now: Timestamp, validity: Duration) -> Result<CertificateParams, CryptoError> {
    let mut serial = *random_bytes::<16>()?;
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = epoch + now.since(Timestamp::EPOCH).saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now.plus(validity).since(Timestamp::EPOCH);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

pub(super) fn made<T>(result: Result<T, rcgen::Error>) -> Result<T, CryptoError> {
    result.map_err(|error| CryptoError::Certificate(error.to_string()))
}
