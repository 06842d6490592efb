//! Bundles: a policy repository with a signed manifest of every file that is served.
//!
//! A bundle is taken only whole: signature, every file's digest, no file too many, and a version above the one in force.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::document::{Document, SignedDocument};
use shared::{Digest, Timestamp};
use shared_crypto::{PublicKey, SigningKey};

use crate::PolicyError;
use crate::repository::Repository;

/// The manifest's file name, at the root of the repository.
pub const MANIFEST_FILE: &str = "bundle.json";

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
    /// When it was built.
    pub built_at: Timestamp,
}

impl Document for Manifest {
    const DOMAIN: &'static str = "policy-bundle";
}

/// The signed manifest of `repository`.
pub fn build(
    repository: &Repository,
    version: u64,
    key: &SigningKey,
    built_at: Timestamp,
) -> Result<SignedDocument, PolicyError> {
    let manifest = Manifest { version, digest: repository.digest()?, files: repository.digests(), built_at };
    Ok(key.sign(&manifest)?)
}

/// Checks that `manifest` was signed by `key`, describes exactly `repository`, and is above the version `in_force`.
pub fn verify(
    repository: &Repository,
    manifest: &SignedDocument,
    key: &PublicKey,
    in_force: Option<u64>,
) -> Result<Manifest, PolicyError> {
    let manifest: Manifest = key.open(manifest)?;
    if let Some(path) = first_difference(&manifest.files, &repository.digests()) {
        return Err(PolicyError::BundleContent { path });
    }
    if manifest.digest != repository.digest()? {
        return Err(PolicyError::BundleContent { path: MANIFEST_FILE.to_owned() });
    }
    match in_force {
        Some(in_force) if manifest.version <= in_force => {
            Err(PolicyError::BundleVersion { version: manifest.version, in_force })
        }
        _ => Ok(manifest),
    }
}

fn first_difference(one: &BTreeMap<String, Digest>, other: &BTreeMap<String, Digest>) -> Option<String> {
    one.keys().chain(other.keys()).find(|path| one.get(*path) != other.get(*path)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::Explain;

    fn repository(policy: &str) -> Repository {
        Repository::from_files([("policies/a.cedar".to_owned(), policy.to_owned())])
    }

    #[test]
    fn a_bundle_is_taken_only_signed_whole_and_newer() {
        let key = SigningKey::from_seed(&[1; 32]);
        let other = SigningKey::from_seed(&[2; 32]);
        let signed = build(&repository("a"), 7, &key, Timestamp::EPOCH).unwrap();
        let code = |repository: &Repository, key: &SigningKey, in_force| {
            verify(repository, &signed, &key.public(), in_force).map_err(|error| error.code())
        };
        assert_eq!(code(&repository("a"), &key, Some(6)).unwrap().version, 7);
        assert_eq!(code(&repository("a"), &key, Some(7)), Err("bundle-version"));
        assert_eq!(code(&repository("b"), &key, None), Err("bundle-content"));
        let more = Repository::from_files(["a", "b"].map(|name| (format!("policies/{name}.cedar"), "a".to_owned())));
        assert_eq!(code(&more, &key, None), Err("bundle-content"));
        assert!(code(&repository("a"), &other, None).is_err());
        let mut stripped = signed.clone();
        stripped.signature = String::new();
        assert!(verify(&repository("a"), &stripped, &key.public(), None).is_err());
    }
}
