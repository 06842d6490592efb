//! Each way in which a transcript can fail, with a message of its own.

use std::io;

use shared::canonical::CanonicalError;
use shared::encoding::EncodingError;
use shared::{Digest, Explain, ParticipantId};
use shared_crypto::CryptoError;

use crate::AuditError;

/// Why a transcript does not show what it should.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// The file cannot be read.
    #[error("the transcript cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The container is not one that a coordinator writes.
    #[error("the transcript is malformed at byte {at}: {what}")]
    Archive {
        /// Where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A section is missing, or another stands in its place.
    #[error("the section `{expected}` is missing; `{found}` stands in its place")]
    Section {
        /// What had to come.
        expected: String,
        /// What came.
        found: String,
    },
    /// A document is larger than any that a coordinator writes.
    #[error("the section `{0}` is too large for a document")]
    TooLarge(String),
    /// A document is not in canonical form, or not of its kind.
    #[error("the section `{section}`: {source}")]
    Document {
        /// Where.
        section: String,
        /// What is wrong.
        source: CanonicalError,
    },
    /// Something has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// A signature does not fit, or is of another key.
    #[error("the signature of `{section}`: {source}")]
    Signature {
        /// Where.
        section: String,
        /// What is wrong.
        source: CryptoError,
    },
    /// A key in the transcript is none.
    #[error("the transcript names no {0} that can check signatures")]
    Key(String),
    /// The transcript was made under another key than the one that is trusted.
    #[error("the transcript's {whose} key is not the one that you trust")]
    OtherKey {
        /// Whose key.
        whose: &'static str,
    },
    /// The audit log does not vouch for the record.
    #[error("the audit log's receipt: {0}")]
    Log(#[from] AuditError),
    /// Two parts that have to agree do not.
    #[error("{what} is {found}, and must be {expected}")]
    Differs {
        /// What.
        what: String,
        /// As it must be.
        expected: String,
        /// As it is.
        found: String,
    },
    /// Bytes are not those that were signed.
    #[error("the digest of `{section}` is {found}, not the signed {expected}")]
    Digest {
        /// Where.
        section: String,
        /// What was signed.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// An update's bytes are no update.
    #[error("the update of `{participant_id}`: {source}")]
    Update {
        /// Whose.
        participant_id: ParticipantId,
        /// What is wrong.
        source: EncodingError,
    },
    /// A masked sum does not open the commitments to it.
    #[error("the commitments: {0}")]
    Commitments(String),
    /// The rule has no result for these updates.
    #[error("the aggregate cannot be recomputed: {0}")]
    Aggregate(String),
    /// The recomputed parameters are not those of the record.
    #[error("the recomputed {what} is {found}, not the record's {expected}")]
    Recomputed {
        /// What was recomputed.
        what: &'static str,
        /// What the record says.
        expected: String,
        /// What came out.
        found: String,
    },
    /// The update that was asked for is not in the round.
    #[error("the update of `{participant_id}` is not in this round: {reason}")]
    NotIncluded {
        /// Whose.
        participant_id: ParticipantId,
        /// How it is not.
        reason: String,
    },
}

impl Explain for TranscriptError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "transcript-unreadable",
            Self::Archive { .. } => "transcript-malformed",
            Self::Section { .. } => "transcript-section",
            Self::TooLarge(_) => "transcript-too-large",
            Self::Document { .. } => "transcript-document",
            Self::Canonical(error) => error.code(),
            Self::Signature { .. } => "transcript-signature",
            Self::Key(_) => "transcript-key",
            Self::OtherKey { .. } => "transcript-other-key",
            Self::Log(_) => "transcript-not-logged",
            Self::Differs { .. } => "transcript-differs",
            Self::Digest { .. } => "transcript-digest",
            Self::Update { .. } => "transcript-update",
            Self::Commitments(_) => "transcript-commitments",
            Self::Aggregate(_) => "transcript-aggregate",
            Self::Recomputed { .. } => "transcript-recomputed",
            Self::NotIncluded { .. } => "transcript-not-included",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "check the path and its permissions",
            Self::Archive { .. } | Self::Section { .. } | Self::TooLarge(_) | Self::Document { .. } => {
                "download the transcript again; if it stays so, treat it as forged"
            }
            Self::Canonical(error) => error.hint(),
            Self::OtherKey { .. } => "compare the key with the one that you were given at enrolment, on another way",
            Self::NotIncluded { .. } => {
                "keep your receipt and this transcript: together they show that it was left out"
            }
            Self::Recomputed { .. } | Self::Aggregate(_) | Self::Commitments(_) => {
                "keep the transcript: it shows that the round's result does not follow from its updates"
            }
            _ => "treat the transcript as forged or damaged; keep it as evidence, and ask for another copy",
        }
    }
}
