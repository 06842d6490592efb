//! The steps of a masked round with what the site keeps of them: each document is made once, kept before anybody sees it,
//! and the same whenever it is asked for again, also after a restart.

use shared::document::SignedDocument;
use shared::masking::Survivors;
use shared::update::Join;
use shared::{Digest, RoundId};
use shared_crypto::document_digest;
use shared_crypto::masking::RoundKey;
use shared_wire::{Bytes, JoinRequest, ProofRequest, SealedShare};

use super::{Agreed, Asked, Kept, MaskingError, Member, Plan, Question};
use crate::error::SiteError;

impl Member<'_> {
    /// What joins a round.
    pub fn join(&self, kept: &Kept, round_id: &RoundId) -> Result<JoinRequest, SiteError> {
        let kept = match kept.load(round_id)? {
            Some(known) => known,
            None => {
                let offer = self.offer(round_id)?;
                let join = Join {
                    round_id: round_id.clone(),
                    participant_id: self.participant_id.clone(),
                    task_digest: self.task_digest,
                    masking: Some(offer.said.clone()),
                };
                kept.keep_offer(round_id, self.identity.sign(&join)?, &offer)?
            }
        };
        let dealing = Bytes::from(kept.dealing());
        Ok(JoinRequest { join: kept.join, dealing })
    }

    /// The plan of a round, checked, with the key that this site's masks are made with; refused once something was masked
    /// with it.
    pub fn planned(
        &self,
        kept: &Kept,
        round_id: &RoundId,
        checkpoint: Digest,
        documents: &[SignedDocument],
    ) -> Result<(Plan, RoundKey), SiteError> {
        let key = kept.round_key(round_id)?;
        Ok((self.check_plan(round_id, checkpoint, &kept.joined(round_id)?.join, documents)?, key))
    }

    /// The first of the documents, and the plan that the others are, checked.
    fn with_plan<'a>(
        &self,
        kept: &Kept,
        round_id: &RoundId,
        checkpoint: Digest,
        documents: &'a [SignedDocument],
    ) -> Result<(&'a SignedDocument, Plan), SiteError> {
        let (document, plan) = documents.split_first().ok_or(MaskingError::NotPlanned)?;
        Ok((document, self.check_plan(round_id, checkpoint, &kept.joined(round_id)?.join, plan)?))
    }

    /// Opens this site's update of a round, in which it delivered it with the signed header `own`. `documents` are the draw
    /// and what the plan was checked with.
    pub fn open_once(
        &self,
        kept: &Kept,
        round_id: &RoundId,
        checkpoint: Digest,
        own: &SignedDocument,
        documents: &[SignedDocument],
    ) -> Result<SignedDocument, SiteError> {
        let (document, plan) = self.with_plan(kept, round_id, checkpoint, documents)?;
        let draw = self.check_draw(&plan, own, document)?;
        let opened = self.open_update(round_id, draw, &kept.masks(round_id)?)?;
        kept.keep_opened(round_id, opened.clone())?;
        Ok(opened)
    }

    /// The coordinator's question in a round, checked. `documents` are the question and what the plan was checked with.
    pub fn challenged(
        &self,
        kept: &Kept,
        round_id: &RoundId,
        checkpoint: Digest,
        documents: &[SignedDocument],
    ) -> Result<(Plan, Question), SiteError> {
        let (document, plan) = self.with_plan(kept, round_id, checkpoint, documents)?;
        let question = self.check_challenge(&plan, document)?;
        Ok((plan, question))
    }

    /// Proves what this site's update of a round is.
    pub fn prove_once(
        &self,
        kept: &Kept,
        plan: &Plan,
        question: &Question,
        asked: &Asked<'_>,
    ) -> Result<ProofRequest, SiteError> {
        let round_id = &plan.said.round_id;
        if let Some(known) = kept.joined(round_id)?.proven {
            return Ok(known.request());
        }
        let request = self.prove(plan, question, asked, &kept.masks(round_id)?)?;
        kept.keep_proven(round_id, &request)?;
        Ok(request)
    }

    /// Agrees on who delivered in a round, in which this site delivered the update with the signed header `own`.
    /// `documents` are the survivors and what the plan was checked with.
    pub fn agree_once(
        &self,
        kept: &Kept,
        round_id: &RoundId,
        checkpoint: Digest,
        own: &SignedDocument,
        documents: &[SignedDocument],
    ) -> Result<SignedDocument, SiteError> {
        let (document, plan) = self.with_plan(kept, round_id, checkpoint, documents)?;
        let survivors = self.check_survivors((&plan.said, plan.digest), own, document)?;
        let agreement = self.agree(&survivors, document)?;
        let agreed = Agreed { plan: plan.said, survivors: document.clone(), agreement: agreement.clone() };
        kept.keep_agreed(round_id, agreed)?;
        Ok(agreement)
    }

    /// Reveals what unmasks a round's sum.
    pub fn reveal_once(
        &self,
        kept: &Kept,
        round_id: &RoundId,
        agreements: &[SignedDocument],
        sealed: &[SealedShare],
    ) -> Result<SignedDocument, SiteError> {
        let known = kept.joined(round_id)?;
        if let Some(revealed) = known.revealed {
            return Ok(revealed);
        }
        let agreed = known.agreed.ok_or(MaskingError::SecretsGone)?;
        let survivors: Survivors = shared::canonical::decode(agreed.survivors.body.as_bytes())?;
        let revealed = self.reveal((&survivors, document_digest(&agreed.survivors)), agreements, sealed)?;
        let said = revealed.said.clone();
        kept.keep_revealed(round_id, revealed)?;
        Ok(said)
    }
}
