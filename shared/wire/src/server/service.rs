//! Turns messages into domain types and back; nothing else.

use std::sync::Arc;

use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::download::{self, Chunks};
use super::{Answers, Certificate, Federation, Heartbeats, Upload, upload};
use crate::{convert, proto};

/// The service for the callers of one connection.
pub(super) struct Service<F> {
    pub(super) federation: Arc<F>,
    pub(super) caller: Certificate,
}

type Answer<T> = Result<Response<T>, Status>;

impl<F> Service<F> {
    fn caller(&self) -> Certificate {
        self.caller.clone()
    }
}

#[tonic::async_trait]
impl<F: Federation> proto::federation_server::Federation for Service<F> {
    type ListTasksStream = Answers<proto::TaskView>;
    type WatchRoundStream = Answers<proto::RoundView>;
    type GetMaskingDocumentsStream = Answers<proto::SignedDocument>;
    type FetchParamsStream = Answers<proto::Chunk>;
    type SubmitUpdateStream = Answers<proto::UploadProgress>;

    async fn enrol(&self, request: Request<proto::SignedDocument>) -> Answer<proto::EnrolResponse> {
        let answer = self.federation.enrol(request.into_inner().try_into()?).await?;
        Ok(Response::new(answer.into()))
    }

    async fn renew(&self, request: Request<proto::SignedDocument>) -> Answer<proto::EnrolResponse> {
        let answer = self.federation.renew(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(answer.into()))
    }

    async fn list_tasks(&self, _: Request<proto::ListTasksRequest>) -> Answer<Self::ListTasksStream> {
        let views = self.federation.tasks(self.caller()).await?;
        Ok(Response::new(Box::pin(tokio_stream::iter(views.into_iter().map(|view| Ok(view.into()))))))
    }

    async fn watch_round(&self, request: Request<Streaming<proto::Heartbeat>>) -> Answer<Self::WatchRoundStream> {
        let (task_id, heartbeats) = Heartbeats::open(request.into_inner()).await?;
        let views = self.federation.watch(self.caller(), task_id, heartbeats).await?;
        Ok(Response::new(Box::pin(views.map(|view| view.map(Into::into)))))
    }

    async fn join_round(&self, request: Request<proto::JoinRequest>) -> Answer<proto::Ack> {
        self.federation.join(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn fetch_params(&self, request: Request<proto::FetchParamsRequest>) -> Answer<Self::FetchParamsStream> {
        let request = request.into_inner();
        let digest = convert::digest("digest", &request.digest)?;
        let parts = self.federation.params(self.caller(), digest, request.offset).await?;
        Ok(download::answer(Chunks::new(parts, request.offset)))
    }

    async fn submit_update(&self, request: Request<Streaming<proto::UpdatePart>>) -> Answer<Self::SubmitUpdateStream> {
        let (open, upload) = Upload::open(request.into_inner()).await?;
        let (federation, caller, progress) = (Arc::clone(&self.federation), self.caller(), upload.progress());
        let call = async move { federation.update(caller, open, upload).await };
        Ok(Response::new(upload::run(progress, call)))
    }

    async fn get_masking_documents(
        &self,
        request: Request<proto::GetMaskingDocumentsRequest>,
    ) -> Answer<Self::GetMaskingDocumentsStream> {
        let message = request.into_inner();
        let stage = convert::masking_stage(&message)?;
        let round_id = convert::round_id(message.task_id, message.round)?;
        let documents = self.federation.masking_documents(self.caller(), round_id, stage).await?;
        Ok(Response::new(Box::pin(tokio_stream::iter(documents.into_iter().map(|document| Ok(document.into()))))))
    }

    async fn agree(&self, request: Request<proto::SignedDocument>) -> Answer<proto::Ack> {
        self.federation.agreement(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn get_sealed_shares(&self, request: Request<proto::GetSealedSharesRequest>) -> Answer<proto::SealedShares> {
        let message = request.into_inner();
        let round_id = convert::round_id(message.task_id, message.round)?;
        let shares = self.federation.sealed_shares(self.caller(), round_id).await?;
        Ok(Response::new(proto::SealedShares { shares: shares.into_iter().map(Into::into).collect() }))
    }

    async fn open_update(&self, request: Request<proto::SignedDocument>) -> Answer<proto::Ack> {
        self.federation.opened_update(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn prove_update(&self, request: Request<proto::ProofRequest>) -> Answer<proto::Ack> {
        self.federation.proof(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn reveal(&self, request: Request<proto::SignedDocument>) -> Answer<proto::Ack> {
        self.federation.reveal(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn show_ledger(&self, request: Request<proto::SignedDocument>) -> Answer<proto::Ack> {
        self.federation.ledger(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn cosign(&self, request: Request<proto::SignedDocument>) -> Answer<proto::Ack> {
        self.federation.cosignature(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn submit_evaluation(&self, request: Request<proto::SignedDocument>) -> Answer<proto::Ack> {
        self.federation.evaluation(self.caller(), request.into_inner().try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn get_round_record(&self, request: Request<proto::GetRoundRecordRequest>) -> Answer<proto::SignedDocument> {
        let message = request.into_inner();
        let round_id = convert::round_id(message.task_id, message.round)?;
        Ok(Response::new(self.federation.round_record(self.caller(), round_id).await?.into()))
    }

    async fn get_release(&self, request: Request<proto::GetReleaseRequest>) -> Answer<proto::ReleaseBundle> {
        let proto::GetReleaseRequest { release_id, known_promotion } = request.into_inner();
        let bundle = if release_id.is_empty() {
            let known = convert::optional_digest("known_promotion", &known_promotion)?;
            self.federation.latest_release(self.caller(), known).await?
        } else {
            Some(self.federation.release(self.caller(), convert::release_id(release_id)?).await?)
        };
        Ok(Response::new(bundle.map(Into::into).unwrap_or_default()))
    }
}
