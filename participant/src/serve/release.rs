//! Releases at a site: verified before they are installed, and installed only on the operator's word; one is kept
//! behind the one that serves for rollback.
//!
//! A release that does not verify is never written, so a restart cannot find it. A site that goes back by itself stays
//! there until the operator's next word.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::masking::{Cosignature, threshold};
use shared::release::{Recomputation, Release, RoundRecord};
use shared::store::{Batch, Key, Store};
use shared::task::Task;
use shared::{Digest, ParamVector, ParticipantId, canonical};
use shared_crypto::{PublicKey, bulk_digest, digest_of, document_digest};
use shared_model::Model;

use super::promotion::{self, Word};
use crate::error::{ReleaseFault, SiteError};
use crate::feature;

const DOCUMENTS: &str = "release";
const PARAMS: &str = "release-params";
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";

/// A release as the coordinator hands it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBundle {
    /// The signed release.
    pub release: SignedDocument,
    /// The signed record of its round.
    pub record: SignedDocument,
    /// Other sites' signed words that they checked the rounds behind it.
    pub cosignatures: Vec<SignedDocument>,
    /// The parameters, little-endian f32.
    #[serde(skip)]
    pub params: Vec<u8>,
}

/// What a site knows by itself of the task that a release is to come from.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The task that the site admitted.
    pub task: &'a Task,
    /// Digest of the signed task.
    pub task_digest: Digest,
    /// The site.
    pub participant_id: &'a ParticipantId,
    /// Digest of the update that the coordinator acknowledged to the site in the release's round, if there is one.
    pub own_update: Option<Digest>,
}

/// A release that verified, ready to score.
#[derive(Debug)]
pub struct Installed {
    /// What the coordinator signed.
    pub release: Release,
    /// Digest of the signed release.
    pub digest: Digest,
    /// The model.
    pub model: Model,
}

impl ReleaseBundle {
    /// Checks the chain from the coordinator's key to the parameters: release, round record, candidate, parameters; and
    /// that this site computes the features which the model was trained on.
    pub fn verify(&self, coordinator: &PublicKey) -> Result<Installed, SiteError> {
        let (release, record) = self.open(coordinator)?;
        expect("the round record", release.round_record, document_digest(&self.record))?;
        expect("the round record's task", release.task_digest, record.task_digest)?;
        expect("the round record's candidate", release.params, record.candidate)?;
        if release.round_id != record.round_id {
            return Err(ReleaseFault::OtherRound { release: release.round_id, record: record.round_id }.into());
        }
        expect("the vector of parameters", release.params, bulk_digest(&self.params))?;
        expect("the feature view", release.feature_view.digest, digest_of(&feature::view())?)?;
        let params = ParamVector::from_le_bytes(&self.params, release.model.param_count())?;
        let model = Model::new(&release.model, &params)?;
        Ok(Installed { digest: document_digest(&self.release), release, model })
    }

    /// Checks that the release is of the task that the site admitted, and that the site's own update is in its round.
    fn fits(&self, expected: &Expected<'_>, coordinator: &PublicKey) -> Result<(), SiteError> {
        let (release, record) = self.open(coordinator)?;
        expect("the release's task", expected.task_digest, release.task_digest)?;
        expect("the release's model", digest_of(&expected.task.model)?, digest_of(&release.model)?)?;
        if let Some(own) = expected.own_update {
            let is_left_out = |round: &Recomputation| round.left_out.contains(expected.participant_id);
            match record.accepted.get(expected.participant_id) {
                Some(recorded) => expect("the recorded update of this site", own, recorded.payload)?,
                // The coordinator says openly, and signs, that it computed the round again without this site.
                None if record.recomputed.as_ref().is_some_and(is_left_out) => {
                    tracing::warn!(round_id = %record.round_id, "the release was computed without this site's update");
                }
                None => return Err(ReleaseFault::OwnUpdateMissing.into()),
            }
        }
        Ok(())
    }

    /// Checks that more than two thirds of a masked task's cohort have cosigned the release: no site can see by itself what
    /// its sum was made of, and a coordinator that shows two sums needs more than a third of the sites to lie for it.
    fn is_cosigned(&self, task: &Task) -> Result<(), SiteError> {
        let Some(terms) = &task.secure_aggregation else { return Ok(()) };
        let release = document_digest(&self.release);
        let signer = |document: &SignedDocument| {
            let claimed: Cosignature = canonical::decode(document.body.as_bytes()).ok()?;
            let keys = terms.roster.get(&claimed.participant_id)?;
            let opened: Cosignature = PublicKey::from_bytes(*keys.identity.as_bytes()).open(document).ok()?;
            (opened.release == release).then_some(opened.participant_id)
        };
        let signers: BTreeSet<ParticipantId> = self.cosignatures.iter().filter_map(signer).collect();
        let (needed, found) = (threshold(task.cohort.len()), signers.len());
        if found < needed { Err(ReleaseFault::TooFewCosignatures { needed, found }.into()) } else { Ok(()) }
    }

