//! What enrolment gave: the site's certificate and whom it trusts. Kept in the site's folder, its owner's alone.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use shared_crypto::{PublicKey, SecretText, key_file};
use shared_wire::Enrolled;

use crate::error::SiteError;

const KEY: &str = "tls.key";
const CERTIFICATE: &str = "tls.pem";
const AUTHORITY: &str = "ca.pem";
const OPERATOR: &str = "operator.pub";
const COORDINATOR: &str = "coordinator.pub";

/// The site's certificate and whom it trusts.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The site's TLS certificate, PEM.
    pub certificate_pem: String,
    /// The certificate's private key, PEM.
    pub key_pem: SecretText,
    /// The federation's certificate authority, PEM.
    pub ca_certificate_pem: String,
    /// Signs tasks.
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

    /// Writes the credentials into `folder`, each file durably and whole. The certificate goes first and comes last:
    /// without it they count as absent, so that a crash in between never leaves a key beside another key's certificate.
    pub(super) fn save(&self, folder: &Path) -> Result<(), SiteError> {
        fs::create_dir_all(folder).map_err(|source| SiteError::io("create", folder, source))?;
        let certificate = folder.join(CERTIFICATE);
        match fs::remove_file(&certificate) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(SiteError::io("replace", &certificate, error));
            }
            _ => {}
        }
        key_file::replace(&folder.join(KEY), self.key_pem.expose().as_bytes())?;
        key_file::replace(&folder.join(AUTHORITY), self.ca_certificate_pem.as_bytes())?;
        key_file::replace(&folder.join(OPERATOR), self.operator_key.to_string().as_bytes())?;
        key_file::replace(&folder.join(COORDINATOR), self.coordinator_key.to_string().as_bytes())?;
        Ok(key_file::replace(&certificate, self.certificate_pem.as_bytes())?)
    }

    /// Reads the credentials back; `None` where the site is not enrolled.
    pub fn load(folder: &Path) -> Result<Option<Self>, SiteError> {
        let Some(key_pem) = key_file::read_text(&folder.join(KEY))? else { return Ok(None) };
        if !folder.join(CERTIFICATE).exists() {
            return Ok(None);
        }
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|source| SiteError::io("read", &path, source))
        };
        Ok(Some(Self {
            certificate_pem: read(CERTIFICATE)?,
            key_pem,
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
            certificate_pem: format!("certificate of {name}"),
            key_pem: SecretText::new(format!("key of {name}")),
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
            assert_eq!(read.certificate_pem, format!("certificate of {name}"));
            assert_eq!(read.key_pem.expose(), format!("key of {name}"));
            assert_eq!(read.operator_key, credentials(name).operator_key);
            assert_eq!(read.coordinator_key, credentials(name).coordinator_key);
        }
    }

    #[test]
    fn a_renewal_that_breaks_off_leaves_no_key_beside_another_keys_certificate() {
        let folder = tempfile::tempdir().unwrap();
        credentials("first").save(folder.path()).unwrap();
        // A folder in the place of a file lets the renewal fail after the key was replaced.
        fs::remove_file(folder.path().join(OPERATOR)).unwrap();
        fs::create_dir(folder.path().join(OPERATOR)).unwrap();
        assert!(credentials("second").save(folder.path()).is_err());
        assert!(Credentials::load(folder.path()).unwrap().is_none());
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
