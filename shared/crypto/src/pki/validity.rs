//! For how long a certificate is good, and when its holder should ask for the next one. It reads no clock.

use std::time::Duration;

use shared::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::parse_x509_pem;

use crate::CryptoError;

/// The time within which a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From when on.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

impl Validity {
    /// The validity of a certificate in PEM.
    pub fn of_pem(certificate_pem: &str) -> Result<Self, CryptoError> {
        let malformed = || CryptoError::Certificate("the certificate is malformed".to_owned());
        let (_, pem) = parse_x509_pem(certificate_pem.as_bytes()).map_err(|_| malformed())?;
        Ok(Self::of(&pem.parse_x509().map_err(|_| malformed())?))
    }

    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        let at = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        Self { not_before: at(validity.not_before.timestamp()), not_after: at(validity.not_after.timestamp()) }
    }

    /// When to replace the certificate: after two thirds of its life, so that a third is left for what may fail.
    pub fn renew_at(&self) -> Timestamp {
        let life: Duration = self.not_after.since(self.not_before);
        self.not_before.plus(life.saturating_sub(life / 3))
    }
}
