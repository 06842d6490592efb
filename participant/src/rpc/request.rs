//! A request for a certificate that has no answer yet. It is kept with its private key before it is sent, so that after
//! a lost answer or a restart the very same request is sent again, and is given the same certificate.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared_crypto::{SecretText, key_file};

use crate::error::SiteError;

/// What is kept, its owner's alone.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The signed document that is sent.
    pub(super) document: SignedDocument,
    /// The federation's certificate authority, PEM.
    pub(super) ca_certificate_pem: String,
    /// The private key of the certificate that is asked for, PEM.
    key_pem: String,
}

impl Request {
    pub(super) fn new(document: SignedDocument, ca_certificate_pem: &str, key_pem: &SecretText) -> Self {
        let (ca_certificate_pem, key_pem) = (ca_certificate_pem.to_owned(), key_pem.expose().to_owned());
        Self { document, ca_certificate_pem, key_pem }
    }

    pub(super) fn key_pem(&self) -> SecretText {
        SecretText::new(self.key_pem.clone())
    }
}

/// The one place where a site keeps a request of one kind.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(site: &Path, name: &str) -> Self {
        Self(site.join("federation").join(name))
    }

    /// The request that is kept; `None` where there is none, or none that can be read.
    pub(super) fn load(&self) -> Result<Option<Request>, SiteError> {
        let Some(text) = key_file::read_text(&self.0)? else { return Ok(None) };
        match serde_json::from_str(text.expose()) {
            Ok(request) => Ok(Some(request)),
            Err(error) => {
                tracing::warn!(path = %self.0.display(), %error, "a kept request is unreadable, a new one is made");
                Ok(None)
            }
        }
    }

    /// Keeps `request` in place of what was kept before.
    pub(super) fn keep(&self, request: &Request) -> Result<(), SiteError> {
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder).map_err(|source| SiteError::io("create", folder, source))?;
        }
        let text = serde_json::to_string(request).map_err(|error| SiteError::io("write", &self.0, error.into()))?;
        Ok(key_file::replace(&self.0, SecretText::new(text).expose().as_bytes())?)
    }

    /// Forgets the request: it was answered for good.
    pub(super) fn clear(&self) -> Result<(), SiteError> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(SiteError::io("remove", &self.0, error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let document = SignedDocument { body: "{}".to_owned(), ..crate::testing::Published::new(1).bundle().release };
        Request::new(document, "authority", &SecretText::new("key".to_owned()))
    }

    #[test]
    fn a_request_is_kept_until_it_is_cleared_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path(), "enrolment.request");
        assert!(place.load().unwrap().is_none());
        place.clear().unwrap();
        place.keep(&request()).unwrap();
        let kept = place.load().unwrap().unwrap();
        assert_eq!((&kept.document, kept.key_pem().expose()), (&request().document, "key"));
        assert_eq!(fs::metadata(&place.0).unwrap().permissions().mode() & 0o077, 0);
        place.clear().unwrap();
        assert!(place.load().unwrap().is_none());
    }

    #[test]
    fn an_unreadable_request_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path(), "enrolment.request");
        place.keep(&request()).unwrap();
        key_file::replace(&place.0, b"{").unwrap();
        assert!(place.load().unwrap().is_none());
    }
}
