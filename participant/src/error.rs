//! Everything that can go wrong at a site, with what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use policy_as_code::PolicyError;
use shared::canonical::CanonicalError;
use shared::encoding::EncodingError;
use shared::id::InvalidId;
use shared::params::ParamError;
use shared::store::StoreError;
use shared::task::InvalidTask;
use shared::{Digest, Explain, RoundId};
use shared_audit::AuditError;
use shared_crypto::CryptoError;
use shared_model::ModelError;
use shared_privacy::PrivacyError;
use shared_wire::WireError;

use crate::admit::Refusal;
use crate::collect::CollectError;
use crate::config::InvalidConfig;
use crate::label::LabelError;
use crate::lake::LakeError;
use crate::ledger::LedgerFault;
use crate::masking::MaskingError;
use crate::respond::RespondError;

/// What can go wrong at a site.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The configuration names no site.
    #[error("the configuration has no `participant_id`")]
    Unnamed,
    /// The operating system refused something.
    #[error("could not {doing} `{path}`: {source}", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The HTTP interface failed.
    #[error("the HTTP interface at `{listen}` failed: {source}")]
    Http {
        /// Where it listens.
        listen: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A computation in another thread was interrupted.
    #[error("a computation was interrupted: {0}")]
    Interrupted(tokio::task::JoinError),
    /// The configuration cannot be worked with.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The coordinator signed a receipt for something else than it was sent.
    #[error("the coordinator's receipt is not for the update of round `{0}`")]
    OtherReceipt(RoundId),
    /// The file of a prepared update does not hold what was signed.
    #[error("the prepared update of round `{0}` is damaged")]
    DamagedUpdate(RoundId),
    /// The site has no certificate of a federation.
    #[error("this site is not enrolled in a federation")]
    NotEnrolled,
    /// The operator has not approved this site yet.
    #[error("the operator has not approved this site yet")]
    EnrolmentPending,
    /// The site stays away from a task.
    #[error(transparent)]
    Admission(#[from] Refusal),
    /// A release did not verify, or is not there.
    #[error(transparent)]
    Release(#[from] ReleaseFault),
    /// An input could not be taken in.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// A file of labels is refused.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key, signature or seal failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A document is not canonical.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The audit log failed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The privacy ledger is not the newest one.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    /// Privacy arithmetic or the privacy ledger refused.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// The model or its training failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Parameters have the wrong shape.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// An update could not be encoded.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The site's policies cannot be worked with.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A task cannot be run by anybody.
    #[error(transparent)]
    Task(#[from] InvalidTask),
    /// The coordinator refused, or could not be reached.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An identifier is malformed.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A masked round cannot go on for this site.
    #[error(transparent)]
    Masking(#[from] MaskingError),
    /// There was no response to a detection.
    #[error(transparent)]
    Respond(#[from] RespondError),
}

/// Why a release does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseFault {
    /// A link of the chain from the coordinator's key to the parameters does not hold.
    #[error("{what} is not the one that was promised: expected {expected}, found {found}")]
    Differs {
        /// Which link.
        what: &'static str,
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        found: Digest,
    },
    /// This site's update was acknowledged, but the round's record does not hold it.
    #[error("the round's record lacks this site's acknowledged update")]
    OwnUpdateMissing,
    /// The release is of another round than its record.
    #[error("the release is of round `{release}`, its record of round `{record}`")]
    OtherRound {
        /// The release's round.
        release: RoundId,
        /// The record's round.
        record: RoundId,
    },
    /// The coordinator named a latest release without the operator's word.
    #[error("the operator's promotion of the latest release is missing")]
    NoPromotion,
    /// The operator has said something newer already.
    #[error("the operator's word number {found} is shown again; this site obeys number {obeyed}")]
    Replayed {
        /// The number that was shown.
        found: u64,
        /// The number of the last word that was obeyed.
        obeyed: u64,
    },
    /// The latest release is of a task that this site did not admit.
    #[error("the latest release is of task {0}, which this site did not admit")]
    NotAdmitted(Digest),
    /// Too few sites of a masked task have checked its rounds and said so.
    #[error("{found} sites have cosigned the release, and {needed} must")]
    TooFewCosignatures {
        /// How many must.
        needed: usize,
        /// How many have.
        found: usize,
    },
    /// No release is served yet.
    #[error("no release is served yet")]
    NoneYet,
    /// There is no release before the serving one.
    #[error("there is no release before the serving one")]
    NothingBefore,
}

impl SiteError {
    /// An error of the operating system while `doing` something to `path`.
    pub fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// The code that the coordinator gave, where it refused.
    pub fn remote_code(&self) -> Option<&str> {
        match self {
            Self::Wire(error) => error.remote_code(),
            _ => None,
        }
    }

    /// The error of the part that failed, where it was not this level's own.
    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Unnamed
            | Self::Io { .. }
            | Self::Http { .. }
            | Self::OtherReceipt(_)
            | Self::DamagedUpdate(_)
            | Self::NotEnrolled
            | Self::EnrolmentPending
            | Self::Interrupted(_) => None,
            Self::Config(error) => Some(error),
            Self::Admission(error) => Some(error),
            Self::Release(error) => Some(error),
            Self::Collect(error) => Some(error),
            Self::Label(error) => Some(error),
            Self::Lake(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Crypto(error) => Some(error),
            Self::Canonical(error) => Some(error),
            Self::Audit(error) => Some(error),
            Self::Ledger(error) => Some(error),
            Self::Privacy(error) => Some(error),
            Self::Model(error) => Some(error),
            Self::Params(error) => Some(error),
            Self::Encoding(error) => Some(error),
            Self::Policy(error) => Some(error),
            Self::Task(error) => Some(error),
            Self::Wire(error) => Some(error),
            Self::Id(error) => Some(error),
            Self::Masking(error) => Some(error),
            Self::Respond(error) => Some(error),
        }
    }
}

impl Explain for SiteError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unnamed => "site-unnamed",
            Self::Io { .. } => "site-io",
            Self::Http { .. } => "site-http",
            Self::Interrupted(_) => "site-interrupted",
            Self::OtherReceipt(_) => "site-other-receipt",
            Self::DamagedUpdate(_) => "site-damaged-update",
            Self::NotEnrolled => "site-not-enrolled",
            Self::EnrolmentPending => "enrolment-pending",
            _ => self.inner().map_or("site", Explain::code),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Unnamed => "set `participant_id` in the configuration, or RINGFENCE_PARTICIPANT__PARTICIPANT_ID",
            Self::Io { .. } => "check that the path exists, is writable by this account and has free space",
            Self::Http { .. } => "choose a free address with `http.listen`",
            Self::OtherReceipt(_) => "tell the operator: the update is not acknowledged, and is kept to be sent again",
            Self::DamagedUpdate(_) => {
                "check the disk; the site trains anew in the next round, and what it spent stays spent"
            }
            Self::NotEnrolled => "enrol with the operator's one-time token: `ringfence-participant enrol --help`",
            Self::EnrolmentPending => {
                "ask the operator to approve this site, then enrol again with the same token: the request is kept"
            }
            Self::Interrupted(_) => "restart the participant; what was durable is found again",
            _ => self.inner().map_or("", Explain::hint),
        }
    }
}

