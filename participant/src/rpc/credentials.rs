//! What enrolment gave: the site's certificate and whom it trusts. Kept in the site's folder, its owner's alone.
//!
//! Certificate and private key stand in one file, so that a renewal replaces both or neither.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use shared::store::Store;
use shared_crypto::pki::Validity;
use shared_crypto::{CryptoError, PublicKey, SecretText, key_file};
use shared_wire::{Enrolled, PemIdentity};

use crate::error::SiteError;
use crate::serve::Releases;

/// The certificate, and after it its private key.
const IDENTITY: &str = "tls.pem";
const AUTHORITY: &str = "ca.pem";
const OPERATOR: &str = "operator.pub";
const COORDINATOR: &str = "coordinator.pub";
const BEGIN_KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// The site's certificate and whom it trusts.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The site's TLS certificate, PEM.
    pub certificate_pem: String,
    /// The certificate's private key, PEM.
    pub key_pem: SecretText,
    /// The federation's certificate authority, PEM.
    pub ca_certificate_pem: String,
    /// Signs tasks and promotions.
    pub operator_key: PublicKey,
    /// Signs receipts, round records and releases.
    pub coordinator_key: PublicKey,
}

impl Credentials {
    pub(super) fn new(enrolled: Enrolled, key_pem: SecretText) -> Result<Self, SiteError> {
        Ok(Self {
            certificate_pem: enrolled.certificate_pem,
            key_pem,
            ca_certificate_pem: enrolled.ca_certificate_pem,
            operator_key: enrolled.operator_key.parse()?,
            coordinator_key: enrolled.coordinator_key.parse()?,
        })
    }

    /// What the site shows of itself when it connects.
    pub(super) fn identity(&self) -> PemIdentity<'_> {
        PemIdentity { certificate: &self.certificate_pem, key: self.key_pem.expose() }
    }

    /// The releases in a site's `store` that this federation signed and promoted.
    pub fn releases(&self, store: Arc<dyn Store>) -> Releases {
        Releases::new(store, self.coordinator_key, self.operator_key)
    }

    /// Within which time the certificate is good.
    pub fn validity(&self) -> Result<Validity, SiteError> {
        Ok(Validity::of_pem(&self.certificate_pem)?)
    }

    /// Writes the credentials into `folder`, each file durably and whole. The identity comes last: without it they count
    /// as absent.
    pub(super) fn save(&self, folder: &Path) -> Result<(), SiteError> {
        fs::create_dir_all(folder).map_err(|source| SiteError::io("create", folder, source))?;
        key_file::replace(&folder.join(AUTHORITY), self.ca_certificate_pem.as_bytes())?;
        key_file::replace(&folder.join(OPERATOR), self.operator_key.to_string().as_bytes())?;
        key_file::replace(&folder.join(COORDINATOR), self.coordinator_key.to_string().as_bytes())?;
        let identity = SecretText::new(format!("{}{}", self.certificate_pem, self.key_pem.expose()));
        Ok(key_file::replace(&folder.join(IDENTITY), identity.expose().as_bytes())?)
    }

    /// Reads the credentials back; `None` where the site is not enrolled.
    pub fn load(folder: &Path) -> Result<Option<Self>, SiteError> {
        let path = folder.join(IDENTITY);
        let Some(identity) = key_file::read_text(&path)? else { return Ok(None) };
        let Some((certificate, key)) = identity.expose().find(BEGIN_KEY).map(|at| identity.expose().split_at(at))
        else {
            let reason = "no private key".to_owned();
            return Err(CryptoError::KeyFileContent { path, reason }.into());
        };
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|source| SiteError::io("read", &path, source))
        };
        Ok(Some(Self {
            certificate_pem: certificate.to_owned(),
            key_pem: SecretText::new(key.to_owned()),
            ca_certificate_pem: read(AUTHORITY)?,
            operator_key: read(OPERATOR)?.trim().parse()?,
            coordinator_key: read(COORDINATOR)?.trim().parse()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use shared_crypto::SigningKey;

    use super::*;

    fn credentials(name: &str) -> Credentials {
        Credentials {
            certificate_pem: format!("certificate of {name}\n"),
            key_pem: SecretText::new(format!("{BEGIN_KEY}\nkey of {name}\n")),
            ca_certificate_pem: "authority".to_owned(),
            operator_key: SigningKey::from_seed(&[1; 32]).public(),
            coordinator_key: SigningKey::from_seed(&[2; 32]).public(),
        }
    }

    #[test]
    fn credentials_are_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let federation = folder.path().join("federation");
        assert!(Credentials::load(&federation).unwrap().is_none());
        for name in ["first", "second"] {
            credentials(name).save(&federation).unwrap();
            let read = Credentials::load(&federation).unwrap().unwrap();
            assert_eq!(read.certificate_pem, credentials(name).certificate_pem);
            assert_eq!(read.key_pem.expose(), credentials(name).key_pem.expose());
            assert_eq!(read.operator_key, credentials(name).operator_key);
            assert_eq!(read.coordinator_key, credentials(name).coordinator_key);
        }
    }

    #[test]
    fn a_renewal_that_breaks_off_leaves_certificate_and_key_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        credentials("first").save(folder.path()).unwrap();
        // A folder in the place of a file lets the renewal fail before the identity is replaced.
        fs::remove_file(folder.path().join(OPERATOR)).unwrap();
        fs::create_dir(folder.path().join(OPERATOR)).unwrap();
        assert!(credentials("second").save(folder.path()).is_err());
        let identity = fs::read_to_string(folder.path().join(IDENTITY)).unwrap();
        assert!(identity.contains("certificate of first") && identity.contains("key of first"));
    }

    #[test]
    fn an_identity_without_a_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        credentials("first").save(folder.path()).unwrap();
        key_file::replace(&folder.path().join(IDENTITY), b"certificate").unwrap();
        assert!(matches!(Credentials::load(folder.path()), Err(SiteError::Crypto(_))));
    }

    #[test]
    fn no_file_is_readable_by_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        credentials("site").save(folder.path()).unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
        }
    }
}
