//! The latest release, as the operator's word says: fetched, verified and installed, and whatever is refused stands in
//! the audit log. A word that was refused is not looked at again before there is another one.

use std::sync::Arc;

use serde_json::json;
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::masking::Cosignature;
use shared::release::Release;
use shared::task::Task;
use shared::{Digest, Explain, RoundId, TaskId};
use shared_crypto::document_digest;
use shared_wire::client::Client;

use super::membership::Membership;
use super::retry;
use crate::error::{ReleaseFault, SiteError};
use crate::progress::Progress;
use crate::serve::{Expected, Installed, ReleaseBundle, Releases, Word};
use crate::site::blocking;

/// Follows the operator's word on which release is the latest.
pub struct Latest<'a> {
    member: &'a Membership,
    /// Digest of the word that was looked at last.
    seen: Option<Digest>,
}

impl<'a> Latest<'a> {
    /// Follows the latest release of `member`'s federation.
    pub fn new(member: &'a Membership) -> Self {
        Self { member, seen: None }
    }

    /// Looks at a refused word once more: the site may have admitted the release's task since.
    pub fn look_again(&mut self) {
        self.seen = None;
    }

    /// Asks for the operator's word, and obeys it if there is a new one; what serves from now on.
    pub async fn follow(&mut self) -> Result<Option<Installed>, SiteError> {
        let known = match self.seen {
            Some(seen) => Some(seen),
            None => self.member.obeyed().await?,
        };
        let client = self.member.client();
        let Some(found) = retry("fetch release", || client.latest_release(known)).await? else { return Ok(None) };
        let looked_at = document_digest(found.promotion.as_ref().unwrap_or(&found.release));
        if self.seen == Some(looked_at) {
            return Ok(None);
        }
        let obeyed = self.member.obey(&client, found).await;
        match &obeyed {
            Ok(_) => self.seen = Some(looked_at),
            Err(error) if is_refusal(error) => {
                self.member.record_refusal(looked_at, error.code()).await?;
                self.seen = Some(looked_at);
            }
            Err(_) => {}
        }
        obeyed
    }
}

/// Whether the word or its release was found wanting; anything else may work the next time.
fn is_refusal(error: &SiteError) -> bool {
    if let SiteError::Release(ReleaseFault::TooFewCosignatures { .. }) = error {
        return false;
    }
    matches!(
        error,
        SiteError::Release(_)
            | SiteError::Crypto(_)
            | SiteError::Canonical(_)
            | SiteError::Model(_)
            | SiteError::Params(_)
    )
}

impl Membership {
    fn releases(&self) -> Releases {
        self.credentials().releases(Arc::clone(&self.site.store))
    }

    /// Digest of the last word that the site obeyed.
    async fn obeyed(&self) -> Result<Option<Digest>, SiteError> {
        let releases = self.releases();
        blocking(move || Ok(releases.obeyed()?.as_ref().map(document_digest))).await
    }

    /// Installs the release that the operator's word names, unless it is the word that the site obeys already.
    async fn obey(&self, client: &Client, found: shared_wire::ReleaseBundle) -> Result<Option<Installed>, SiteError> {
        let (releases, word) = (self.releases(), found.promotion.ok_or(ReleaseFault::NoPromotion)?);
        let Some(word) = blocking(move || releases.hear(word)).await? else { return Ok(None) };
        let release: Release = self.credentials().coordinator_key.open(&found.release)?;
        let task = self.admitted(release.task_digest).await?;
        self.recover_receipt(&task.task_id).await;
        let len = task.model.param_count().saturating_mul(4);
        let mut params = Vec::new();
        fetch(client, &release, len, &mut params).await?;
        let (record, cosignatures) = (found.round_record, found.cosignatures);
        let bundle = ReleaseBundle { release: found.release, record, cosignatures, params };
        self.cosign(client, &release, &task, &bundle).await?;
        let installed = self.install(word, release, task, bundle).await?;
        self.observer.on(&Progress::Released { release_id: installed.release.release_id.clone() });
        Ok(Some(installed))
    }