impl Explain for ReleaseFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Differs { .. } => "release-differs",
            Self::OtherRound { .. } => "release-other-round",
            Self::OwnUpdateMissing => "release-own-update-missing",
            Self::NoPromotion => "release-promotion-missing",
            Self::Replayed { .. } => "release-promotion-replayed",
            Self::NotAdmitted(_) => "release-task-not-admitted",
            Self::TooFewCosignatures { .. } => "release-too-few-cosignatures",
            Self::NoneYet => "release-none-yet",
            Self::NothingBefore => "release-nothing-before",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Differs { .. } | Self::OtherRound { .. } => {
                "do not serve it; ask the operator for the round's record and compare receipts"
            }
            Self::OwnUpdateMissing => "keep the signed receipt: it proves that the coordinator left the update out",
            Self::TooFewCosignatures { .. } => {
                "wait: it serves once enough sites have checked the sum; where it stays so, ask them what their audit logs refuse"
            }
            Self::NoneYet => "wait for the task's release, or check `ringfence-coordinator release list`",
            Self::NoPromotion => "the site keeps the release that serves; ask the operator to promote one",
            Self::Replayed { .. } => {
                "somebody may be pushing this site back to an older release, or the coordinator was restored from an old \
                 backup: ask the operator; the site keeps the release that serves until a word with a higher number"
            }
            Self::NotAdmitted(_) => {
                "the site keeps the release that serves; look up in the audit log why the task was not admitted"
            }
            Self::NothingBefore => {
                "a site goes back one step at a time, and not to what the operator went back from: wait for the \
                 operator's next word, or ask for `ringfence-coordinator release rollback`"
            }
        }
    }
}
