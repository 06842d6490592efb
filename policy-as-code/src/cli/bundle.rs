//! Builds and verifies the signed manifest of a repository.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use shared::Clock;
use shared_crypto::{PublicKey, SigningKey};
use shared_ops::cli::{Exit, Failure, Format, print};
use shared_ops::clock::SystemClock;

use crate::PolicyError;
use crate::bundle::{Bundle, Manifest, certificate};
use crate::repository::Repository;

#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Sign the repository's files and its `proof.json` as `bundle.json`
    Build {
        /// Must rise with every bundle
        #[arg(long, value_name = "NUMBER")]
        bundle_version: u64,
        /// The Ed25519 key; made when the file is absent
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Say what would be signed; make no key and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Check signature, files, proof certificate and version of `bundle.json`
    Verify {
        /// The key that has to have signed
        #[arg(long, value_name = "HEX")]
        public_key: PublicKey,
        /// The version in force, which the bundle has to exceed
        #[arg(long, value_name = "NUMBER")]
        in_force: Option<u64>,
    },
}

/// A bundle that holds, or one that would.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    manifest: Manifest,
    public_key: Option<PublicKey>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manifest { version, digest, files, .. } = &self.manifest;
        write!(f, "version {version}, {} files, proven\nbundle {digest}", files.len())?;
        self.public_key.iter().try_for_each(|key| write!(f, "\nsigned by {key}"))
    }
}

pub(super) fn run(repo: &Path, command: &BundleCommand, format: Format) -> Result<(), anyhow::Error> {
    let told = match command {
        BundleCommand::Build { bundle_version, key, dry_run } => {
            build(repo, *bundle_version, (!dry_run).then_some(key.as_path()))
        }
        BundleCommand::Verify { public_key, in_force } => verify(repo, public_key, *in_force),
    };
    let told = told.map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    Ok(print(&told, format)?)
}

/// Signs the repository; without a key, only says what would be signed.
fn build(repo: &Path, version: u64, key: Option<&Path>) -> Result<Told, PolicyError> {
    let (repository, certificate, now) = (Repository::read(repo)?, certificate(repo)?, SystemClock.now());
    let Some(key) = key else {
        return Ok(Told { manifest: Manifest::new(&repository, &certificate, version, now)?, public_key: None });
    };
    let key = SigningKey::load_or_create(key)?;
    let bundle = Bundle::build(repository, certificate, version, &key, now)?;
    bundle.write_manifest(repo)?;
    Ok(Told { manifest: bundle.verify(&key.public())?, public_key: Some(key.public()) })
}

fn verify(repo: &Path, key: &PublicKey, in_force: Option<u64>) -> Result<Told, PolicyError> {
    let manifest = Bundle::read(repo)?.verify(key)?;
    in_force.map_or(Ok(()), |in_force| manifest.succeeds(in_force))?;
    Ok(Told { manifest, public_key: Some(*key) })
}
