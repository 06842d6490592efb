//! A participant's end of the protocol. Every call is safe to repeat; none is repeated here. Every wait ends: a call that
//! is not answered, a stream that falls silent and a connection that does not answer are errors.

mod link;
mod presence;
mod upload;

use std::time::Duration;

use prost::bytes::Bytes;
use shared::document::SignedDocument;
use shared::task::MAX_COHORT;
use shared::{Digest, ReleaseId, RoundId, TaskId};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Response, Status, Streaming};

use self::link::Link;
pub use self::presence::Presence;
use crate::convert::{self, piece};
use crate::proto::{self, federation_client::FederationClient};
use crate::tls::PemIdentity;
use crate::view::{
    EnrolAnswer, JoinRequest, MaskingStage, ProofRequest, ReleaseBundle, RoundView, SealedShare, TaskView, UpdateOpen,
};
use crate::{MAX_MESSAGE_BYTES, SILENCE, WireError};

/// How long a call may take that is one question and one answer, and how long a transfer may stand still.
const ANSWER: Duration = Duration::from_secs(30);
/// The most tasks that a coordinator may list.
const MAX_TASKS: usize = 10_000;
/// The most documents of a masked round: one of each participant and two of the coordinator.
const MAX_DOCUMENTS: usize = MAX_COHORT + 2;

/// Two connections to the coordinator, each dialled when it is needed and not there: one for parameters and updates, one
/// for everything else, so that no heartbeat waits behind a model. Clones share them.
#[derive(Debug, Clone)]
pub struct Client {
    control: FederationClient<Link>,
    bulk: FederationClient<Link>,
}

impl Client {
    /// Connects to `address` (`https://host:port`), whose certificate must be of `ca_certificate` (PEM).
    ///
    /// Without an identity only [`Client::enrol`] is answered.
    pub async fn connect(
        address: &str,
        ca_certificate: &str,
        identity: Option<PemIdentity<'_>>,
    ) -> Result<Self, WireError> {
        let control = Link::new(address, ca_certificate, identity)?;
        control.sender().await.map_err(|error| WireError::unreachable(&error))?;
        let bulk = Link::new(address, ca_certificate, identity)?;
        Ok(Self { control: calls(control), bulk: calls(bulk) })
    }

    fn control(&self) -> FederationClient<Link> {
        self.control.clone()
    }

    fn bulk(&self) -> FederationClient<Link> {
        self.bulk.clone()
    }

    /// Trades a signed [`shared::enrolment::Enrolment`] for a certificate.
    pub async fn enrol(&self, enrolment: SignedDocument) -> Result<EnrolAnswer, WireError> {
        answer(ANSWER, self.control().enrol(proto::SignedDocument::from(enrolment))).await?.try_into()
    }

    /// Trades a signed `Renewal` for the next certificate; connect anew with it.
    pub async fn renew(&self, renewal: SignedDocument) -> Result<EnrolAnswer, WireError> {
        answer(ANSWER, self.control().renew(proto::SignedDocument::from(renewal))).await?.try_into()
    }

