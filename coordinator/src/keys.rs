//! The coordinator's keys and certificates. A fresh folder gets its own; nothing here ever leaves the process.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use shared::Timestamp;
use shared_crypto::pki::{CertificateAuthority, TlsIdentity, Validity};
use shared_crypto::{SealKey, SigningKey};
use shared_wire::PemIdentity;
use shared_wire::server::ServerIdentity;

use crate::Error;

/// Everything secret that the coordinator holds, beside the admin tokens.
pub(crate) struct Keys {
    /// Signs tasks.
    pub(crate) operator: SigningKey,
    /// Signs receipts, round records, releases and audit records.
    pub(crate) coordinator: SigningKey,
    /// Signs the audit log's checkpoints.
    pub(crate) log: SigningKey,
    /// Seals the answers that are kept for whoever asks again.
    pub(crate) answers: Arc<SealKey>,
    /// Signs certificates.
    pub(crate) authority: CertificateAuthority,
    /// The gRPC server's own certificate.
    pub(crate) server: ServerCertificate,
}

impl Keys {
    /// Reads the keys in `folder`; makes those that are missing. The server's certificate is always new: it holds for
    /// `names`, and is good for `validity`.
    pub(crate) fn load_or_create(
        folder: &Path,
        names: &[String],
        validity: Duration,
        now: Timestamp,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::System { what: format!("cannot make `{}`", folder.display()), source })?;
        let authority = CertificateAuthority::load_or_create(folder, "ringfence federation", now)?;
        Ok(Self {
            operator: SigningKey::load_or_create(&folder.join("operator.key"))?,
            coordinator: SigningKey::load_or_create(&folder.join("coordinator.key"))?,
            log: SigningKey::load_or_create(&folder.join("log.key"))?,
            answers: Arc::new(SealKey::load_or_create(&folder.join("answers.key"))?),
            server: ServerCertificate::issue(&authority, names.to_vec(), validity, now)?,
            authority,
        })
    }
}

/// The gRPC server's certificate. It is replaced while the server runs; connections that are open keep the old one.
pub(crate) struct ServerCertificate {
    names: Vec<String>,
    lifetime: Duration,
    identity: ServerIdentity,
    validity: RwLock<Validity>,
}

impl ServerCertificate {
    fn issue(
        authority: &CertificateAuthority,
        names: Vec<String>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let made = authority.issue_server(&names, now, lifetime)?;
        let validity = RwLock::new(Validity::of_pem(&made.certificate_pem)?);
        Ok(Self { names, lifetime, identity: ServerIdentity::new(pem(&made))?, validity })
    }

    /// What the server shows; every clone follows the replacements.
    pub(crate) fn identity(&self) -> ServerIdentity {
        self.identity.clone()
    }

    /// Within which time the present certificate is good.
    pub(crate) fn validity(&self) -> Validity {
        *self.validity.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the certificate when two thirds of its life are over; whether it did.
    pub(crate) fn renew(&self, authority: &CertificateAuthority, now: Timestamp) -> Result<bool, Error> {
        if now < self.validity().renew_at() {
            return Ok(false);
        }
        let made = authority.issue_server(&self.names, now, self.lifetime)?;
        let validity = Validity::of_pem(&made.certificate_pem)?;
        self.identity.replace(pem(&made))?;
        *self.validity.write().unwrap_or_else(PoisonError::into_inner) = validity;
        tracing::info!(not_after = %validity.not_after, "the server has a new certificate");
        Ok(true)
    }
}

fn pem(made: &TlsIdentity) -> PemIdentity<'_> {
    PemIdentity { certificate: &made.certificate_pem, key: made.key_pem.expose() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn the_servers_certificate_is_replaced_after_two_thirds_of_its_life_and_not_before() {
        let now: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_create(folder.path(), &["localhost".to_owned()], HOUR * 24, now).unwrap();
        let first = keys.server.validity();
        assert_eq!(first.not_after, now.plus(HOUR * 24));
        assert!(!keys.server.renew(&keys.authority, now.plus(HOUR * 15)).unwrap());
        assert_eq!(keys.server.validity(), first);
        let later = now.plus(HOUR * 16);
        assert!(keys.server.renew(&keys.authority, later).unwrap());
        assert_eq!(keys.server.validity().not_after, later.plus(HOUR * 24));
        assert!(!keys.server.renew(&keys.authority, later).unwrap());
    }
}
