//! The calls of a masked round: who asks is found out, and the work is done where it may block.

use shared::RoundId;
use shared::document::SignedDocument;
use shared::masking::{Agreement, NormClaim, OpenedUpdate, Reveal};
use shared_wire::server::Certificate;
use shared_wire::{MaskingStage, ProofRequest, SealedShare};

use super::Rpc;
use crate::coordinator::Running;
use crate::{Error, intake, masking};

impl Rpc {
    pub(super) async fn find_masking_documents(
        &self,
        certificate: Certificate,
        round_id: RoundId,
        stage: MaskingStage,
    ) -> Result<Vec<SignedDocument>, Error> {
        let caller = self.caller(&certificate)?;
        let task = self.task(&caller, &round_id.task_id)?.task;
        let find = move |coordinator: &crate::Coordinator| {
            masking::documents(&coordinator.context, &task.task, &caller.participant_id, &round_id, stage)
        };
        self.coordinator.blocking(find).await
    }

    pub(super) async fn take_agreement(&self, certificate: Certificate, document: SignedDocument) -> Result<(), Error> {
        let caller = self.contributor(&certificate)?;
        let agreement: Agreement = intake::open(&document, &caller)?;
        let Running { task, handle } = self.task(&caller, &agreement.round_id.task_id)?;
        let snapshot = handle.snapshot();
        let propose = move |coordinator: &crate::Coordinator| {
            masking::agreement(&coordinator.context, &task.task, &document, &agreement, &snapshot)
        };
        handle.offer(self.coordinator.blocking(propose).await?).await
    }

    pub(super) async fn find_sealed_shares(
        &self,
        certificate: Certificate,
        round_id: RoundId,
    ) -> Result<Vec<SealedShare>, Error> {
        let caller = self.contributor(&certificate)?;
        let Running { task, handle } = self.task(&caller, &round_id.task_id)?;
        let snapshot = handle.snapshot();
        let find = move |coordinator: &crate::Coordinator| {
            masking::sealed_shares(&coordinator.context, &task.task, &snapshot.state, &caller.participant_id)
        };
        self.coordinator.blocking(find).await
    }

    pub(super) async fn take_opened_update(
        &self,
        certificate: Certificate,
        document: SignedDocument,
    ) -> Result<(), Error> {
        let caller = self.contributor(&certificate)?;
        let opened: OpenedUpdate = intake::open(&document, &caller)?;
        let Running { task, handle } = self.task(&caller, &opened.round_id.task_id)?;
        let snapshot = handle.snapshot();
        let propose = move |coordinator: &crate::Coordinator| {
            masking::opened(&coordinator.context, &task.task, &document, &opened, &snapshot)
        };
        handle.offer(self.coordinator.blocking(propose).await?).await
    }

    pub(super) async fn take_proof(&self, certificate: Certificate, request: ProofRequest) -> Result<(), Error> {
        let caller = self.contributor(&certificate)?;
        let said: NormClaim = intake::open(&request.said, &caller)?;
        let Running { task, handle } = self.task(&caller, &said.round_id.task_id)?;
        let snapshot = handle.snapshot();
        let propose = move |coordinator: &crate::Coordinator| {
            masking::proven(&coordinator.context, &task.task, &request, &said, &snapshot)
        };
        handle.offer(self.coordinator.blocking(propose).await?).await
    }

    pub(super) async fn take_reveal(&self, certificate: Certificate, document: SignedDocument) -> Result<(), Error> {
        let caller = self.contributor(&certificate)?;
        let reveal: Reveal = intake::open(&document, &caller)?;
        let Running { task, handle } = self.task(&caller, &reveal.round_id.task_id)?;
        let snapshot = handle.snapshot();
        let propose = move |coordinator: &crate::Coordinator| {
            masking::reveal(&coordinator.context, &task.task, &document, &reveal, &snapshot)
        };
        handle.offer(self.coordinator.blocking(propose).await?).await
    }
}
