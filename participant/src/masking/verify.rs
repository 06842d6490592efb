//! Checking what a masked round's updates add up to: against every survivor's commitment, and against the candidate.

use std::collections::{BTreeMap, BTreeSet};

use shared::aggregate::{AggregateError, Inputs, Outputs, RoundStep};
use shared::document::SignedDocument;
use shared::masking::{MaskedSum, MaskingPlan, Survivors};
use shared::round::AcceptedUpdate;
use shared::{Digest, ParamVector, ParticipantId};
use shared_crypto::masking::{Commitment, CommitmentKey, SecretScalar};
use shared_crypto::{BulkWriter, bulk_digest, document_digest};

use super::{MaskingError, Member, same};
use crate::error::SiteError;

/// What the coordinator says of a round's sum: documents that were checked, the sum's own bytes apart.
pub struct Announced {
    /// Its word.
    pub said: MaskedSum,
    /// Each survivor's commitments.
    commitments: Vec<Vec<Commitment>>,
}

/// A sum with the parameters that follow from it.
pub struct Sum<'a> {
    /// Its little-endian i32 words.
    pub words: &'a [u8],
    /// What the round started from.
    pub checkpoint: &'a ParamVector,
    /// Digest of the round's candidate.
    pub candidate: Digest,
}

impl Member<'_> {
    /// Checks what the coordinator says of a round's sum. `agreed` is the digest of the survivors that this site agreed
    /// to, and who it knows to have agreed to them as well; `documents` are the word, the survivors and their headers.
    pub fn check_announced(
        &self,
        plan: &MaskingPlan,
        agreed: (Digest, &BTreeSet<ParticipantId>),
        documents: &[SignedDocument],
    ) -> Result<Announced, SiteError> {
        let Some(([word, survivors], headers)) = documents.split_first_chunk::<2>() else {
            return Err(MaskingError::Count { what: "documents", expected: 2, found: documents.len() }.into());
        };
        let (agreed, by) = agreed;
        let said: MaskedSum = self.coordinator.open(word)?;
        Self::same_round("sum's round", &plan.round_id, &said.round_id)?;
        same("sum's survivors", agreed, said.survivors)?;
        same("survivors", agreed, document_digest(survivors))?;
        let survivors: Survivors = self.coordinator.open(survivors)?;
        let headers = self.open_headers(&survivors, by, headers)?;
        let commitment = |(id, header): (&ParticipantId, &shared::update::UpdateHeader)| {
            let masked = header.masked.as_ref().ok_or(MaskingError::NotMasked)?;
            same("header's plan", survivors.plan, masked.plan)?;
            Self::same_round("header's round", &plan.round_id, &header.round_id)?;
            if header.participant_id != *id {
                return Err(MaskingError::NotInRoster(id.clone()).into());
            }
            Ok(masked.commitments.iter().map(Commitment::try_from).collect::<Result<_, _>>()?)
        };
        let commitments = headers.iter().map(commitment).collect::<Result<_, SiteError>>()?;
        Ok(Announced { said, commitments })
    }

    /// Checks the sum itself: that it is the one that was signed, that the survivors committed to it, and that the
    /// candidate follows from it where the server keeps nothing that this site does not know.
    pub fn check_sum(&self, announced: &Announced, sum: &Sum<'_>) -> Result<(), SiteError> {
        same("sum", announced.said.sum, bulk_digest(sum.words))?;
        let (words, rest) = sum.words.as_chunks();
        let (expected, found) = (self.task.update_len(), words.len());
        if found != expected || !rest.is_empty() {
            return Err(MaskingError::Count { what: "words of the sum", expected, found }.into());
        }
        let values: Vec<i32> = words.iter().map(|word| i32::from_le_bytes(*word)).collect();
        let blindings = announced.said.blindings.iter().map(SecretScalar::try_from).collect::<Result<Vec<_>, _>>()?;
        let key = CommitmentKey::shared(expected, self.terms()?.layout());
        key.verify_sum(&announced.commitments, &values, &blindings).map_err(|_| MaskingError::OtherSum)?;
        if RoundStep::state_len(self.task) > 0 {
            return Ok(());
        }
        let follows = self.candidate_of(&values, announced.commitments.len(), sum.checkpoint)?;
        Ok(same("candidate", follows, sum.candidate)?)
    }

    /// Digest of the candidate that a sum of `updates` updates makes of the checkpoint.
    fn candidate_of(&self, values: &[i32], updates: usize, checkpoint: &ParamVector) -> Result<Digest, SiteError> {
        let read = |start: usize, into: &mut [f32]| {
            let values = checkpoint.as_slice().get(start..).unwrap_or_default();
            into.iter_mut().zip(values).for_each(|(into, value)| *into = *value);
            Ok(())
        };
        let mut candidate = BulkWriter::new();
        let mut write = |block: &[f32]| -> Result<(), AggregateError> {
            candidate.update(&block.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            Ok(())
        };
        let accepted: BTreeMap<ParticipantId, AcceptedUpdate> = BTreeMap::new();
        let step = RoundStep { task: self.task, accepted: &accepted, updates_root: Digest([0; 32]) };
        let (inputs, nothing) = (Inputs { checkpoint: &read, state: None }, &mut |_: &[f32]| Ok(()));
        let mut stepper = step.stepper(inputs, Outputs { candidate: &mut write, state: nothing });
        let mean = self.terms()?.mean(values, updates);
        let made = stepper.push(&mean).and_then(|()| stepper.finish());
        made.map_err(|error| MaskingError::NoCandidate(error.to_string()))?;
        Ok(candidate.finish())
    }
}
