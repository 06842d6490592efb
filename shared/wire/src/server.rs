//! The coordinator's end of the protocol: a trait in domain types, and the server that calls it.

mod accept;
mod download;
mod heartbeats;
mod seats;
mod service;
mod upload;

use std::pin::Pin;

use prost::bytes::Bytes;
use shared::document::SignedDocument;
use shared::{Digest, ParticipantId, ReleaseId, RoundId, TaskId};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

pub use self::accept::serve;
pub use self::heartbeats::Heartbeats;
pub use self::upload::Upload;
use crate::convert;
pub use crate::tls::ServerIdentity;
use crate::view::{
    EnrolAnswer, JoinRequest, MaskingStage, ProofRequest, ReleaseBundle, RoundView, SealedShare, TaskView, UpdateOpen,
};

/// A stream that a call answers with.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The certificate that a caller showed, DER; `None` for a caller without one.
pub type Certificate = Option<Bytes>;

/// What the coordinator answers. Each call is told which certificate its caller showed, and judges it.
///
/// A call ends where it stands when its caller goes, or is cut off (see [`Gate`]).
#[tonic::async_trait]
pub trait Federation: Send + Sync + 'static {
    /// Trades a signed [`shared::enrolment::Enrolment`] for a certificate.
    async fn enrol(&self, enrolment: SignedDocument) -> Result<EnrolAnswer, Status>;
    /// Trades a signed `Renewal` for the next certificate.
    async fn renew(&self, caller: Certificate, renewal: SignedDocument) -> Result<EnrolAnswer, Status>;
    /// The tasks whose cohort the caller is in.
    async fn tasks(&self, caller: Certificate) -> Result<Vec<TaskView>, Status>;
    /// The present view of a task's round, every change, and the same view again every [`crate::HEARTBEAT`].
    async fn watch(
        &self,
        caller: Certificate,
        task_id: TaskId,
        heartbeats: Heartbeats,
    ) -> Result<Answers<RoundView>, Status>;
    /// Takes a signed [`shared::update::Join`], with what it brings to a masked round.
    async fn join(&self, caller: Certificate, join: JoinRequest) -> Result<(), Status>;
    /// Parameters by digest from byte `offset` on, in parts of any size. The next part is asked for when the last one
    /// has left.
    async fn params(&self, caller: Certificate, digest: Digest, offset: u64) -> Result<Answers<Bytes>, Status>;
    /// Takes an update and answers with the signed [`shared::update::UpdateReceipt`].
    async fn update(&self, caller: Certificate, open: UpdateOpen, upload: Upload) -> Result<SignedDocument, Status>;
    /// The signed documents of a masked round that the caller needs at a stage.
    async fn masking_documents(
        &self,
        caller: Certificate,
        round_id: RoundId,
        stage: MaskingStage,
    ) -> Result<Vec<SignedDocument>, Status>;
    /// Takes a signed [`shared::masking::Agreement`].
    async fn agreement(&self, caller: Certificate, agreement: SignedDocument) -> Result<(), Status>;
    /// What was sealed for the caller.
    async fn sealed_shares(&self, caller: Certificate, round_id: RoundId) -> Result<Vec<SealedShare>, Status>;
    /// Takes a signed [`shared::masking::OpenedUpdate`].
    async fn opened_update(&self, caller: Certificate, opened: SignedDocument) -> Result<(), Status>;
    /// Takes a signed [`shared::masking::NormClaim`] with the proof itself.
    async fn proof(&self, caller: Certificate, request: ProofRequest) -> Result<(), Status>;
    /// Takes a signed [`shared::masking::Reveal`].
    async fn reveal(&self, caller: Certificate, reveal: SignedDocument) -> Result<(), Status>;
    /// Takes a signed [`shared::privacy::LedgerShown`].
    async fn ledger(&self, caller: Certificate, ledger: SignedDocument) -> Result<(), Status>;
    /// Takes a signed [`shared::masking::Cosignature`].
    async fn cosignature(&self, caller: Certificate, cosignature: SignedDocument) -> Result<(), Status>;
    /// Takes a signed [`shared::update::Evaluation`].
    async fn evaluation(&self, caller: Certificate, evaluation: SignedDocument) -> Result<(), Status>;
    /// The signed [`shared::release::RoundRecord`] of a committed round.
    async fn round_record(&self, caller: Certificate, round_id: RoundId) -> Result<SignedDocument, Status>;
    /// A release by its id.
    async fn release(&self, caller: Certificate, release_id: ReleaseId) -> Result<ReleaseBundle, Status>;
    /// The latest release; `None` where there is none yet, or its promotion is the one with the digest `known`.
    async fn latest_release(&self, caller: Certificate, known: Option<Digest>)
    -> Result<Option<ReleaseBundle>, Status>;
}

/// Who may stay connected.
pub trait Gate: Send + Sync + 'static {
    /// Whose certificate (DER) this is, as long as it is admitted. Asked for every connection, and again at every change.
    fn admits(&self, certificate: &[u8]) -> Option<ParticipantId>;
    /// Changes whenever somebody may be admitted no longer.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// What may be open at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of admitted participants.
    pub connections: usize,
    /// Connections of one participant. A client uses two, and leaves some behind when its network breaks: at least four.
    pub connections_per_participant: usize,
    /// Connections without an admitted certificate, each for half a minute.
    pub guests: usize,
    /// Connections that are not yet past their TLS handshake; more wait in the kernel.
    pub handshakes: usize,
    /// Calls on one connection.
    pub streams_per_connection: u32,
}

/// The parts of `bytes` from `offset` on, as [`Federation::params`] answers. Copies nothing.
pub fn parts(bytes: Bytes, offset: u64) -> Answers<Bytes> {
    Box::pin(tokio_stream::iter(convert::pieces(bytes, offset)).map(|piece| Ok(piece.data)))
}
