//! Taking part in a task: join, train, deliver, evaluate, round after round, until there is a release.
//!
//! The coordinator's views drive the loop; what was already done is looked up in the site's store, so that a view seen
//! twice, a lost answer or a restart in mid-round repeats nothing that costs privacy.

use std::sync::Arc;

use serde_json::json;
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::privacy::Guarantee;
use shared::release::Release;
use shared::task::Task;
use shared::update::Join;
use shared::{Digest, Explain, ParamVector, ReleaseId, RoundId};
use shared_crypto::{digest, document_digest};
use shared_privacy::PrivacyError;
use shared_wire::client::Client;
use shared_wire::{Bytes, Phase, RoundView, TaskState, TaskView, WireError};
use tokio_util::sync::CancellationToken;

use super::{Credentials, retry};
use crate::admit::{Refusal, admit};
use crate::error::{ReleaseFault, SiteError};
use crate::evaluate::Evaluations;
use crate::progress::{Observer, Progress};
use crate::records::Records;
use crate::serve::{Expected, Installed, ReleaseBundle, Releases};
use crate::site::{Site, blocking};
use crate::update::{Assignment, Prepared, Updates};

/// A site at work in a federation.
pub struct Membership {
    site: Arc<Site>,
    records: Arc<Records>,
    credentials: Credentials,
    client: Client,
    observer: Arc<dyn Observer>,
}

/// How a task ended for this site.
pub enum Outcome {
    /// There is a release; it verified and serves.
    Released(Box<Installed>),
    /// The task ended without a release.
    Ended(TaskState),
    /// The site was told to stop before the task ended.
    Stopped,
}

/// A task that the site has admitted.
#[derive(Clone)]
struct Admitted {
    task: Arc<Task>,
    digest: Digest,
}

impl Membership {
    /// Connects the site to its federation; it trains on `records`.
    pub async fn connect(
        site: Arc<Site>,
        records: Arc<Records>,
        credentials: Credentials,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, SiteError> {
        let client = super::connect(&site, &credentials).await?;
        Ok(Self { site, records, credentials, client, observer })
    }

    /// The tasks that the federation offers and the configuration does not leave out, oldest first.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, SiteError> {
        let wanted = &self.site.config.federation.tasks;
        let offered = retry("list tasks", || self.client.tasks()).await?;
        let mut tasks = Vec::new();
        for view in offered {
            let task: Task = self.credentials.operator_key.open(&view.document)?;
            if wanted.is_empty() || wanted.contains(&task.task_id) {
                tasks.push((task.created_at, view));
            }
        }
        tasks.sort_by_key(|(created_at, _)| *created_at);
        Ok(tasks.into_iter().map(|(_, view)| view).collect())
    }

    /// Takes part in one task to its end. A refusal to admit it is an error of kind [`SiteError::Admission`].
    pub async fn take_part(&self, document: &SignedDocument, stop: &CancellationToken) -> Result<Outcome, SiteError> {
        let ended = stop.run_until_cancelled(self.take_part_to_the_end(document)).await;
        Ok(ended.transpose()?.unwrap_or(Outcome::Stopped))
    }

    async fn take_part_to_the_end(&self, document: &SignedDocument) -> Result<Outcome, SiteError> {
        let admitted = self.admit(document).await?;
        match self.follow(&admitted).await? {
            TaskState::Released(release_id) => {
                let bundle = self.fetch_release(&admitted, &release_id).await?;
                Ok(Outcome::Released(Box::new(self.install(&admitted, bundle).await?)))
            }
            state => Ok(Outcome::Ended(state)),
        }
    }

    async fn admit(&self, document: &SignedDocument) -> Result<Admitted, SiteError> {
        let task: Task = self.credentials.operator_key.open(document)?;
        let admitted = Admitted { task: Arc::new(task), digest: document_digest(document) };
        let (site, Admitted { task, digest }) = (Arc::clone(&self.site), admitted.clone());
        let work = move || match site.has_admitted(&digest)? {
            true => Ok(()),
            false => {
                admit(&task, &site.config.admission, &site.ledger)?;
                site.record_admission(&task, &digest)
            }
        };
        blocking(work).await.map(|()| admitted)
    }

