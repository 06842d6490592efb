//! Bundles: a policy repository with its proof certificate and a signed manifest of every file that is served.
//!
//! A bundle is taken only whole: signature, every file's digest, no file too many, and a certificate that proves every
//! claim about exactly these files.

mod served;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::document::{Document, SignedDocument};
use shared::{Digest, Timestamp};
use shared_crypto::{PublicKey, SigningKey, digest_of};

pub use self::served::{Record, Served, Source};
use crate::PolicyError;
use crate::prove::ProofCertificate;
use crate::repository::Repository;

/// The manifest's file name, at the root of the repository.
pub const MANIFEST_FILE: &str = "bundle.json";
/// The proof certificate's file name, at the root of the repository.
pub const CERTIFICATE_FILE: &str = "proof.json";
/// How large either may be, in bytes.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What a bundle consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Rises with every bundle of a site.
    pub version: u64,
    /// The bundle digest, which decisions carry.
    pub digest: Digest,
    /// SHA-256 of every file by path.
    pub files: BTreeMap<String, Digest>,
    /// Digest of the proof certificate.
    pub certificate: Digest,
    /// When it was built.
    pub built_at: Timestamp,
}

impl Document for Manifest {
    const DOMAIN: &'static str = "policy-bundle";
}

impl Manifest {
    /// The manifest of `repository`; refused where `certificate` does not prove it.
    pub fn new(
        repository: &Repository,
        certificate: &ProofCertificate,
        version: u64,
        built_at: Timestamp,
    ) -> Result<Self, PolicyError> {
        certificate.covers(repository)?;
        let (digest, files) = (repository.digest()?, repository.digests());
        Ok(Self { version, digest, files, certificate: digest_of(certificate)?, built_at })
    }

    /// Refuses what is not above the version `in_force`.
    pub fn succeeds(&self, in_force: u64) -> Result<(), PolicyError> {
        let version = self.version;
        if version > in_force { Ok(()) } else { Err(PolicyError::BundleVersion { version, in_force }) }
    }
}

/// A policy repository that is signed and certified, as it lies in a folder. Nothing is checked of it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    manifest: SignedDocument,
    certificate: ProofCertificate,
    repository: Repository,
}

impl Bundle {
    /// Signs `repository` as `version`; refused where `certificate` does not prove it.
    pub fn build(
        repository: Repository,
        certificate: ProofCertificate,
        version: u64,
        key: &SigningKey,
        built_at: Timestamp,
    ) -> Result<Self, PolicyError> {
        let manifest = Manifest::new(&repository, &certificate, version, built_at)?;
        Ok(Self { manifest: key.sign(&manifest)?, certificate, repository: repository.served() })
    }

    /// Reads the repository at `root` with its `proof.json` and `bundle.json`.
    pub fn read(root: &Path) -> Result<Self, PolicyError> {
        let repository = Repository::read(root)?.served();
        let (certificate, manifest) = (certificate(root)?, read_json(&root.join(MANIFEST_FILE), MAX_BYTES)?);
        Ok(Self { manifest, certificate, repository })
    }

    /// Checks that the manifest was signed by `key`, that it describes exactly these files, and that the certificate
    /// proves them.
    pub fn verify(&self, key: &PublicKey) -> Result<Manifest, PolicyError> {
        let manifest: Manifest = key.open(&self.manifest)?;
        let other = |path: &str| Err(PolicyError::BundleContent { path: path.to_owned() });
        if let Some(path) = first_difference(&manifest.files, &self.repository.digests()) {
            return other(&path);
        }
        if manifest.digest != self.repository.digest()? {
            return other(MANIFEST_FILE);
        }
        if manifest.certificate != digest_of(&self.certificate)? {
            return other(CERTIFICATE_FILE);
        }
        self.certificate.covers(&self.repository)?;
        Ok(manifest)
    }

    /// The files that are served.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Writes the bundle into the folder `root`: every file that is served, the certificate, and last the manifest.
    pub fn write(&self, root: &Path) -> Result<(), PolicyError> {
        let certificate = serde_json::to_string_pretty(&self.certificate);
        let certificate = certificate.map_err(|error| unwritable(&root.join(CERTIFICATE_FILE), &error))?;
        let files = self.repository.files().map(|(path, text)| (path, text.as_str()));
        for (path, text) in files.chain([(CERTIFICATE_FILE, certificate.as_str())]) {
            let path = root.join(path);
            let written =
                path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
            written.map_err(|error| unwritable(&path, &error))?;
        }
        self.write_manifest(root)
    }

    /// Writes the manifest beside the files that it describes.
    pub fn write_manifest(&self, root: &Path) -> Result<(), PolicyError> {
        let path = root.join(MANIFEST_FILE);
        let text = serde_json::to_string_pretty(&self.manifest).map_err(|error| unwritable(&path, &error))?;
        std::fs::write(&path, text).map_err(|error| unwritable(&path, &error))
    }
}

/// The proof certificate of the repository at `root`, from its `proof.json`.
pub fn certificate(root: &Path) -> Result<ProofCertificate, PolicyError> {
    read_json(&root.join(CERTIFICATE_FILE), MAX_BYTES)
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path, limit: u64) -> Result<T, PolicyError> {
    let unreadable = |error: &dyn std::fmt::Display| PolicyError::BundleFile {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if size > limit {
        return Err(unreadable(&format!("it has {size} bytes; {limit} are allowed")));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> PolicyError {
    PolicyError::Write { path: path.display().to_string(), reason: error.to_string() }
}

fn first_difference(one: &BTreeMap<String, Digest>, other: &BTreeMap<String, Digest>) -> Option<String> {
    one.keys().chain(other.keys()).find(|path| one.get(*path) != other.get(*path)).cloned()
}

#[cfg(test)]
mod tests;
