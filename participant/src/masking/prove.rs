//! Proving what this site's hidden update is: about how long, and where the task has a root, how it lies to the root's. The
//! update itself is shown to nobody.

use shared::Digest;
use shared::document::SignedDocument;
use shared::masking::{Assurance, Challenge, NormClaim, label};
use shared::update::UpdateHeader;
use shared_crypto::masking::{Commitment, CommitmentKey, NormChallenge, NormProof};
use shared_crypto::{bulk_digest, digest, document_digest};
use shared_wire::{Bytes, ProofRequest};

use super::{MaskingError, Member, Plan, Secrets, same};
use crate::error::SiteError;

/// What a site proves something of.
pub struct Asked<'a> {
    /// The signed header that it delivered its update with.
    pub own: &'a SignedDocument,
    /// The update's masked words.
    pub payload: &'a [u8],
    /// The root's update as little-endian i32 words; empty where the task has no root.
    pub direction: &'a [u8],
}

/// The coordinator's question, checked.
pub struct Question {
    /// What it asks.
    pub said: Challenge,
    /// Its digest.
    pub digest: Digest,
}

impl Member<'_> {
    /// Checks the coordinator's question in a round whose plan was checked.
    pub fn check_challenge(&self, plan: &Plan, document: &SignedDocument) -> Result<Question, SiteError> {
        let said: Challenge = self.coordinator.open(document)?;
        Self::same_round("challenge's round", &plan.said.round_id, &said.round_id)?;
        same("challenge's plan", plan.digest, said.plan)?;
        self.check_beacon(plan, said.beacon)?;
        match &self.terms()?.assurance {
            Assurance::NormProofs { root } if root.is_some() == said.direction.is_some() => {
                Ok(Question { said, digest: document_digest(document) })
            }
            _ => Err(MaskingError::NotAsked.into()),
        }
    }

    /// Proves what this site's update is, whose masks are made of `secrets`.
    pub fn prove(
        &self,
        plan: &Plan,
        question: &Question,
        asked: &Asked<'_>,
        secrets: &Secrets,
    ) -> Result<ProofRequest, SiteError> {
        if let Some(direction) = question.said.direction {
            same("direction", direction, bulk_digest(asked.direction))?;
        }
        let committed = self.unmask(plan, secrets, asked.payload)?;
        let header: UpdateHeader = self.identity.public().open(asked.own)?;
        let masked = header.masked.ok_or(MaskingError::NotMasked)?;
        let commitments = masked.commitments.iter().map(Commitment::try_from).collect::<Result<Vec<_>, _>>()?;
        let direction: Vec<i32> = asked.direction.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect();
        let key = CommitmentKey::shared(self.task.update_len(), self.terms()?.layout());
        let direction = question.said.direction.map(|_| direction.as_slice());
        let challenge = NormChallenge { seed: *question.digest.as_bytes(), direction };
        let label = label::norm_proof(&plan.said.round_id, self.participant_id, question.digest);
        let (values, blindings) = (&committed.values, &committed.blindings);
        let proof = NormProof::prove(&key, &challenge, values, blindings, &commitments, &label)?;
        let measured = proof.claimed();
        let proof = proof.to_bytes();
        let said = NormClaim {
            round_id: plan.said.round_id.clone(),
            participant_id: self.participant_id.clone(),
            challenge: question.digest,
            // No update on the grid has squares that do not fit.
            squares: u64::try_from(measured.squares).unwrap_or(u64::MAX),
            inner: measured.inner,
            proof: digest(&proof),
        };
        Ok(ProofRequest { said: self.identity.sign(&said)?, proof: Bytes::from(proof) })
    }
}
