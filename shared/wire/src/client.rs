//! A participant's end of the protocol. Every call is safe to repeat; none is repeated here.

use std::time::Duration;

use prost::bytes::Bytes;
use shared::document::SignedDocument;
use shared::{Digest, ReleaseId, RoundId, TaskId};
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::convert::{checked, chunks};
use crate::proto::{self, federation_client::FederationClient};
use crate::tls::{PemIdentity, client_tls};
use crate::view::{Enrolled, ReleaseBundle, RoundView, TaskView};
use crate::{MAX_MESSAGE_BYTES, SILENCE, WireError};

const CONNECT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A connection to the coordinator. Clones share it.
#[derive(Debug, Clone)]
pub struct Client(FederationClient<Channel>);

impl Client {
    /// Connects to `address` (`https://host:port`), whose certificate must be of `ca_certificate` (PEM).
    ///
    /// Without an identity only [`Client::enrol`] is answered.
    pub async fn connect(
        address: &str,
        ca_certificate: &str,
        identity: Option<PemIdentity<'_>>,
    ) -> Result<Self, WireError> {
        let endpoint = Endpoint::from_shared(address.to_owned())
            .and_then(|endpoint| endpoint.tls_config(client_tls(ca_certificate, identity)))
            .map_err(|error| WireError::setup(&error))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        let channel = endpoint.connect().await.map_err(|error| WireError::unreachable(&error))?;
        let client = FederationClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self(client))
    }

    /// Trades a signed [`shared::enrolment::Enrolment`] for a certificate.
    pub async fn enrol(&self, enrolment: SignedDocument) -> Result<Enrolled, WireError> {
        let mut client = self.0.clone();
        Ok(client.enrol(proto::SignedDocument::from(enrolment)).await?.into_inner().into())
    }

    /// The tasks whose cohort this participant is in.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, WireError> {
        let mut stream = self.0.clone().list_tasks(proto::ListTasksRequest {}).await?.into_inner();
        let mut tasks = Vec::new();
        while let Some(message) = stream.message().await? {
            tasks.push(message.try_into()?);
        }
        Ok(tasks)
    }

    /// Watches the rounds of a task.
    pub async fn watch(&self, task_id: &TaskId) -> Result<RoundViews, WireError> {
        let request = proto::WatchRoundRequest { task_id: task_id.to_string() };
        Ok(RoundViews(self.0.clone().watch_round(request).await?.into_inner()))
    }

    /// Joins a round with a signed [`shared::update::Join`].
    pub async fn join(&self, join: SignedDocument) -> Result<(), WireError> {
        self.0.clone().join_round(proto::SignedDocument::from(join)).await?;
        Ok(())
    }

    /// Fetches parameters of exactly `len` bytes. The caller checks their digest.
    pub async fn fetch(&self, digest: Digest, len: usize) -> Result<Vec<u8>, WireError> {
        let request = proto::FetchParamsRequest { digest: digest.as_bytes().to_vec() };
        let mut stream = self.0.clone().fetch_params(request).await?.into_inner();
        let mut bytes = Vec::with_capacity(len);
        while let Some(message) = stream.message().await? {
            let (offset, data) = checked(message)?;
            let in_order = usize::try_from(offset).is_ok_and(|offset| offset == bytes.len());
            if !in_order || bytes.len().saturating_add(data.len()) > len {
                return Err(WireError::malformed("chunk", format!("offset {offset} does not follow {}", bytes.len())));
            }
            bytes.extend_from_slice(&data);
        }
        if bytes.len() == len { Ok(bytes) } else { Err(WireError::malformed("params", "ended early")) }
    }

    /// Sends an update: its signed [`shared::update::UpdateHeader`] and the parameters' bytes.
    ///
    /// The answer is the signed [`shared::update::UpdateReceipt`]: the update is durable.
    pub async fn submit_update(&self, header: SignedDocument, params: Bytes) -> Result<SignedDocument, WireError> {
        use proto::update_part::Part;
        let header = Part::Header(header.into());
        let parts = std::iter::once(header).chain(chunks(params).map(Part::Chunk));
        let stream = tokio_stream::iter(parts.map(|part| proto::UpdatePart { part: Some(part) }));
        self.0.clone().submit_update(stream).await?.into_inner().try_into()
    }

    /// Sends a signed [`shared::update::Evaluation`].
    pub async fn submit_evaluation(&self, evaluation: SignedDocument) -> Result<(), WireError> {
        self.0.clone().submit_evaluation(proto::SignedDocument::from(evaluation)).await?;
        Ok(())
    }

    /// The signed [`shared::release::RoundRecord`] of a committed round.
    pub async fn round_record(&self, round_id: &RoundId) -> Result<SignedDocument, WireError> {
        let request = proto::GetRoundRecordRequest { task_id: round_id.task_id.to_string(), round: round_id.number.0 };
        self.0.clone().get_round_record(request).await?.into_inner().try_into()
    }

    /// A release by its id, or the latest.
    pub async fn release(&self, release_id: Option<&ReleaseId>) -> Result<ReleaseBundle, WireError> {
        let request = proto::GetReleaseRequest { release_id: release_id.map(ToString::to_string).unwrap_or_default() };
        self.0.clone().get_release(request).await?.into_inner().try_into()
    }
}

/// A task's rounds as they go on.
#[derive(Debug)]
pub struct RoundViews(Streaming<proto::RoundView>);

impl RoundViews {
    /// The next view; `None` when the task has ended. Fails when the coordinator is silent for [`SILENCE`].
    pub async fn next(&mut self) -> Result<Option<RoundView>, WireError> {
        let silent = |_| WireError::Unreachable { reason: format!("silent for {} s", SILENCE.as_secs()) };
        let message = tokio::time::timeout(SILENCE, self.0.message()).await.map_err(silent)??;
        message.map(RoundView::try_from).transpose()
    }
}
