//! What the other side sees of tasks, rounds and releases, as domain types.

use shared::document::SignedDocument;
use shared::{Digest, ReleaseId, RoundId, Timestamp};

pub use crate::proto::Phase;

/// What a new participant needs from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The participant's TLS certificate, PEM.
    pub certificate_pem: String,
    /// The certificate authority of the federation, PEM.
    pub ca_certificate_pem: String,
    /// Signs tasks: 64 hexadecimal digits.
    pub operator_key: String,
    /// Signs receipts, round records and releases: 64 hexadecimal digits.
    pub coordinator_key: String,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Rounds are going on.
    Running,
    /// The last candidate became this release.
    Released(ReleaseId),
    /// The last candidate did not pass the release gates.
    Refused,
    /// The operator ended it.
    Cancelled,
    /// Too many rounds in a row ended without a result.
    Failed,
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
    /// Digest of the candidate's parameters, once it is known.
    pub candidate: Option<Digest>,
    /// When the phase ends whoever is missing; `None` where it waits for nobody.
    pub deadline: Option<Timestamp>,
    /// How many joined.
    pub joined: u32,
    /// How many updates are durable.
    pub accepted: u32,
    /// Whether the one who asks joined this round.
    pub caller_joined: bool,
    /// Whether the update of the one who asks is durable.
    pub caller_accepted: bool,
    /// Where the task stands; a watch ends after a view that is not running.
    pub task_state: TaskState,
    /// How many of the task's rounds are committed.
    pub rounds_done: u32,
    /// The coordinator's clock when it sent this.
    pub sent_at: Timestamp,
}

/// A release and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseBundle {
    /// The signed [`shared::release::Release`].
    pub release: SignedDocument,
    /// The signed [`shared::release::RoundRecord`] of its round.
    pub round_record: SignedDocument,
}