    /// The tasks whose cohort this participant is in.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, WireError> {
        let mut stream = answer(ANSWER, self.control().list_tasks(proto::ListTasksRequest {})).await?;
        let mut tasks = Vec::new();
        while let Some(message) = next(ANSWER, &mut stream).await? {
            if tasks.len() >= MAX_TASKS {
                return Err(WireError::malformed("tasks", format!("more than {MAX_TASKS}")));
            }
            tasks.push(message.try_into()?);
        }
        Ok(tasks)
    }

    /// Watches the rounds of a task, and tells the coordinator what `presence` says as long as the views are kept.
    pub async fn watch(&self, task_id: &TaskId, presence: &Presence) -> Result<RoundViews, WireError> {
        let kept = CancellationToken::new();
        let heartbeats = presence.heartbeats(task_id.clone(), kept.clone());
        let kept = kept.drop_guard();
        let views = answer(SILENCE, self.control().watch_round(heartbeats)).await?;
        Ok(RoundViews { views, _kept: kept })
    }

    /// Joins a round with a signed [`shared::update::Join`].
    pub async fn join(&self, join: JoinRequest) -> Result<(), WireError> {
        answer(ANSWER, self.control().join_round(proto::JoinRequest::from(join))).await.map(drop)
    }

    /// The signed documents of a masked round at a stage.
    pub async fn masking_documents(
        &self,
        round_id: &RoundId,
        stage: MaskingStage,
    ) -> Result<Vec<SignedDocument>, WireError> {
        let (task_id, round) = (round_id.task_id.to_string(), round_id.number.0);
        let request = proto::GetMaskingDocumentsRequest { task_id, round, stage: stage.into() };
        let mut stream = answer(ANSWER, self.control().get_masking_documents(request)).await?;
        let mut documents = Vec::new();
        while let Some(message) = next(ANSWER, &mut stream).await? {
            if documents.len() >= MAX_DOCUMENTS {
                return Err(WireError::malformed("documents", format!("more than {MAX_DOCUMENTS}")));
            }
            documents.push(message.try_into()?);
        }
        Ok(documents)
    }

    /// Sends a signed [`shared::masking::Agreement`].
    pub async fn agree(&self, agreement: SignedDocument) -> Result<(), WireError> {
        answer(ANSWER, self.control().agree(proto::SignedDocument::from(agreement))).await.map(drop)
    }

    /// What was sealed for this participant in a masked round, once enough survivors agreed.
    pub async fn sealed_shares(&self, round_id: &RoundId) -> Result<Vec<SealedShare>, WireError> {
        let (task_id, round) = (round_id.task_id.to_string(), round_id.number.0);
        let request = proto::GetSealedSharesRequest { task_id, round };
        convert::shares(answer(ANSWER, self.control().get_sealed_shares(request)).await?)
    }

    /// Sends a signed [`shared::masking::OpenedUpdate`].
    pub async fn open_update(&self, opened: SignedDocument) -> Result<(), WireError> {
        answer(ANSWER, self.control().open_update(proto::SignedDocument::from(opened))).await.map(drop)
    }

    /// Sends a signed [`shared::masking::NormClaim`] with the proof itself.
    pub async fn prove_update(&self, request: ProofRequest) -> Result<(), WireError> {
        answer(ANSWER, self.control().prove_update(proto::ProofRequest::from(request))).await.map(drop)
    }

    /// Sends a signed [`shared::masking::Reveal`].
    pub async fn reveal(&self, reveal: SignedDocument) -> Result<(), WireError> {
        answer(ANSWER, self.control().reveal(proto::SignedDocument::from(reveal))).await.map(drop)
    }

    /// Sends a signed [`shared::privacy::LedgerShown`].
    pub async fn show_ledger(&self, ledger: SignedDocument) -> Result<(), WireError> {
        answer(ANSWER, self.control().show_ledger(proto::SignedDocument::from(ledger))).await.map(drop)
    }

    /// Sends a signed [`shared::masking::Cosignature`].
    pub async fn cosign(&self, cosignature: SignedDocument) -> Result<(), WireError> {
        answer(ANSWER, self.control().cosign(proto::SignedDocument::from(cosignature))).await.map(drop)
    }

    /// Fetches parameters of exactly `len` bytes into `params`, from where it ends on. The caller checks their digest.
    ///
    /// On an error `params` keeps what came, and the same call goes on from there.
    pub async fn fetch(&self, digest: Digest, len: usize, params: &mut Vec<u8>) -> Result<(), WireError> {
        let offset = u64::try_from(params.len()).unwrap_or(u64::MAX);
        params.reserve_exact(len.saturating_sub(params.len()));
        let request = proto::FetchParamsRequest { digest: digest.as_bytes().to_vec(), offset };
        let mut stream = answer(ANSWER, self.bulk().fetch_params(request)).await?;
        while let Some(message) = next(ANSWER, &mut stream).await? {
            let found = piece(message)?;
            let in_order = usize::try_from(found.offset).is_ok_and(|offset| offset == params.len());
            if !in_order || params.len().saturating_add(found.data.len()) > len {
                let reason = format!("offset {} does not follow {} of {len}", found.offset, params.len());
                return Err(WireError::malformed("chunk", reason));
            }
            params.extend_from_slice(&found.data);
        }
        if params.len() == len { Ok(()) } else { Err(WireError::malformed("params", "ended early")) }
    }

    /// Sends an update: waits for a place, sends `payload` from where the coordinator wants it, and follows how much is
    /// durable with `on_progress(durable, total)`, in bytes.
    ///
    /// The answer is the signed [`shared::update::UpdateReceipt`]: the update is durable.
    pub async fn submit_update(
        &self,
        open: UpdateOpen,
        payload: Bytes,
        on_progress: impl FnMut(u64, u64) + Send,
    ) -> Result<SignedDocument, WireError> {
        upload::submit(self.bulk(), open, payload, on_progress).await
    }

    /// Sends a signed [`shared::update::Evaluation`].
    pub async fn submit_evaluation(&self, evaluation: SignedDocument) -> Result<(), WireError> {
        answer(ANSWER, self.control().submit_evaluation(proto::SignedDocument::from(evaluation))).await.map(drop)
    }

    /// The signed [`shared::release::RoundRecord`] of a committed round.
    pub async fn round_record(&self, round_id: &RoundId) -> Result<SignedDocument, WireError> {
        let request = proto::GetRoundRecordRequest { task_id: round_id.task_id.to_string(), round: round_id.number.0 };
        answer(ANSWER, self.control().get_round_record(request)).await?.try_into()
    }

    /// A release by its id.
    pub async fn release(&self, release_id: &ReleaseId) -> Result<ReleaseBundle, WireError> {
        let request = proto::GetReleaseRequest { release_id: release_id.to_string(), ..Default::default() };
        answer(ANSWER, self.control().get_release(request)).await?.try_into()
    }

    /// The latest release; `None` where there is none yet, or its promotion is the one with the digest `known`.
    pub async fn latest_release(&self, known: Option<Digest>) -> Result<Option<ReleaseBundle>, WireError> {
        let known_promotion = convert::optional_bytes(known);
        let request = proto::GetReleaseRequest { known_promotion, ..Default::default() };
        let found = answer(ANSWER, self.control().get_release(request)).await?;
        let is_empty = found == proto::ReleaseBundle::default();
        (!is_empty).then(|| found.try_into()).transpose()
    }
}

fn calls(link: Link) -> FederationClient<Link> {
    let origin = link.origin();
    FederationClient::with_origin(link, origin)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// The answer to `call`, when it comes within `patience`.
async fn answer<T>(
    patience: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, WireError> {
    let answered = tokio::time::timeout(patience, call).await.map_err(|_| WireError::silent(patience))?;
    Ok(answered?.into_inner())
}

/// The next message of `stream`, when it comes within `patience`.
async fn next<T>(patience: Duration, stream: &mut Streaming<T>) -> Result<Option<T>, WireError> {
    let message = tokio::time::timeout(patience, stream.message()).await;
    Ok(message.map_err(|_| WireError::silent(patience))??)
}

/// A task's rounds as they go on.
#[derive(Debug)]
pub struct RoundViews {
    views: Streaming<proto::RoundView>,
    /// Ends the heartbeats.
    _kept: DropGuard,
}

impl RoundViews {
    /// The next view; `None` when the task has ended. Fails when the coordinator is silent for [`SILENCE`].
    pub async fn next(&mut self) -> Result<Option<RoundView>, WireError> {
        next(SILENCE, &mut self.views).await?.map(RoundView::try_from).transpose()
    }
}
