//! The gRPC service: finds out who calls, hands over to the module that knows, and turns errors into statuses.

mod download;
mod identity;
mod masking;
mod turns;
mod upload;
mod watch;

use std::sync::Arc;

use shared::document::SignedDocument;
use shared::update::{Evaluation, Join};
use shared::{Digest, ReleaseId, RoundId, TaskId};
use shared_wire::server::{Answers, Certificate, Federation, Heartbeats, Upload};
use shared_wire::{
    Bytes, EnrolAnswer, JoinRequest, MaskingStage, ProofRequest, ReleaseBundle, RoundView, SealedShare, Status,
    TaskView, UpdateOpen, async_trait,
};
use tokio::sync::Semaphore;

use self::turns::Turns;
use crate::coordinator::Running;
use crate::enrol::Participant;
use crate::{Coordinator, Error, intake, release};

/// What the federation's participants reach.
pub(crate) struct Rpc {
    coordinator: Arc<Coordinator>,
    /// Places for those who send an update.
    uploads: Turns,
    /// Pieces of parameters that are read at a time.
    downloads: Arc<Semaphore>,
    pieces: Arc<download::Pieces>,
}

fn places(limit: std::num::NonZeroU32) -> Arc<Semaphore> {
    let places = usize::try_from(limit.get()).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))
}

impl Rpc {
    pub(crate) fn new(coordinator: Arc<Coordinator>) -> Self {
        let limits = &coordinator.limits;
        let uploads = Turns::new(limits.uploads, limits.upload_turn());
        Self { uploads, downloads: places(limits.downloads), pieces: Arc::default(), coordinator }
    }

    /// Who may watch, and fetch what is there.
    fn caller(&self, certificate: &Certificate) -> Result<Arc<Participant>, Error> {
        self.coordinator.registry.admit(certificate.as_deref(), self.coordinator.now())
    }

    /// Who may join, send updates and evaluate.
    fn contributor(&self, certificate: &Certificate) -> Result<Arc<Participant>, Error> {
        self.coordinator.registry.admit_contributor(certificate.as_deref(), self.coordinator.now())
    }

    /// A task whose cohort the caller is in. To all others there is no such task.
    fn task(&self, caller: &Participant, task_id: &TaskId) -> Result<Running, Error> {
        let found = self.coordinator.task(task_id)?;
        let takes_part = found.task.task.cohort.contains(&caller.participant_id);
        if takes_part { Ok(found) } else { Err(Error::UnknownTask(task_id.clone())) }
    }

    async fn take_join(&self, certificate: Certificate, request: JoinRequest) -> Result<(), Error> {
        let caller = self.contributor(&certificate)?;
        let join: Join = intake::open(&request.join, &caller)?;
        let Running { task, handle } = self.task(&caller, &join.round_id.task_id)?;
        let snapshot = handle.snapshot();
        handle.offer(intake::join(&self.coordinator.context, &request, &join, &task, &snapshot)?).await
    }

    async fn take_evaluation(&self, certificate: Certificate, document: SignedDocument) -> Result<(), Error> {
        let caller = self.contributor(&certificate)?;
        let evaluation: Evaluation = intake::open(&document, &caller)?;
        let handle = self.task(&caller, &evaluation.round_id.task_id)?.handle;
        let snapshot = handle.snapshot();
        handle.offer(intake::evaluation(&document, evaluation, &snapshot, self.coordinator.now())?).await
    }
}

#[async_trait]
impl Federation for Rpc {
    async fn enrol(&self, enrolment: SignedDocument) -> Result<EnrolAnswer, Status> {
        Ok(self.take_enrolment(enrolment).await?)
    }

    async fn renew(&self, caller: Certificate, renewal: SignedDocument) -> Result<EnrolAnswer, Status> {
        Ok(self.take_renewal(caller, renewal).await?)
    }

    async fn tasks(&self, caller: Certificate) -> Result<Vec<TaskView>, Status> {
        let caller = self.caller(&caller)?;
        let tasks = self.coordinator.tasks().into_iter();
        let own = tasks.filter(|running| running.task.task.cohort.contains(&caller.participant_id));
        Ok(own.map(|running| watch::task_view(&running)).collect())
    }