    /// Signs a release of a masked task, once, if the site checked the sum that it follows from itself.
    async fn cosign(
        &self,
        client: &Client,
        release: &Release,
        task: &Task,
        bundle: &ReleaseBundle,
    ) -> Result<(), SiteError> {
        let own = &self.site.participant_id;
        let names_own = |document: &SignedDocument| {
            let named = shared::canonical::decode::<Cosignature>(document.body.as_bytes());
            named.is_ok_and(|cosignature| cosignature.participant_id == *own)
        };
        let is_masked = task.secure_aggregation.is_some();
        if !is_masked
            || bundle.cosignatures.iter().any(names_own)
            || !self.site.masked.is_verified(&release.round_id)?
        {
            return Ok(());
        }
        bundle.verify(&self.credentials().coordinator_key)?;
        let cosignature = self.site.identity.sign(&Cosignature {
            release_id: release.release_id.clone(),
            release: document_digest(&bundle.release),
            participant_id: own.clone(),
        })?;
        Ok(client.cosign(cosignature).await?)
    }

    /// The task with this digest, which the site has admitted.
    async fn admitted(&self, task_digest: Digest) -> Result<Task, SiteError> {
        let (site, operator) = (Arc::clone(&self.site), self.credentials().operator_key);
        let document: Option<SignedDocument> = blocking(move || site.admitted(&task_digest)).await?;
        Ok(operator.open(&document.ok_or(ReleaseFault::NotAdmitted(task_digest))?)?)
    }

    /// Sends an update of a task that is over again whose receipt was lost on the way: the same bytes get the same
    /// receipt. Without it the site cannot check that its update is in the release's round.
    pub(super) async fn recover_receipt(&self, task_id: &TaskId) {
        if let Err(error) = self.send_again(task_id).await {
            tracing::warn!(%task_id, %error, "the receipt of the last update is lost");
        }
    }

    async fn send_again(&self, task_id: &TaskId) -> Result<(), SiteError> {
        let _turn = self.recovering.lock().await;
        let (client, updates, coordinator) = (self.client(), self.updates(), self.credentials().coordinator_key);
        let Some(number) = updates.prepared(task_id)? else { return Ok(()) };
        let round_id = RoundId { task_id: task_id.clone(), number };
        let Some((open, payload)) = updates.load(&round_id)? else { return Ok(()) };
        let send = || client.submit_update(open.clone(), payload.clone(), |_, _| ());
        let receipt = retry("submit update", send).await?;
        blocking(move || updates.keep_receipt(&round_id, &receipt, &coordinator)).await.map(drop)
    }

    /// Installs a release that verifies.
    async fn install(
        &self,
        word: Word,
        release: Release,
        task: Task,
        bundle: ReleaseBundle,
    ) -> Result<Installed, SiteError> {
        let (site, updates, releases) = (Arc::clone(&self.site), self.updates(), self.releases());
        let work = move || {
            let expected = Expected {
                task: &task,
                task_digest: release.task_digest,
                participant_id: &site.participant_id,
                own_update: updates.receipt(&release.round_id)?.map(|receipt| receipt.payload),
            };
            let log = |installed: &Installed| site.record_release(installed, Some(word.document()));
            releases.install(&bundle, &word, &expected, log)
        };
        blocking(work).await
    }

    /// Notes in the audit log that the word with this digest was not obeyed.
    async fn record_refusal(&self, word: Digest, code: &'static str) -> Result<(), SiteError> {
        metrics::counter!("ringfence_releases_refused_total", "code" => code).increment(1);
        let site = Arc::clone(&self.site);
        let refused = json!({ "refused": word, "code": code });
        blocking(move || site.journal.write(AuditKind::Release, &refused)).await.map(drop)
    }
}

/// Fetches a release's parameters; each try goes on where the last one stopped.
async fn fetch(client: &Client, release: &Release, len: usize, params: &mut Vec<u8>) -> Result<(), SiteError> {
    let mut patience = super::Patience::default();
    loop {
        match client.fetch(release.params, len, params).await.map_err(SiteError::from) {
            Err(error) if super::may_pass(&error) => patience.pause("fetch parameters", &error).await,
            fetched => return fetched,
        }
    }
}
