//! The gRPC service: finds out who calls, hands over to the module that knows, and turns errors into statuses.

mod upload;
mod watch;

use std::sync::Arc;

use shared::document::SignedDocument;
use shared::update::{Evaluation, Join};
use shared::{Digest, ReleaseId, RoundId, TaskId};
use shared_wire::server::{Answers, Certificate, Federation, UpdateParts};
use shared_wire::{Bytes, Enrolled, ReleaseBundle, RoundView, Status, TaskView, async_trait};
use tokio::sync::Semaphore;

use self::upload::Senders;
use crate::coordinator::Running;
use crate::enrol::Participant;
use crate::{Coordinator, Error, intake, release};

/// What the federation's participants reach.
pub(crate) struct Rpc {
    coordinator: Arc<Coordinator>,
    uploads: Arc<Semaphore>,
    /// Who is sending an update just now.
    senders: Senders,
}

impl Rpc {
    pub(crate) fn new(coordinator: Arc<Coordinator>) -> Self {
        let uploads =
            usize::try_from(coordinator.limits.uploads.get()).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { uploads: Arc::new(Semaphore::new(uploads)), senders: Senders::default(), coordinator }
    }

    fn caller(&self, certificate: &Certificate) -> Result<Participant, Error> {
        self.coordinator.registry.admit(certificate.as_deref(), self.coordinator.now())
    }

    /// A task whose cohort the caller is in. To all others there is no such task.
    fn task(&self, caller: &Participant, task_id: &TaskId) -> Result<Running, Error> {
        let found = self.coordinator.task(task_id)?;
        let takes_part = found.task.task.cohort.contains(&caller.participant_id);
        if takes_part { Ok(found) } else { Err(Error::UnknownTask(task_id.clone())) }
    }

    async fn take_join(&self, certificate: Certificate, document: SignedDocument) -> Result<(), Error> {
        let caller = self.caller(&certificate)?;
        let join: Join = intake::open(&document, &caller)?;
        let Running { task, handle } = self.task(&caller, &join.round_id.task_id)?;
        let snapshot = handle.snapshot();
        handle.offer(intake::join(&document, &join, &task, &snapshot, self.coordinator.now())?).await
    }

    async fn take_evaluation(&self, certificate: Certificate, document: SignedDocument) -> Result<(), Error> {
        let caller = self.caller(&certificate)?;
        let evaluation: Evaluation = intake::open(&document, &caller)?;
        let handle = self.task(&caller, &evaluation.round_id.task_id)?.handle;
        let snapshot = handle.snapshot();
        handle.offer(intake::evaluation(&document, evaluation, &snapshot, self.coordinator.now())?).await
    }
}

#[async_trait]
impl Federation for Rpc {
    fn admits(&self, caller: &Certificate) -> Result<(), Status> {
        self.caller(caller)?;
        Ok(())
    }

    async fn enrol(&self, enrolment: SignedDocument) -> Result<Enrolled, Status> {
        let enrolled = self.coordinator.blocking(move |coordinator| {
            let keys = &coordinator.keys;
            Ok(Enrolled {
                certificate_pem: coordinator.registry.enrol(&enrolment, &keys.authority, coordinator.now())?,
                ca_certificate_pem: keys.authority.certificate_pem().to_owned(),
                operator_key: coordinator.operator_key().to_string(),
                coordinator_key: coordinator.coordinator_key().to_string(),
            })
        });
        Ok(enrolled.await?)
    }

    async fn tasks(&self, caller: Certificate) -> Result<Vec<TaskView>, Status> {
        let caller = self.caller(&caller)?;
        let tasks = self.coordinator.tasks().into_iter();
        let own = tasks.filter(|running| running.task.task.cohort.contains(&caller.participant_id));
        Ok(own.map(|running| watch::task_view(&running)).collect())
    }

    async fn watch(&self, caller: Certificate, task_id: TaskId) -> Result<Answers<RoundView>, Status> {
        let participant = self.caller(&caller)?;
        let running = self.task(&participant, &task_id)?;
        Ok(watch::views(Arc::clone(&self.coordinator), caller, participant, running.handle))
    }

    async fn join(&self, caller: Certificate, join: SignedDocument) -> Result<(), Status> {
        Ok(self.take_join(caller, join).await?)
    }

    async fn params(&self, caller: Certificate, digest: Digest) -> Result<Bytes, Status> {
        self.caller(&caller)?;
        Ok(self.coordinator.blocking(move |coordinator| coordinator.params(digest)).await?)
    }

    async fn update(&self, caller: Certificate, parts: UpdateParts) -> Result<SignedDocument, Status> {
        upload::receive(self, &caller, parts).await
    }

    async fn evaluation(&self, caller: Certificate, evaluation: SignedDocument) -> Result<(), Status> {
        Ok(self.take_evaluation(caller, evaluation).await?)
    }

    async fn round_record(&self, caller: Certificate, round_id: RoundId) -> Result<SignedDocument, Status> {
        let caller = self.caller(&caller)?;
        self.task(&caller, &round_id.task_id)?;
        Ok(self.coordinator.blocking(move |coordinator| coordinator.round_record(&round_id)).await?)
    }

    async fn release(&self, caller: Certificate, release_id: Option<ReleaseId>) -> Result<ReleaseBundle, Status> {
        self.caller(&caller)?;
        let found =
            self.coordinator.blocking(move |coordinator| release::find(&*coordinator.store, release_id)).await?;
        Ok(ReleaseBundle { release: found.release, round_record: found.round_record })
    }
}