    /// Follows the task's rounds until it ends, watching again whenever the stream breaks.
    async fn follow(&self, admitted: &Admitted) -> Result<TaskState, SiteError> {
        loop {
            match self.watch(admitted).await {
                Err(SiteError::Wire(error)) if error.is_transient() => {
                    tracing::warn!(task_id = %admitted.task.task_id, %error, "lost the coordinator, watching again");
                    tokio::time::sleep(super::FIRST_WAIT).await;
                }
                ended => return ended,
            }
        }
    }

    async fn watch(&self, admitted: &Admitted) -> Result<TaskState, SiteError> {
        let task_id = &admitted.task.task_id;
        let mut views = retry("watch", || self.client.watch(task_id)).await?;
        let mut sat_out = None;
        while let Some(view) = views.next().await? {
            if view.task_state != TaskState::Running {
                return Ok(view.task_state);
            }
            if view.round_id.task_id != *task_id {
                let reason = format!("a round of `{}` among those of `{task_id}`", view.round_id.task_id);
                return Err(WireError::Malformed { field: "round_id", reason }.into());
            }
            let phase = (view.round_id.clone(), view.phase);
            if sat_out.as_ref() == Some(&phase) {
                continue;
            }
            match self.act(admitted, &view).await {
                Err(error) if is_sat_out(&error) => {
                    tracing::warn!(round_id = %view.round_id, code = error.code(), %error, "sits this phase out");
                    sat_out = Some(phase);
                }
                done => done?,
            }
        }
        Err(WireError::Unreachable { reason: "the stream of rounds ended".to_owned() }.into())
    }

    async fn act(&self, admitted: &Admitted, view: &RoundView) -> Result<(), SiteError> {
        match view.phase {
            Phase::Announced if !view.caller_joined => self.join(admitted, view).await,
            Phase::Collecting if view.caller_joined && !view.caller_accepted => self.deliver(admitted, view).await,
            Phase::Aggregated if view.caller_accepted => self.evaluate(admitted, view).await,
            _ => Ok(()),
        }
    }

    /// Joins a round, if the ledger can bear what it will cost: whoever joins is waited for.
    async fn join(&self, admitted: &Admitted, view: &RoundView) -> Result<(), SiteError> {
        let (site, task) = (Arc::clone(&self.site), Arc::clone(&admitted.task));
        let cost = task.recipe.cost_per_round().ok_or(Refusal::NoNoise)?;
        blocking(move || site.afford(&task, cost)).await?;
        let join = Join {
            round_id: view.round_id.clone(),
            participant_id: self.site.participant_id.clone(),
            task_digest: admitted.digest,
        };
        let signed = self.site.identity.sign(&join)?;
        retry("join", || self.client.join(signed.clone())).await?;
        self.observer.on(&Progress::Joined { round: view.round_id.number });
        Ok(())
    }

    /// Trains, unless this round's update is already prepared, and delivers.
    async fn deliver(&self, admitted: &Admitted, view: &RoundView) -> Result<(), SiteError> {
        let updates = self.updates();
        if updates.receipt(&view.round_id)?.is_some() {
            return Ok(());
        }
        let prepared = match updates.load(&view.round_id)? {
            Some(prepared) => prepared,
            None => self.train(admitted, view).await?,
        };
        self.submit(&view.round_id, prepared).await
    }

    async fn train(&self, admitted: &Admitted, view: &RoundView) -> Result<Prepared, SiteError> {
        let assignment = Assignment {
            round_id: view.round_id.clone(),
            task: Arc::clone(&admitted.task),
            task_digest: admitted.digest,
            checkpoint_digest: view.checkpoint,
            checkpoint: self.params(admitted, view.checkpoint).await?,
        };
        let (records, updates) = (Arc::clone(&self.records), self.updates());
        blocking(move || updates.prepare(&assignment, &records)).await
    }

    async fn submit(&self, round_id: &RoundId, prepared: Prepared) -> Result<(), SiteError> {
        let payload = Bytes::from(prepared.payload.clone());
        let send = || self.client.submit_update(prepared.header.clone(), payload.clone());
        let receipt = retry("submit update", send).await?;
        let (updates, coordinator) = (self.updates(), self.credentials.coordinator_key);
        blocking(move || updates.keep_receipt(&prepared, &receipt, &coordinator)).await?;
        self.observer.on(&Progress::Delivered { round: round_id.number, spent: self.spent().await? });
        Ok(())
    }

