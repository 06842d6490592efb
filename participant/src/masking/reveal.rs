//! Agreeing on who delivered, and revealing what unmasks the sum: of each site one secret or the other, never both.

use std::collections::{BTreeMap, BTreeSet};

use shared::document::SignedDocument;
use shared::masking::label::{Dealt, sealed_share};
use shared::masking::{Agreement, Element, MaskingPlan, Reveal, SEALED_SHARE_BYTES, Survivors, threshold};
use shared::update::UpdateHeader;
use shared::{Digest, ParticipantId, RoundId};
use shared_crypto::document_digest;
use shared_crypto::masking::{SealedDealing, open_share};
use shared_wire::SealedShare;

use super::{MaskingError, Member, same};
use crate::error::SiteError;

impl Member<'_> {
    /// Checks the set of survivors of a round in which this site delivered the update with the signed header `own`.
    pub fn check_survivors(
        &self,
        plan: (&MaskingPlan, Digest),
        own: &SignedDocument,
        document: &SignedDocument,
    ) -> Result<Survivors, SiteError> {
        let (plan, plan_digest) = plan;
        let survivors: Survivors = self.coordinator.open(document)?;
        Self::same_round("survivors' round", &plan.round_id, &survivors.round_id)?;
        same("survivors' plan", plan_digest, survivors.plan)?;
        let Survivors { delivered, dropped, .. } = &survivors;
        let once = |id: &ParticipantId| delivered.contains_key(id) != dropped.contains(id);
        let strangers = delivered.keys().chain(dropped).find(|id| !plan.joined.contains_key(*id));
        if let Some(id) = strangers.or_else(|| plan.joined.keys().find(|id| !once(id))) {
            return Err(MaskingError::NotDisjoint(id.clone()).into());
        }
        if delivered.get(self.participant_id) != Some(&document_digest(own)) {
            return Err(MaskingError::NotDelivered.into());
        }
        // Noise that sites share is sized for the quorum: a coordinator must not get a sum of fewer.
        let quorum = usize::try_from(self.task.quorum).unwrap_or(usize::MAX);
        let (needed, found) = (threshold(self.task.cohort.len()).max(quorum), delivered.len());
        if found < needed {
            return Err(MaskingError::TooFew { what: "survivors", needed, found }.into());
        }
        Ok(survivors)
    }

    /// Agrees to a set of survivors that was checked.
    pub fn agree(&self, survivors: &Survivors, document: &SignedDocument) -> Result<SignedDocument, SiteError> {
        Ok(self.identity.sign(&Agreement {
            round_id: survivors.round_id.clone(),
            participant_id: self.participant_id.clone(),
            survivors: document_digest(document),
        })?)
    }

    /// Reveals this site's shares, once more than two thirds of the cohort have signed the set that it agreed to.
    pub fn reveal(
        &self,
        survivors: (&Survivors, Digest),
        agreements: &[SignedDocument],
        sealed: &[SealedShare],
    ) -> Result<SignedDocument, SiteError> {
        let (survivors, digest) = survivors;
        self.check_agreements(survivors, digest, agreements)?;
        let mut reveal = Reveal {
            round_id: survivors.round_id.clone(),
            participant_id: self.participant_id.clone(),
            survivors: digest,
            shares: BTreeMap::new(),
            unopened: BTreeSet::new(),
        };
        let circle = self.circle();
        let dealers = survivors.delivered.keys().chain(&survivors.dropped);
        let dealers: BTreeSet<_> =
            dealers.filter(|dealer| circle.are_neighbours(dealer, self.participant_id)).collect();
        let sealed: BTreeMap<_, _> = sealed.iter().map(|share| (&share.dealer, &share.sealed)).collect();
        let (expected, found) = (dealers.len(), sealed.len());
        if expected != found {
            return Err(MaskingError::Count { what: "sealed shares", expected, found }.into());
        }
        for dealer in dealers {
            let Some(sealed) = sealed.get(dealer) else { return Err(MaskingError::NotInRoster(dealer.clone()).into()) };
            let delivered = survivors.delivered.contains_key(dealer);
            let dealt = if delivered { Dealt::SelfMask } else { Dealt::RoundKey };
            match self.open_share(&survivors.round_id, dealt, dealer, sealed)? {
                Some(share) => drop(reveal.shares.insert(dealer.clone(), share)),
                None => drop(reveal.unopened.insert(dealer.clone())),
            }
        }
        Ok(self.identity.sign(&reveal)?)
    }

    /// The share that `dealer` sealed for this site; `None` where what was handed out does not open.
    fn open_share(
        &self,
        round_id: &RoundId,
        dealt: Dealt,
        dealer: &ParticipantId,
        sealed: &[u8; SEALED_SHARE_BYTES],
    ) -> Result<Option<Element>, SiteError> {
        let (key, ciphertext) = SealedDealing::split(sealed)?;
        let info = sealed_share(round_id, dealt, dealer, self.participant_id);
        let opened = open_share(&self.agreement.pair_seed(&key, &info), &ciphertext);
        Ok(opened.ok().map(|share| Element::from(*share.to_bytes())))
    }

    /// Whether more than two thirds of the cohort signed this set, each once.
    fn check_agreements(
        &self,
        survivors: &Survivors,
        digest: Digest,
        agreements: &[SignedDocument],
    ) -> Result<(), SiteError> {
        let mut agreed = BTreeSet::new();
        for document in agreements {
            let claimed: Agreement = shared::canonical::decode(document.body.as_bytes())?;
            let agreement: Agreement = self.open(&claimed.participant_id, document)?;
            Self::same_round("agreement's round", &survivors.round_id, &agreement.round_id)?;
            same("agreement's survivors", digest, agreement.survivors)?;
            if survivors.delivered.contains_key(&agreement.participant_id) {
                agreed.insert(agreement.participant_id);
            }
        }
        let (needed, found) = (threshold(self.task.cohort.len()), agreed.len());
        if found < needed {
            return Err(MaskingError::TooFew { what: "agreements", needed, found }.into());
        }
        Ok(())
    }

    /// What each survivor's header says of the secret of its own mask.
    pub(super) fn open_headers(
        &self,
        survivors: &Survivors,
        headers: &[SignedDocument],
    ) -> Result<BTreeMap<ParticipantId, UpdateHeader>, SiteError> {
        let (expected, found) = (survivors.delivered.len(), headers.len());
        if expected != found {
            return Err(MaskingError::Count { what: "headers", expected, found }.into());
        }
        let open = |((id, digest), document): ((&ParticipantId, &Digest), &SignedDocument)| {
            same("header", *digest, document_digest(document))?;
            Ok((id.clone(), self.open(id, document)?))
        };
        survivors.delivered.iter().zip(headers).map(open).collect()
    }
}