    fn open(&self, coordinator: &PublicKey) -> Result<(Release, RoundRecord), SiteError> {
        Ok((coordinator.open(&self.release)?, coordinator.open(&self.record)?))
    }
}

fn expect(what: &'static str, expected: Digest, found: Digest) -> Result<(), ReleaseFault> {
    if expected == found { Ok(()) } else { Err(ReleaseFault::Differs { what, expected, found }) }
}

/// The releases that a site keeps: the one that serves and the one before it.
pub struct Releases {
    store: Arc<dyn Store>,
    coordinator: PublicKey,
    operator: PublicKey,
}

impl Releases {
    /// The releases in `store`, signed with `coordinator`'s key and promoted with `operator`'s.
    pub fn new(store: Arc<dyn Store>, coordinator: PublicKey, operator: PublicKey) -> Self {
        Self { store, coordinator, operator }
    }

    /// The operator's last word that this site obeyed.
    pub fn obeyed(&self) -> Result<Option<SignedDocument>, SiteError> {
        promotion::obeyed(&*self.store, &self.operator)
    }

    /// Checks the operator's word on which release is the latest; `None` for the one that this site obeys already.
    pub fn hear(&self, promotion: SignedDocument) -> Result<Option<Word>, SiteError> {
        Word::hear(&*self.store, &self.operator, promotion)
    }

    /// Verifies `bundle`, and makes it the serving release on the operator's `word`. What served before is kept for
    /// rollback, unless the operator went back from it. `log` is told before the release serves: a crash in between
    /// leaves an entry of what was not done yet, never something that was done without its entry.
    pub fn install(
        &self,
        bundle: &ReleaseBundle,
        word: &Word,
        expected: &Expected<'_>,
        log: impl FnOnce(&Installed) -> Result<(), SiteError>,
    ) -> Result<Installed, SiteError> {
        let installed = bundle.verify(&self.coordinator)?;
        bundle.fits(expected, &self.coordinator)?;
        bundle.is_cosigned(expected.task)?;
        expect("the promoted release", word.release(), installed.digest)?;
        let current = self.load(CURRENT)?;
        let mut batch = word.obey(unchanged(current.as_ref())?)?;
        if current.as_ref() != Some(bundle) {
            batch = put(batch, CURRENT, bundle)?;
            if let Some(current) = &current {
                batch = put(batch, PREVIOUS, current)?;
            }
        }
        if word.goes_back() {
            batch = without_previous(batch);
        }
        log(&installed)?;
        self.store.apply(batch)?;
        metrics::counter!("ringfence_releases_installed_total").increment(1);
        Ok(installed)
    }

    /// The serving release, verified once more; `None` before the first one.
    pub fn current(&self) -> Result<Option<Installed>, SiteError> {
        self.load(CURRENT)?.map(|bundle| bundle.verify(&self.coordinator)).transpose()
    }

    /// Makes the release before the serving one serve again, until the operator's next word. `log` is told first.
    pub fn roll_back(&self, log: impl FnOnce(&Installed) -> Result<(), SiteError>) -> Result<Installed, SiteError> {
        let previous = self.load(PREVIOUS)?.ok_or(ReleaseFault::NothingBefore)?;
        let installed = previous.verify(&self.coordinator)?;
        let batch = put(unchanged(self.load(CURRENT)?.as_ref())?, CURRENT, &previous)?;
        log(&installed)?;
        self.store.apply(without_previous(batch))?;
        Ok(installed)
    }

    fn load(&self, place: &'static str) -> Result<Option<ReleaseBundle>, SiteError> {
        let Some(documents) = self.store.get(&Key::new(DOCUMENTS, place))? else { return Ok(None) };
        let params = self.store.get(&Key::new(PARAMS, place))?.unwrap_or_default();
        Ok(Some(ReleaseBundle { params, ..canonical::decode(&documents)? }))
    }
}

/// A batch that applies only while `current` is what serves: of two who change it at once, one is refused.
fn unchanged(current: Option<&ReleaseBundle>) -> Result<Batch, SiteError> {
    let key = Key::new(DOCUMENTS, CURRENT);
    match current {
        Some(bundle) => Ok(Batch::new().expect(key, canonical::encode(bundle)?)),
        None => Ok(Batch::new().expect_absent(key)),
    }
}

fn without_previous(batch: Batch) -> Batch {
    batch.delete(Key::new(DOCUMENTS, PREVIOUS)).delete(Key::new(PARAMS, PREVIOUS))
}

fn put(batch: Batch, place: &'static str, bundle: &ReleaseBundle) -> Result<Batch, SiteError> {
    let documents = canonical::encode(bundle)?;
    Ok(batch.put(Key::new(DOCUMENTS, place), documents).put(Key::new(PARAMS, place), bundle.params.as_slice()))
}

#[cfg(test)]
mod tests;