    /// Sends an update again whose receipt was lost on the way: the same bytes get the same receipt.
    async fn recover_receipt(&self, round_id: &RoundId) -> Result<(), SiteError> {
        match self.updates().load(round_id)? {
            Some(prepared) => self.submit(round_id, prepared).await,
            None => Ok(()),
        }
    }

    /// Evaluates the candidate on the temporal hold-out, once, and reports noised counts.
    async fn evaluate(&self, admitted: &Admitted, view: &RoundView) -> Result<(), SiteError> {
        self.recover_receipt(&view.round_id).await?;
        let Some(candidate) = view.candidate else { return Ok(()) };
        let evaluations = Evaluations::new(Arc::clone(&self.site));
        if evaluations.is_delivered(&view.round_id)? {
            return Ok(());
        }
        let params = self.params(admitted, candidate).await?;
        let (task, records, round_id) = (Arc::clone(&admitted.task), Arc::clone(&self.records), view.round_id.clone());
        let preparing = evaluations.clone();
        let prepare = move || preparing.prepare(&round_id, &task, candidate, &params, &records);
        let (evaluation, quality) = blocking(prepare).await?;
        retry("submit evaluation", || self.client.submit_evaluation(evaluation.clone())).await?;
        let round_id = view.round_id.clone();
        blocking(move || evaluations.mark_delivered(&round_id)).await?;
        let spent = self.spent().await?;
        self.observer.on(&Progress::Evaluated { round: view.round_id.number, quality, spent });
        Ok(())
    }

    /// Fetches a model's parameters and checks that they are the ones that `expected` names.
    async fn params(&self, admitted: &Admitted, expected: Digest) -> Result<ParamVector, SiteError> {
        let count = admitted.task.model.param_count();
        let bytes = self.bytes(expected, count).await?;
        Ok(ParamVector::from_le_bytes(&bytes, count)?)
    }

    async fn bytes(&self, expected: Digest, count: usize) -> Result<Vec<u8>, SiteError> {
        let bytes = retry("fetch parameters", || self.client.fetch(expected, count.saturating_mul(4))).await?;
        let found = digest(&bytes);
        if found != expected {
            return Err(ReleaseFault::Differs { what: "the fetched vector of parameters", expected, found }.into());
        }
        Ok(bytes)
    }

    async fn fetch_release(&self, admitted: &Admitted, release_id: &ReleaseId) -> Result<ReleaseBundle, SiteError> {
        let fetched = retry("fetch release", || self.client.release(Some(release_id))).await?;
        let release: Release = self.credentials.coordinator_key.open(&fetched.release)?;
        if let Err(error) = self.recover_receipt(&release.round_id).await {
            tracing::warn!(round_id = %release.round_id, %error, "the receipt of the last update is lost");
        }
        let params = self.bytes(release.params, admitted.task.model.param_count()).await?;
        Ok(ReleaseBundle { release: fetched.release, record: fetched.round_record, params })
    }

    /// Installs a release that verifies; a refusal stands in the audit log as well.
    async fn install(&self, admitted: &Admitted, bundle: ReleaseBundle) -> Result<Installed, SiteError> {
        let (site, updates, admitted) = (Arc::clone(&self.site), self.updates(), admitted.clone());
        let coordinator = self.credentials.coordinator_key;
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
                let refused = json!({ "refused": release.release_id, "code": error.code() });
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

    async fn spent(&self) -> Result<Guarantee, SiteError> {
        let site = Arc::clone(&self.site);
        blocking(move || site.ledger.spent()).await
    }

    fn updates(&self) -> Updates {
        Updates::new(Arc::clone(&self.site))
    }
}

/// Whether the round goes on without this site: it came too late for a phase, or its ledger bears no more. The next
/// phase tells how it goes on.
fn is_sat_out(error: &SiteError) -> bool {
    const LATE: [&str; 5] =
        ["round-wrong-phase", "round-not-taking-part", "round-equivocation", "round-other-candidate", "update-stale"];
    match error {
        SiteError::Wire(error) => error.remote_code().is_some_and(|code| LATE.contains(&code)),
        SiteError::Admission(_) | SiteError::Privacy(PrivacyError::BudgetExceeded { .. }) => true,
        _ => false,
    }
}