    async fn watch(
        &self,
        caller: Certificate,
        task_id: TaskId,
        heartbeats: Heartbeats,
    ) -> Result<Answers<RoundView>, Status> {
        let participant = self.caller(&caller)?;
        let running = self.task(&participant, &task_id)?;
        let coordinator = Arc::clone(&self.coordinator);
        Ok(watch::Watch { coordinator, certificate: caller, participant, handle: running.handle }.views(heartbeats))
    }

    async fn join(&self, caller: Certificate, join: JoinRequest) -> Result<(), Status> {
        Ok(self.take_join(caller, join).await?)
    }

    async fn params(&self, caller: Certificate, digest: Digest, offset: u64) -> Result<Answers<Bytes>, Status> {
        self.caller(&caller)?;
        Ok(download::parts(self, digest, offset).await?)
    }

    async fn update(&self, caller: Certificate, open: UpdateOpen, upload: Upload) -> Result<SignedDocument, Status> {
        upload::receive(self, &caller, open, upload).await
    }

    async fn masking_documents(
        &self,
        caller: Certificate,
        round_id: RoundId,
        stage: MaskingStage,
    ) -> Result<Vec<SignedDocument>, Status> {
        Ok(self.find_masking_documents(caller, round_id, stage).await?)
    }

    async fn agreement(&self, caller: Certificate, agreement: SignedDocument) -> Result<(), Status> {
        Ok(self.take_agreement(caller, agreement).await?)
    }

    async fn sealed_shares(&self, caller: Certificate, round_id: RoundId) -> Result<Vec<SealedShare>, Status> {
        Ok(self.find_sealed_shares(caller, round_id).await?)
    }

    async fn opened_update(&self, caller: Certificate, opened: SignedDocument) -> Result<(), Status> {
        Ok(self.take_opened_update(caller, opened).await?)
    }

    async fn proof(&self, caller: Certificate, request: ProofRequest) -> Result<(), Status> {
        Ok(self.take_proof(caller, request).await?)
    }

    async fn reveal(&self, caller: Certificate, reveal: SignedDocument) -> Result<(), Status> {
        Ok(self.take_reveal(caller, reveal).await?)
    }

    async fn ledger(&self, caller: Certificate, ledger: SignedDocument) -> Result<(), Status> {
        let caller = self.contributor(&caller)?;
        let check = move |coordinator: &Coordinator| intake::check_ledger(&coordinator.context, &ledger, &caller);
        Ok(self.coordinator.blocking(check).await?)
    }

    async fn cosignature(&self, caller: Certificate, cosignature: SignedDocument) -> Result<(), Status> {
        let caller = self.contributor(&caller)?;
        Ok(self
            .coordinator
            .blocking(move |coordinator| crate::masking::cosign(coordinator, &cosignature, &caller))
            .await?)
    }

    async fn evaluation(&self, caller: Certificate, evaluation: SignedDocument) -> Result<(), Status> {
        Ok(self.take_evaluation(caller, evaluation).await?)
    }

    async fn round_record(&self, caller: Certificate, round_id: RoundId) -> Result<SignedDocument, Status> {
        let caller = self.caller(&caller)?;
        self.task(&caller, &round_id.task_id)?;
        Ok(self.coordinator.blocking(move |coordinator| coordinator.round_record(&round_id)).await?)
    }

    async fn release(&self, caller: Certificate, release_id: ReleaseId) -> Result<ReleaseBundle, Status> {
        self.caller(&caller)?;
        Ok(self.coordinator.blocking(move |coordinator| release::bundle(coordinator, release_id)).await?)
    }

    async fn latest_release(
        &self,
        caller: Certificate,
        known: Option<Digest>,
    ) -> Result<Option<ReleaseBundle>, Status> {
        self.caller(&caller)?;
        Ok(self.coordinator.blocking(move |coordinator| release::latest_bundle(coordinator, known)).await?)
    }
}
