//! A folder with a bundle, served: read whole, held against key, certificate and version, then put in force.
//!
//! Nothing turns a check off. A bundle that does not hold leaves the one in force as it is. What is in force is kept in a
//! file: after a restart it serves on, whatever lies in the folder then, and no older bundle comes back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use shared::Explain;
use shared::audit::AuditKind;
use shared_crypto::PublicKey;
use shared_ops::files;
use tokio_util::sync::CancellationToken;

use super::{Bundle, Manifest, read_json, unwritable};
use crate::PolicyError;
use crate::decide::{Engine, InForce};
use crate::journal::Journal;

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Where a bundle comes from, and what it has to prove.
#[derive(Debug, Clone)]
pub struct Folder {
    /// The policy repository with its `bundle.json` and `proof.json`.
    pub root: PathBuf,
    /// The site whose own policies hold beside those of all sites.
    pub site: Option<String>,
    /// The key that has to have signed.
    pub key: PublicKey,
    /// The file that keeps what is in force; made when there is none.
    pub kept: PathBuf,
}

/// A bundle in force, with the folder that the next one is taken from.
pub struct Served {
    folder: Folder,
    journal: Option<Arc<dyn Journal>>,
    in_force: Arc<InForce>,
    state: Mutex<State>,
}

struct State {
    manifest: Manifest,
    /// Why the bundle in the folder is refused, as it was told.
    refused: Option<String>,
}

impl Served {
    /// Puts in force what was in force last or, the first time, the bundle that lies in the folder. Every bundle stands in
    /// `journal` before it is in force, and so does why one is refused.
    pub fn open(folder: Folder, journal: Option<Arc<dyn Journal>>) -> Result<Self, PolicyError> {
        let (engine, manifest) = match folder.kept()? {
            Some(kept) => kept,
            None => {
                let (bundle, engine, manifest) = folder.offered()?;
                note(journal.as_deref(), loaded(&manifest))?;
                folder.keep(&bundle)?;
                (engine, manifest)
            }
        };
        tell(&manifest);
        let state = Mutex::new(State { manifest, refused: None });
        Ok(Self { folder, journal, in_force: Arc::new(InForce::new(engine)), state })
    }

    /// What decides now.
    pub fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    /// Puts the bundle that now lies in the folder in force, if it is another one. Blocks.
    pub fn reload(&self) -> Result<(), PolicyError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let reloaded = self.succeed(&mut state.manifest);
        let refused = reloaded.as_ref().err().map(ToString::to_string);
        if let Err(error) = &reloaded
            && refused != state.refused
        {
            metrics::counter!("ringfence_policy_bundles_refused_total").increment(1);
            tracing::error!(%error, hint = error.hint(), "the policy bundle in the folder is refused");
            note(self.journal.as_deref(), json!({"refused": error.code(), "reason": refused}))?;
        }
        state.refused = refused;
        reloaded
    }

    fn succeed(&self, current: &mut Manifest) -> Result<(), PolicyError> {
        let (bundle, engine, manifest) = self.folder.offered()?;
        if manifest == *current {
            return Ok(());
        }
        manifest.succeeds(current.version)?;
        note(self.journal.as_deref(), loaded(&manifest))?;
        self.folder.keep(&bundle)?;
        self.in_force.replace(engine);
        tell(&manifest);
        *current = manifest;
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

impl Folder {
    fn offered(&self) -> Result<(Bundle, Engine, Manifest), PolicyError> {
        let bundle = Bundle::read(&self.root)?;
        let (engine, manifest) = self.load(&bundle)?;
        Ok((bundle, engine, manifest))
    }

    fn load(&self, bundle: &Bundle) -> Result<(Engine, Manifest), PolicyError> {
        let manifest = bundle.verify(&self.key)?;
        Ok((Engine::new(bundle.repository(), self.site.as_deref())?, manifest))
    }

    fn kept(&self) -> Result<Option<(Engine, Manifest)>, PolicyError> {
        if !self.kept.exists() {
            return Ok(None);
        }
        let kept = read_json(&self.kept, u64::MAX).and_then(|bundle| self.load(&bundle));
        let broken = |error: PolicyError| PolicyError::BundleKept {
            path: self.kept.display().to_string(),
            reason: error.to_string(),
        };
        kept.map(Some).map_err(broken)
    }

    /// Keeps, durably, what comes in force now.
    fn keep(&self, bundle: &Bundle) -> Result<(), PolicyError> {
        let text = serde_json::to_vec(bundle).map_err(|error| unwritable(&self.kept, &error))?;
        files::replace(&self.kept, &text).map_err(|error| unwritable(&self.kept, &error))
    }
}

fn loaded(manifest: &Manifest) -> Value {
    json!({"loaded": manifest.version, "bundle": manifest.digest, "certificate": manifest.certificate})
}

fn note(journal: Option<&dyn Journal>, content: Value) -> Result<(), PolicyError> {
    journal.map_or(Ok(0), |journal| journal.record(AuditKind::Bundle, content))?;
    Ok(())
}

#[expect(clippy::as_conversions, reason = "a gauge needs no more digits than an f64 has")]
fn tell(manifest: &Manifest) {
    let Manifest { version, digest, .. } = manifest;
    metrics::gauge!("ringfence_policy_bundle_version").set(*version as f64);
    tracing::info!(version, %digest, "a policy bundle is in force");
}

#[cfg(test)]
mod tests;
