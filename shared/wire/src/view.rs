//! What the two sides tell each other, as domain types. They hold what travels, not what it means.

use prost::bytes::Bytes;
use shared::document::SignedDocument;
use shared::masking::SEALED_SHARE_BYTES;
use shared::{Digest, ParticipantId, ReleaseId, RoundId, Timestamp};

pub use crate::proto::{MaskingStage, Phase};

/// How far an enrolment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolAnswer {
    /// The operator has yet to approve: ask again later.
    Pending,
    /// Enrolled.
    Enrolled(Enrolled),
}

/// What an enrolled participant needs from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The participant's TLS certificate, PEM.
    pub certificate_pem: String,
    /// The certificate authority of the federation, PEM.
    pub ca_certificate_pem: String,
    /// Signs tasks and promotions: 64 hexadecimal digits.
    pub operator_key: String,
    /// Signs receipts, round records and releases: 64 hexadecimal digits.
    pub coordinator_key: String,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Rounds are going on.
    Running,
    /// The operator holds it; it may go on.
    Paused,
    /// The last candidate became this release.
    Released(ReleaseId),
    /// The last candidate did not pass the release gates.
    Refused,
    /// The operator ended it.
    Cancelled,
    /// Too many rounds in a row ended without a result.
    Failed,
}

impl TaskState {
    /// Whether no round will come any more.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

/// A task as its operator signed it, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The signed [`shared::task::Task`].
    pub document: SignedDocument,
    /// Where it stands.
    pub state: TaskState,
    /// How many of its rounds are committed.
    pub rounds_done: u32,
}

/// Where a round stands, as one participant sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundView {
    /// Which round.
    pub round_id: RoundId,
    /// Its phase, never unspecified.
    pub phase: Phase,
    /// Digest of the parameters to train from.
    pub checkpoint: Digest,
    /// Digest of the control variate to train with, where the rule has one.
    pub control: Option<Digest>,
    /// Digest of the candidate's parameters, once it is known.
    pub candidate: Option<Digest>,
    /// When the phase ends whoever is missing; `None` where it waits for nobody.
    pub deadline: Option<Timestamp>,
    /// How many updates the round needs.
    pub quorum: u32,
    /// How many joined.
    pub joined: u32,
    /// How many updates are durable.
    pub accepted: u32,
    /// Whether the one who asks is invited to this round.
    pub invited: bool,
    /// Whether the one who asks joined this round.
    pub caller_joined: bool,
    /// Whether the update of the one who asks is durable.
    pub caller_accepted: bool,
    /// Whether the one who asks has done its part of the present phase of a masked round.
    pub caller_done: bool,
    /// Where the task stands; a watch ends after a view whose task is over.
    pub task_state: TaskState,
    /// How many of the task's rounds are committed.
    pub rounds_done: u32,
    /// The coordinator's clock when it sent this.
    pub sent_at: Timestamp,
}

/// What a participant is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Waits for a round.
    Idle,
    /// Fetches parameters.
    Fetching,
    /// Trains.
    Training,
    /// Sends its update.
    Sending,
    /// Evaluates a candidate.
    Evaluating,
}

/// A participant's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The participant's clock when it sent this.
    pub sent_at: Timestamp,
    /// What it is doing.
    pub activity: Activity,
    /// How far that is, 0 to 100.
    pub percent: u8,
}

/// What joins a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The signed [`shared::update::Join`].
    pub join: SignedDocument,
    /// The dealing of the round key's secret; empty where the round is not masked.
    pub dealing: Bytes,
}

/// A join of a round that is not masked.
impl From<SignedDocument> for JoinRequest {
    fn from(join: SignedDocument) -> Self {
        Self { join, dealing: Bytes::new() }
    }
}

/// What proves what a hidden update is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofRequest {
    /// The signed [`shared::masking::NormClaim`].
    pub said: SignedDocument,
    /// The proof, whose digest the document has.
    pub proof: Bytes,
}

/// A share of a dealer's secret, sealed for the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedShare {
    /// Who dealt it.
    pub dealer: ParticipantId,
    /// The dealing's own key and the ciphertext.
    pub sealed: [u8; SEALED_SHARE_BYTES],
}

/// What opens an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateOpen {
    /// The signed [`shared::update::UpdateHeader`].
    pub header: SignedDocument,
    /// BLAKE3 of each [`crate::CHUNK_BYTES`] of the encoded update, the last of which may be shorter; 1 to
    /// [`crate::MAX_CHUNKS`] of them.
    pub chunk_digests: Vec<Digest>,
    /// The dealing of the secret of a masked update's own mask; empty where it is not masked.
    pub dealing: Bytes,
}

/// A piece of a byte string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// 1 to [`crate::CHUNK_BYTES`] bytes.
    pub data: Bytes,
}

/// One part of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdatePart {
    /// First and once.
    Open(UpdateOpen),
    /// A piece of the encoded update that crosses no multiple of [`crate::CHUNK_BYTES`].
    Piece(Piece),
}

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadProgress {
    /// No place yet.
    Waiting,
    /// All bytes before this one are durable.
    Durable(u64),
    /// The signed [`shared::update::UpdateReceipt`].
    Receipt(SignedDocument),
}

/// A release and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseBundle {
    /// The signed [`shared::release::Release`].
    pub release: SignedDocument,
    /// The signed [`shared::release::RoundRecord`] of its round.
    pub round_record: SignedDocument,
    /// The signed [`shared::release::Promotion`] that makes the release the latest; `None` where it is not.
    pub promotion: Option<SignedDocument>,
    /// The signed [`shared::masking::Cosignature`]s that the coordinator has.
    pub cosignatures: Vec<SignedDocument>,
}
