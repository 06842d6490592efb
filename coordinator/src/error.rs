//! Why the coordinator did not do what it was asked, and how that is said over gRPC and HTTP.

use std::sync::Arc;

use policy_as_code::PolicyError;
use shared::aggregate::AggregateError;
use shared::canonical::CanonicalError;
use shared::encoding::EncodingError;
use shared::id::InvalidId;
use shared::params::ParamError;
use shared::round::IllegalTransition;
use shared::store::StoreError;
use shared::task::InvalidTask;
use shared::{Digest, Explain, ReleaseId, RoundId, TaskId};
use shared_audit::AuditError;
use shared_audit::transcript::TranscriptError;
use shared_crypto::{ChunkError, CryptoError};
use shared_privacy::PrivacyError;
use shared_wire::{Code, Status, WireError, refuse};

use crate::enrol::EnrolError;
use crate::intake::IntakeError;
use crate::masking::MaskingError;

/// Why the coordinator did not do what it was asked. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed; shared by all whom one batch served.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// A key, signature or certificate failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The audit log failed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Something has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// A task cannot be run.
    #[error(transparent)]
    Task(#[from] InvalidTask),
    /// An event does not fit the round.
    #[error(transparent)]
    Round(#[from] IllegalTransition),
    /// Numbers are not the parameters they should be.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// Numbers cannot be summed exactly.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The caller may not take part.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// What the caller sent is refused.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// A masked round has no sum.
    #[error(transparent)]
    Masking(#[from] MaskingError),
    /// A text is no identifier.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The gRPC server cannot run.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The accountant cannot say what a task costs.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// There is no such task for this caller.
    #[error("there is no task `{0}`")]
    UnknownTask(TaskId),
    /// There is a task with this id.
    #[error("there already is a task `{0}`")]
    TaskExists(TaskId),
    /// The task takes no more calls.
    #[error("the task `{0}` has ended")]
    TaskEnded(TaskId),
    /// Initial parameters are missing, and zeros would never train.
    #[error("the task's model has hidden layers and no initial parameters")]
    NoInitialParams,
    /// There is no such round, or it has no record yet.
    #[error("there is no round `{0}` with a record")]
    UnknownRound(RoundId),
    /// There is no such release.
    #[error("there is no release{}", .0.as_ref().map(|id| format!(" `{id}`")).unwrap_or_default())]
    UnknownRelease(Option<ReleaseId>),
    /// The updates of a round, or what it started from, were removed.
    #[error("what round `{0}` was computed from is kept no more")]
    TranscriptGone(RoundId),
    /// A transcript cannot be put together.
    #[error(transparent)]
    Transcript(#[from] TranscriptError),
    /// The release that is to be promoted is the latest.
    #[error("`{0}` is the latest release already")]
    AlreadyLatest(ReleaseId),
    /// There is no release to go back to.
    #[error("there is no release before the latest one")]
    NothingBefore,
    /// None of those who are to be left out has an update in a release.
    #[error("no update of those participants counts in release `{0}`")]
    NothingToLeaveOut(ReleaseId),
    /// A round was not computed again for a release.
    #[error("round {round} was not computed again for release `{release_id}`")]
    NotRecomputed {
        /// Which release.
        release_id: ReleaseId,
        /// Which round.
        round: u32,
    },
    /// Too few updates would be left.
    #[error("round `{round_id}` would keep {left} updates, and its task needs {quorum}")]
    LeavesNoQuorum {
        /// Which round.
        round_id: RoundId,
        /// How many would be left.
        left: usize,
        /// How many are needed.
        quorum: u32,
    },
    /// A body did not come whole, or is too long.
    #[error("the body did not come in: {0}")]
    Upload(String),
    /// There are no such parameters.
    #[error("there are no parameters `{0}`")]
    UnknownParams(Digest),
    /// A page of a list begins nowhere.
    #[error("`{0}` is no place in this list")]
    PageAfter(String),
    /// A reason is missing, or no reason.
    #[error("a reason is one line of 1 to {limit} characters")]
    Reason {
        /// The most characters.
        limit: usize,
    },
    /// A token of the configuration cannot be used.
    #[error("the admin token `{name}`: {reason}")]
    AdminToken {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The policies cannot be worked with.
    #[error(transparent)]
    Policies(#[from] PolicyError),
    /// The policies do not permit it.
    #[error("{what}: {by}")]
    Policy {
        /// Who wanted what.
        what: String,
        /// The policies that refused, with their reasons.
        by: String,
    },
    /// A limit is reached.
    #[error("no more than {limit} {what} at a time")]
    Busy {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u32,
    },
    /// The process is about to end, or the task's driver is being restarted.
    #[error("the coordinator is stopping or recovering")]
    Unavailable,
    /// What the store holds is not what was written.
    #[error("an entry of `{tree}` cannot be read: {reason}")]
    Damaged {
        /// Where.
        tree: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written; shared by all whom it concerns.
    #[error("`{path}` in the data folder: {source}")]
    Disk {
        /// Which file or folder.
        path: String,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// Bytes are not the payload of an encoding.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// Bytes are not the chunks that were announced.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The operating system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl Error {
    /// The same error for one more of those whom it concerns.
    pub(crate) fn shared(&self) -> Self {
        match self {
            Self::Store(error) => Self::Store(Arc::clone(error)),
            Self::Disk { path, source } => Self::Disk { path: path.clone(), source: Arc::clone(source) },
            _ => Self::Unavailable,
        }
    }
}

impl Explain for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Crypto(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Canonical(error) => error.code(),
            Self::Task(error) => error.code(),
            Self::Round(error) => error.code(),
            Self::Params(error) => error.code(),
            Self::Aggregate(error) => error.code(),
            Self::Enrol(error) => error.code(),
            Self::Intake(error) => error.code(),
            Self::Masking(error) => error.code(),
            Self::Id(error) => error.code(),
            Self::Wire(error) => error.code(),
            Self::UnknownTask(_) => "task-unknown",
            Self::TaskExists(_) => "task-exists",
            Self::TaskEnded(_) => "task-ended",
            Self::NoInitialParams => "task-no-initial-params",
            Self::UnknownRound(_) => "round-unknown",
            Self::UnknownRelease(_) => "release-unknown",
            Self::TranscriptGone(_) => "transcript-gone",
            Self::Transcript(error) => error.code(),
            Self::Privacy(error) => error.code(),
            Self::AlreadyLatest(_) => "release-already-latest",
            Self::NothingBefore => "release-nothing-before",
            Self::NothingToLeaveOut(_) => "recompute-nothing-to-leave-out",
            Self::NotRecomputed { .. } => "release-not-recomputed",
            Self::LeavesNoQuorum { .. } => "recompute-no-quorum",
            Self::Upload(_) => "params-upload",
            Self::UnknownParams(_) => "params-unknown",
            Self::PageAfter(_) => "page-after",
            Self::Reason { .. } => "reason",
            Self::AdminToken { .. } => "config-admin-token",
            Self::Policies(error) => error.code(),
            Self::Policy { .. } => "policy-refused",
            Self::Busy { .. } => "busy",
            Self::Unavailable => "unavailable",
            Self::Damaged { .. } => "store-damaged",
            Self::Disk { source, .. } if is_full(source) => "disk-full",
            Self::Disk { .. } => "disk",
            Self::Encoding(error) => error.code(),
            Self::Chunk(error) => error.code(),
            Self::System { .. } => "system",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Store(error) => error.hint(),
            Self::Crypto(error) => error.hint(),
            Self::Audit(error) => error.hint(),
            Self::Canonical(error) => error.hint(),
            Self::Task(error) => error.hint(),
            Self::Round(error) => error.hint(),
            Self::Params(error) => error.hint(),
            Self::Aggregate(error) => error.hint(),
            Self::Enrol(error) => error.hint(),
            Self::Intake(error) => error.hint(),
            Self::Masking(error) => error.hint(),
            Self::Id(error) => error.hint(),
            Self::Wire(error) => error.hint(),
            Self::UnknownTask(_) => "list the tasks; a participant sees those whose cohort it is in",
            Self::TaskExists(_) => "choose another task id",
            Self::TaskEnded(_) => "ask for the task's state and release",
            Self::NoInitialParams => "send them with `PUT /api/v1/params`, and name their digest as `initial_params`",
            Self::UnknownRound(_) => "ask for a round that is committed",
            Self::UnknownRelease(_) => "list the releases, or wait for the first",
            Self::TranscriptGone(_) => {
                "raise `limits.transcript_rounds` to keep more rounds; what is gone does not come back"
            }
            Self::Transcript(error) => error.hint(),
            Self::Privacy(error) => error.hint(),
            Self::AlreadyLatest(_) => "there is nothing to do",
            Self::NothingBefore => "promote another release instead",
            Self::NothingToLeaveOut(_) => "look at the accepted updates of the task's rounds",
            Self::NotRecomputed { .. } => "ask for the round's own transcript, under its task",
            Self::LeavesNoQuorum { .. } => "leave fewer participants out, or train anew with another cohort",
            Self::Upload(_) => "send little-endian f32 values of one model, and all of them",
            Self::UnknownParams(_) => "ask for the checkpoint or candidate of a round, or for a release's parameters",
            Self::PageAfter(_) => "give the `next` of the page before as `after`, or leave it out",
            Self::Reason { .. } => "say why, for the audit log and for whoever asks later",
            Self::AdminToken { .. } => "mend `admin.tokens` in the configuration",
            Self::Policies(error) => error.hint(),
            Self::Policy { .. } => {
                "use a token of another role, which the operator lists under `admin.tokens`, or change `governance/` in the \
                 policy repository"
            }
            Self::Busy { .. } => "try again in a moment, or raise the limit in the configuration",
            Self::Unavailable => "try again in a moment",
            Self::Damaged { .. } => "restore the data folder from a backup; do not edit it",
            Self::Disk { source, .. } if is_full(source) => "make room in the data folder; nothing was lost",
            Self::Disk { .. } => "check the disk and the permissions of the data folder; nothing was lost",
            Self::Encoding(error) => error.hint(),
            Self::Chunk(error) => error.hint(),
            Self::System { .. } => "check the path, the address and the permissions",
        }
    }
}

/// What a caller can do about an error, whatever protocol it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Invalid,
    Unauthenticated,
    Denied,
    Missing,
    Conflict,
    Busy,
    Unavailable,
    Internal,
}

impl Error {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Store(error) if matches!(**error, StoreError::Conflict { .. }) => Class::Conflict,
            Self::Audit(AuditError::NoEntry { .. }) => Class::Missing,
            Self::Store(_) | Self::Disk { .. } | Self::Unavailable | Self::Audit(_) => Class::Unavailable,
            Self::Crypto(error) => crypto_class(error),
            Self::Enrol(error) => error.class(),
            Self::Round(_) | Self::TaskExists(_) | Self::TaskEnded(_) => Class::Conflict,
            Self::Intake(error) => error.class(),
            Self::Task(_) | Self::Params(_) | Self::Aggregate(_) | Self::Canonical(_) => Class::Invalid,
            Self::NoInitialParams | Self::Id(_) | Self::PageAfter(_) => Class::Invalid,
            Self::Reason { .. } => Class::Invalid,
            Self::Encoding(_) | Self::Chunk(_) => Class::Invalid,
            Self::AlreadyLatest(_) | Self::NothingBefore => Class::Conflict,
            Self::NothingToLeaveOut(_) | Self::LeavesNoQuorum { .. } | Self::Masking(_) => Class::Conflict,
            Self::Transcript(_) => Class::Internal,
            Self::Privacy(_) | Self::Upload(_) => Class::Invalid,
            Self::UnknownTask(_) | Self::UnknownRound(_) | Self::TranscriptGone(_) => Class::Missing,
            Self::NotRecomputed { .. } => Class::Missing,
            Self::UnknownRelease(_) | Self::UnknownParams(_) => Class::Missing,
            Self::Busy { .. } => Class::Busy,
            Self::Policy { .. } => Class::Denied,
            Self::Wire(_) | Self::Damaged { .. } | Self::System { .. } | Self::AdminToken { .. } => Class::Internal,
            Self::Policies(_) => Class::Internal,
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn crypto_class(error: &CryptoError) -> Class {
    match error {
        CryptoError::WrongSigner { .. } | CryptoError::Signature => Class::Denied,
        CryptoError::PublicKey(_) | CryptoError::Canonical(_) | CryptoError::CertificateRequest(_) => Class::Invalid,
        CryptoError::GroupElement(_) | CryptoError::Scalar => Class::Invalid,
        CryptoError::ShareCommitments { .. } | CryptoError::Dealing { .. } => Class::Invalid,
        CryptoError::Certificate(_) => Class::Denied,
        _ => Class::Internal,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match error.class() {
            Class::Invalid => Code::InvalidArgument,
            Class::Unauthenticated => Code::Unauthenticated,
            Class::Denied => Code::PermissionDenied,
            Class::Missing => Code::NotFound,
            Class::Conflict => Code::FailedPrecondition,
            Class::Busy => Code::ResourceExhausted,
            Class::Unavailable => Code::Unavailable,
            Class::Internal => Code::Internal,
        };
        metrics::counter!("ringfence_refusals_total", "code" => error.code()).increment(1);
        tracing::info!(code = error.code(), %error, "refused");
        refuse(code, &error)
    }
}
