//! Builds and verifies the signed manifest of a repository.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use shared::Clock;
use shared::document::SignedDocument;
use shared_crypto::{PublicKey, SigningKey};
use shared_ops::cli::{Exit, Failure, Format, print};
use shared_ops::clock::SystemClock;

use crate::PolicyError;
use crate::bundle::{MANIFEST_FILE, Manifest, build, verify};
use crate::repository::Repository;

#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Sign the repository's files as `bundle.json`
    Build {
        /// Must rise with every bundle
        #[arg(long, value_name = "NUMBER")]
        bundle_version: u64,
        /// The Ed25519 key; made when the file is absent
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Say what would be signed, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Check signature, files and version of `bundle.json`
    Verify {
        /// The key that has to have signed
        #[arg(long, value_name = "HEX")]
        public_key: PublicKey,
        /// The version in force, which the bundle has to exceed
        #[arg(long, value_name = "NUMBER")]
        in_force: Option<u64>,
    },
}

/// A bundle that holds.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    manifest: &'a Manifest,
    public_key: PublicKey,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manifest { version, digest, files, .. } = self.manifest;
        write!(f, "version {version}, {} files\nbundle {digest}\nsigned by {}", files.len(), self.public_key)
    }
}

pub(super) fn run(repo: &Path, command: &BundleCommand, format: Format) -> Result<(), anyhow::Error> {
    let repository = Repository::read(repo).map_err(Failure::from)?;
    let (manifest, public_key) = match command {
        BundleCommand::Build { bundle_version, key, dry_run } => {
            let key = SigningKey::load_or_create(key).map_err(Failure::from)?;
            let signed = build(&repository, *bundle_version, &key, SystemClock.now()).map_err(Failure::from)?;
            if !dry_run {
                std::fs::write(repo.join(MANIFEST_FILE), serde_json::to_string_pretty(&signed)?)?;
            }
            (verify(&repository, &signed, &key.public(), None), key.public())
        }
        BundleCommand::Verify { public_key, in_force } => {
            (verify(&repository, &read(repo)?, public_key, *in_force), *public_key)
        }
    };
    let manifest = manifest.map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    Ok(print(&Told { manifest: &manifest, public_key }, format)?)
}

/// The signed manifest in a repository.
pub(super) fn read(repo: &Path) -> Result<SignedDocument, Failure> {
    let path = repo.join(MANIFEST_FILE);
    let unreadable = |reason: String| PolicyError::Read { path: path.display().to_string(), reason };
    let text = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    Ok(serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?)
}
