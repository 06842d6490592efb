//! A site at work in a federation: which tasks there are, which of them it admits, and one task from beginning to end.

use std::sync::{Arc, PoisonError, RwLock};

use shared::document::SignedDocument;
use shared::privacy::Guarantee;
use shared::task::Task;
use shared::{Digest, ReleaseId};
use shared_crypto::document_digest;
use shared_wire::client::{Client, Presence};
use shared_wire::{TaskState, TaskView};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Credentials, connect, follower, retry};
use crate::admit::{Terms, admit};
use crate::error::SiteError;
use crate::progress::Observer;
use crate::records::Records;
use crate::site::{Site, blocking};
use crate::update::Updates;

/// A site at work in a federation.
pub struct Membership {
    pub(super) site: Arc<Site>,
    pub(super) records: Arc<Records>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) presence: Presence,
    /// Held while a lost receipt is asked for: the coordinator takes one update at a time of each site.
    pub(super) recovering: Mutex<()>,
    link: RwLock<(Client, Arc<Credentials>)>,
}

/// How a task ended for this site.
pub enum Outcome {
    /// There is a release; whether it serves is for the operator's word to say, see [`super::Latest`].
    Released(ReleaseId),
    /// The task ended without a release.
    Ended(TaskState),
    /// The site was told to stop before the task ended.
    Stopped,
}

/// A task that the site has admitted.
#[derive(Clone)]
pub(super) struct Admitted {
    pub(super) task: Arc<Task>,
    pub(super) digest: Digest,
}

impl Membership {
    /// Connects the site to its federation; it trains on `records`.
    pub async fn connect(
        site: Arc<Site>,
        records: Arc<Records>,
        credentials: Credentials,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, SiteError> {
        let client = connect(&site, &credentials).await?;
        let presence = Presence::new(Arc::clone(&site.clock));
        let link = RwLock::new((client, Arc::new(credentials)));
        Ok(Self { site, records, observer, presence, recovering: Mutex::default(), link })
    }

    /// The tasks that the federation offers and the configuration does not leave out, oldest first.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, SiteError> {
        let (client, operator_key) = (self.client(), self.credentials().operator_key);
        let wanted = &self.site.config.federation.tasks;
        let offered = retry("list tasks", || client.tasks()).await?;
        let mut tasks = Vec::new();
        for view in offered {
            let task: Task = operator_key.open(&view.document)?;
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
        let state = follower::follow(self, &admitted).await?;
        let (updates, task_id) = (self.updates(), admitted.task.task_id.clone());
        if matches!(state, TaskState::Released(_)) {
            self.recover_receipt(&task_id).await;
        }
        blocking(move || updates.end(&task_id)).await?;
        Ok(match state {
            TaskState::Released(release_id) => Outcome::Released(release_id),
            _ => Outcome::Ended(state),
        })
    }

    async fn admit(&self, document: &SignedDocument) -> Result<Admitted, SiteError> {
        let operator_key = self.credentials().operator_key;
        let task: Task = operator_key.open(document)?;
        let admitted = Admitted { task: Arc::new(task), digest: document_digest(document) };
        let (site, records) = (Arc::clone(&self.site), Arc::clone(&self.records));
        let (document, Admitted { task, digest }) = (document.clone(), admitted.clone());
        let work = move || {
            if site.admitted(&digest)?.is_some() {
                return Ok(());
            }
            let policies = site.policies()?.map(|served| served.in_force().engine());
            let terms = Terms {
                limits: &site.config.admission,
                policies: policies.as_deref(),
                encodings: &site.config.federation.encodings,
                ledger: &site.ledger,
                privacy: &site.config.privacy,
                sources: &records.sources,
            };
            let permission = admit(&task, &operator_key, &terms)?;
            site.record_admission(&task, &document, &permission)
        };
        blocking(work).await.map(|()| admitted)
    }

    /// The connection as it is now: what is called on it is not disturbed by a renewal.
    pub(super) fn client(&self) -> Client {
        self.link.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(super) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.link.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    pub(super) fn replace(&self, client: Client, credentials: Credentials) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = (client, Arc::new(credentials));
    }

    pub(super) async fn spent(&self) -> Result<Guarantee, SiteError> {
        let site = Arc::clone(&self.site);
        blocking(move || site.ledger.spent()).await
    }

    pub(super) fn updates(&self) -> Updates {
        Updates::new(Arc::clone(&self.site))
    }
}
