//! A site's part of a masked round, step by step, without store or connection: what it brings, masks, agrees to and
//! reveals, and what it refuses before each.
//!
//! The coordinator is not trusted with anything here. Whoever calls keeps what these steps make, durably, before it is
//! sent, and makes each of them once a round.

mod deal;
mod error;
mod kept;
mod mask;
mod open;
pub mod peers;
mod plan;
mod prove;
mod reveal;
mod step;
mod verify;

use shared::document::{Document, SignedDocument};
use shared::masking::{RosterKeys, SecureAggregation};
use shared::task::Task;
use shared::{Digest, ParticipantId, RoundId};
use shared_crypto::masking::{AgreementKey, AgreementPublic, Circle};
use shared_crypto::{PublicKey, SigningKey};

pub use deal::Offer;
pub use error::MaskingError;
pub use kept::{Agreed, Kept, KeptRound};
pub use mask::{MaskedUpdate, Secrets};
pub use plan::Plan;
pub use prove::{Asked, Question};
pub use reveal::Revealed;
pub use verify::{Announced, Sum};

use crate::error::SiteError;

/// A site that takes part in a task whose updates are masked.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    /// The task.
    pub task: &'a Task,
    /// Digest of the signed task.
    pub task_digest: Digest,
    /// The site.
    pub participant_id: &'a ParticipantId,
    /// Signs in its name.
    pub identity: &'a SigningKey,
    /// Opens what was sealed for it.
    pub agreement: &'a AgreementKey,
    /// Checks what the coordinator signs.
    pub coordinator: PublicKey,
}

impl Member<'_> {
    fn terms(&self) -> Result<&SecureAggregation, MaskingError> {
        self.task.secure_aggregation.as_ref().ok_or(MaskingError::NotMasked)
    }

    fn circle(&self) -> Circle {
        Circle::new(&self.task.cohort, &self.task_digest)
    }

    fn keys(&self, participant_id: &ParticipantId) -> Result<&RosterKeys, MaskingError> {
        let stranger = || MaskingError::NotInRoster(participant_id.clone());
        self.terms()?.roster.get(participant_id).ok_or_else(stranger)
    }

    fn agreement_key(&self, participant_id: &ParticipantId) -> Result<AgreementPublic, SiteError> {
        Ok(AgreementPublic::try_from(&self.keys(participant_id)?.agreement)?)
    }

    /// What `participant_id` signed, with the key that the roster has of it.
    fn open<T: Document>(&self, participant_id: &ParticipantId, document: &SignedDocument) -> Result<T, SiteError> {
        let key = PublicKey::from_bytes(*self.keys(participant_id)?.identity.as_bytes());
        Ok(key.open(document)?)
    }

    /// Refuses a document of another round.
    fn same_round(what: &'static str, expected: &RoundId, found: &RoundId) -> Result<(), MaskingError> {
        if expected == found {
            return Ok(());
        }
        Err(MaskingError::Differs { what, expected: expected.to_string(), found: found.to_string() })
    }
}

fn same(what: &'static str, expected: Digest, found: Digest) -> Result<(), MaskingError> {
    if expected == found {
        return Ok(());
    }
    Err(MaskingError::Differs { what, expected: expected.to_string(), found: found.to_string() })
}

#[cfg(test)]
mod tests;
