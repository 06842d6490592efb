//! The coordinator's end of the protocol: a trait in domain types, and the gRPC server that calls it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use prost::bytes::Bytes;
use shared::document::SignedDocument;
use shared::{Digest, ReleaseId, RoundId, TaskId};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::convert::{self, UpdatePart};
use crate::proto::{self, federation_server};
use crate::tls::{PemIdentity, peer_certificate_der, server_tls};
use crate::view::{Enrolled, ReleaseBundle, RoundView, TaskView};
use crate::{MAX_MESSAGE_BYTES, WireError};

const KEEP_ALIVE: Duration = Duration::from_secs(5);
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A stream that a call answers with.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The certificate that a caller showed, DER; `None` for a caller without one.
pub type Certificate = Option<Vec<u8>>;

/// An update on its way in.
pub struct UpdateParts(Streaming<proto::UpdatePart>);

impl UpdateParts {
    /// The next part; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<UpdatePart>, Status> {
        match self.0.message().await? {
            Some(message) => Ok(Some(UpdatePart::try_from(message)?)),
            None => Ok(None),
        }
    }
}

/// What the coordinator answers. Each call is told which certificate its caller showed, and judges it.
#[tonic::async_trait]
pub trait Federation: Send + Sync + 'static {
    /// Whether the caller may (still) take part; asked before every piece of a long answer.
    fn admits(&self, caller: &Certificate) -> Result<(), Status>;
    /// Trades a signed [`shared::enrolment::Enrolment`] for a certificate.
    async fn enrol(&self, enrolment: SignedDocument) -> Result<Enrolled, Status>;
    /// The tasks whose cohort the caller is in.
    async fn tasks(&self, caller: Certificate) -> Result<Vec<TaskView>, Status>;
    /// The present view of a task's round, every change, and heartbeats.
    async fn watch(&self, caller: Certificate, task_id: TaskId) -> Result<Answers<RoundView>, Status>;
    /// Takes a signed [`shared::update::Join`].
    async fn join(&self, caller: Certificate, join: SignedDocument) -> Result<(), Status>;
    /// Parameters by digest.
    async fn params(&self, caller: Certificate, digest: Digest) -> Result<Bytes, Status>;
    /// Takes an update and answers with the signed [`shared::update::UpdateReceipt`].
    async fn update(&self, caller: Certificate, parts: UpdateParts) -> Result<SignedDocument, Status>;
    /// Takes a signed [`shared::update::Evaluation`].
    async fn evaluation(&self, caller: Certificate, evaluation: SignedDocument) -> Result<(), Status>;
    /// The signed [`shared::release::RoundRecord`] of a committed round.
    async fn round_record(&self, caller: Certificate, round_id: RoundId) -> Result<SignedDocument, Status>;
    /// A release by its id, or the latest.
    async fn release(&self, caller: Certificate, release_id: Option<ReleaseId>) -> Result<ReleaseBundle, Status>;
}

/// What one connection may ask for at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Streams and calls at a time on one connection.
    pub streams_per_connection: u32,
}

/// Serves `federation` on `listener` until `stop` resolves; then takes no more calls and finishes those that run.
pub async fn serve<F: Federation>(
    listener: TcpListener,
    federation: Arc<F>,
    identity: PemIdentity<'_>,
    ca_certificate: &str,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Result<(), WireError> {
    let service = federation_server::FederationServer::new(Service(federation))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Server::builder()
        .tls_config(server_tls(identity, ca_certificate).timeout(HANDSHAKE))
        .map_err(|error| WireError::setup(&error))?
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .tcp_nodelay(true)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await
        .map_err(|error| WireError::unreachable(&error))
}

/// Turns messages into domain types and back; nothing else.
struct Service<F>(Arc<F>);

fn split<T>(request: Request<T>) -> (Certificate, T) {
    (peer_certificate_der(&request), request.into_inner())
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl<F: Federation> federation_server::Federation for Service<F> {
    type ListTasksStream = Answers<proto::TaskView>;
    type WatchRoundStream = Answers<proto::RoundView>;
    type FetchParamsStream = Answers<proto::Chunk>;

    async fn enrol(&self, request: Request<proto::SignedDocument>) -> Answer<proto::EnrolResponse> {
        let enrolled = self.0.enrol(request.into_inner().try_into()?).await?;
        Ok(Response::new(enrolled.into()))
    }

    async fn list_tasks(&self, request: Request<proto::ListTasksRequest>) -> Answer<Self::ListTasksStream> {
        let (caller, _) = split(request);
        let views = self.0.tasks(caller).await?;
        Ok(Response::new(Box::pin(tokio_stream::iter(views.into_iter().map(|view| Ok(view.into()))))))
    }

    async fn watch_round(&self, request: Request<proto::WatchRoundRequest>) -> Answer<Self::WatchRoundStream> {
        let (caller, message) = split(request);
        let views = self.0.watch(caller, convert::task_id(message.task_id)?).await?;
        Ok(Response::new(Box::pin(views.map(|view| view.map(Into::into)))))
    }

    async fn join_round(&self, request: Request<proto::SignedDocument>) -> Answer<proto::Ack> {
        let (caller, message) = split(request);
        self.0.join(caller, message.try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn fetch_params(&self, request: Request<proto::FetchParamsRequest>) -> Answer<Self::FetchParamsStream> {
        let (caller, message) = split(request);
        let params = self.0.params(caller.clone(), convert::digest("digest", &message.digest)?).await?;
        let federation = Arc::clone(&self.0);
        let chunks = convert::chunks(params).map(move |chunk| federation.admits(&caller).map(|()| chunk));
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn submit_update(&self, request: Request<Streaming<proto::UpdatePart>>) -> Answer<proto::SignedDocument> {
        let (caller, parts) = split(request);
        Ok(Response::new(self.0.update(caller, UpdateParts(parts)).await?.into()))
    }

    async fn submit_evaluation(&self, request: Request<proto::SignedDocument>) -> Answer<proto::Ack> {
        let (caller, message) = split(request);
        self.0.evaluation(caller, message.try_into()?).await?;
        Ok(Response::new(proto::Ack {}))
    }

    async fn get_round_record(&self, request: Request<proto::GetRoundRecordRequest>) -> Answer<proto::SignedDocument> {
        let (caller, message) = split(request);
        let round_id = convert::round_id(message.task_id, message.round)?;
        Ok(Response::new(self.0.round_record(caller, round_id).await?.into()))
    }

    async fn get_release(&self, request: Request<proto::GetReleaseRequest>) -> Answer<proto::ReleaseBundle> {
        let (caller, message) = split(request);
        let id = Some(message.release_id).filter(|text| !text.is_empty()).map(convert::release_id).transpose()?;
        Ok(Response::new(self.0.release(caller, id).await?.into()))
    }
}
