//! A folder with a bundle, served: read whole, held against key, certificate and version, then put in force.
//!
//! Nothing turns a check off. A bundle that does not hold leaves the one in force as it is. What is in force is kept in a
//! file: after a restart it serves on, whatever lies in the folder then, and no older bundle comes back.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::Explain;
use shared_crypto::PublicKey;
use shared_ops::files;
use tokio_util::sync::CancellationToken;

use super::{Bundle, Manifest, read_json, unwritable};
use crate::PolicyError;
use crate::decide::{Engine, InForce};
use crate::journal::JournalError;

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Where bundles come from, and what they have to prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The policy repository, with its `proof.json` and `bundle.json`.
    pub dir: PathBuf,
    /// The key that has to have signed.
    pub public_key: PublicKey,
    /// The site whose own policies hold beside those of all sites: a folder's name in `policies/sites`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

/// Takes down, durably, what comes in force or is refused.
pub type Record = Box<dyn Fn(Value) -> Result<(), JournalError> + Send + Sync>;

/// A bundle in force, with the folder that the next one is taken from.
pub struct Served {
    source: Source,
    /// The file that keeps what is in force.
    kept: PathBuf,
    record: Record,
    in_force: Arc<InForce>,
    state: Mutex<State>,
}

struct State {
    /// What is in force.
    bundle: Bundle,
    version: u64,
    /// Why the bundle in the folder is refused, as it was told.
    refused: Option<String>,
}

impl Served {
    /// Puts in force what was in force last, which the file `kept` has, or the first time the bundle that lies in the
    /// folder. Every bundle goes to `record` before it is in force, and so does why one is refused.
    pub fn open(source: Source, kept: PathBuf, record: Record) -> Result<Self, PolicyError> {
        let (bundle, engine, manifest) = match source.kept(&kept)? {
            Some(kept) => kept,
            None => {
                let bundle = Bundle::read(&source.dir)?;
                let (engine, manifest) = source.load(&bundle)?;
                record(loaded(&manifest))?;
                keep(&kept, &bundle)?;
                (bundle, engine, manifest)
            }
        };
        tell(&manifest);
        let state = Mutex::new(State { bundle, version: manifest.version, refused: None });
        Ok(Self { source, kept, record, in_force: Arc::new(InForce::new(engine)), state })
    }

    /// What decides now.
    pub fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    /// Puts the bundle that now lies in the folder in force, if it is another one. Blocks.
    pub fn reload(&self) -> Result<(), PolicyError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = self.succeed(&mut state);
        let refused = reloaded.as_ref().err().map(ToString::to_string);
        if let Err(error) = &reloaded
            && refused != state.refused
        {
            metrics::counter!("ringfence_policy_bundles_refused_total").increment(1);
            tracing::error!(%error, hint = error.hint(), "the policy bundle in the folder is refused");
            (self.record)(json!({"refused": error.code(), "reason": refused}))?;
        }
        state.refused = refused;
        reloaded
    }

    fn succeed(&self, state: &mut State) -> Result<(), PolicyError> {
        let bundle = Bundle::read(&self.source.dir)?;
        if bundle == state.bundle {
            return Ok(());
        }
        let (engine, manifest) = self.source.load(&bundle)?;
        manifest.succeeds(state.version)?;
        (self.record)(loaded(&manifest))?;
        keep(&self.kept, &bundle)?;
        self.in_force.replace(engine);
        tell(&manifest);
        (state.bundle, state.version) = (bundle, manifest.version);
        Ok(())
    }

    /// Looks at the folder every ten seconds until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            let served = Arc::clone(&self);
            // Why a bundle is refused was told; the one in force goes on.
            let _ = tokio::task::spawn_blocking(move || served.reload()).await;
        }
    }
}

impl Source {
    fn load(&self, bundle: &Bundle) -> Result<(Engine, Manifest), PolicyError> {
        let manifest = bundle.verify(&self.public_key)?;
        Ok((Engine::new(bundle.repository(), self.site.as_deref())?, manifest))
    }

    fn kept(&self, path: &Path) -> Result<Option<(Bundle, Engine, Manifest)>, PolicyError> {
        if !path.exists() {
            return Ok(None);
        }
        let kept = read_json(path, u64::MAX).and_then(|bundle: Bundle| {
            let (engine, manifest) = self.load(&bundle)?;
            Ok((bundle, engine, manifest))
        });
        let broken = |error: PolicyError| PolicyError::BundleKept {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        kept.map(Some).map_err(broken)
    }
}

/// Keeps, durably, what comes in force now.
fn keep(path: &Path, bundle: &Bundle) -> Result<(), PolicyError> {
    let text = serde_json::to_vec(bundle).map_err(|error| unwritable(path, &error))?;
    files::replace(path, &text).map_err(|error| unwritable(path, &error))
}

fn loaded(manifest: &Manifest) -> Value {
    json!({"loaded": manifest.version, "bundle": manifest.digest, "certificate": manifest.certificate})
}

#[expect(clippy::as_conversions, reason = "a gauge needs no more digits than an f64 has")]
fn tell(manifest: &Manifest) {
    let Manifest { version, digest, .. } = manifest;
    metrics::gauge!("ringfence_policy_bundle_version").set(*version as f64);
    tracing::info!(version, %digest, "a policy bundle is in force");
}

#[cfg(test)]
mod tests;
