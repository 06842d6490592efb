//! The end of a task: the release is fetched, verified and installed, and whatever is refused stands in the audit log.

use std::sync::Arc;

use serde_json::json;
use shared::audit::AuditKind;
use shared::release::Release;
use shared::{ReleaseId, RoundId, TaskId};
use shared_wire::client::Client;

use super::membership::{Admitted, Membership};
use super::retry;
use crate::error::SiteError;
use crate::progress::Progress;
use crate::serve::{Expected, Installed, ReleaseBundle, Releases};
use crate::site::blocking;

impl Membership {
    pub(super) async fn fetch_release(
        &self,
        admitted: &Admitted,
        release_id: &ReleaseId,
    ) -> Result<ReleaseBundle, SiteError> {
        let client = self.client();
        if let Err(error) = self.recover_receipt(&client, &admitted.task.task_id).await {
            tracing::warn!(%release_id, %error, "the receipt of the last update is lost");
        }
        let fetched = retry("fetch release", || client.release(Some(release_id))).await?;
        let release: Release = self.credentials().coordinator_key.open(&fetched.release)?;
        let len = admitted.task.model.param_count().saturating_mul(4);
        let mut params = Vec::new();
        fetch(&client, &release, len, &mut params).await?;
        Ok(ReleaseBundle { release: fetched.release, record: fetched.round_record, params })
    }

    /// Sends an update again whose receipt was lost on the way: the same bytes get the same receipt.
    async fn recover_receipt(&self, client: &Client, task_id: &TaskId) -> Result<(), SiteError> {
        let (updates, coordinator) = (self.updates(), self.credentials().coordinator_key);
        let Some(number) = updates.prepared(task_id)? else { return Ok(()) };
        let round_id = RoundId { task_id: task_id.clone(), number };
        let Some((open, payload)) = updates.load(&round_id)? else { return Ok(()) };
        let send = || client.submit_update(open.clone(), payload.clone(), |_, _| ());
        let receipt = retry("submit update", send).await?;
        blocking(move || updates.keep_receipt(&round_id, &receipt, &coordinator)).await.map(drop)
    }

    /// Installs a release that verifies; a refusal stands in the audit log as well.
    pub(super) async fn install(&self, admitted: &Admitted, bundle: ReleaseBundle) -> Result<Installed, SiteError> {
        let (site, updates, admitted) = (Arc::clone(&self.site), self.updates(), admitted.clone());
        let coordinator = self.credentials().coordinator_key;
        let work = move || {
            let release: Release = coordinator.open(&bundle.release)?;
            let expected = Expected {
                task: &admitted.task,
                task_digest: admitted.digest,
                participant_id: &site.participant_id,
                own_update: updates.receipt(&release.round_id)?.map(|receipt| receipt.payload),
            };
            let installed = Releases::new(Arc::clone(&site.store), coordinator).install(&bundle, &expected);
            if let Err(error) = &installed {
                let refused = json!({ "refused": release.release_id, "code": shared::Explain::code(error) });
                site.journal.write(AuditKind::Release, &refused)?;
            }
            let installed = installed?;
            site.record_release(&installed)?;
            Ok(installed)
        };
        let installed = blocking(work).await?;
        self.observer.on(&Progress::Released { release_id: installed.release.release_id.clone() });
        Ok(installed)
    }
}

/// Fetches a release's parameters; each try goes on where the last one stopped.
async fn fetch(client: &Client, release: &Release, len: usize, params: &mut Vec<u8>) -> Result<(), SiteError> {
    let mut patience = super::Patience::new();
    loop {
        match client.fetch(release.params, len, params).await.map_err(SiteError::from) {
            Err(error) if super::may_pass(&error) => patience.pause("fetch parameters", &error).await,
            fetched => return fetched,
        }
    }
}
