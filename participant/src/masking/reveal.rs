//! Agreeing on who delivered, and revealing what unmasks the sum: of each site one secret or the other, never both.

use std::collections::{BTreeMap, BTreeSet};

use shared::document::SignedDocument;
use shared::masking::label::{Dealt, sealed_share};
use shared::masking::{Agreement, Element, MaskingPlan, Reveal, Survivors, threshold};
use shared::update::UpdateHeader;
use shared::{Digest, ParticipantId, canonical};
use shared_crypto::document_digest;
use shared_crypto::masking::{SealedDealing, open_share};
use shared_wire::SealedShare;

use super::{MaskingError, Member, same};
use crate::error::SiteError;

/// What a site reveals, and whose word it did so on.
pub struct Revealed {
    /// The signed [`Reveal`].
    pub said: SignedDocument,
    /// Who signed the survivors, and with them the digest of its own header.
    pub agreed: BTreeSet<ParticipantId>,
}

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
    ) -> Result<Revealed, SiteError> {
        let (survivors, digest) = survivors;
        let agreed = self.check_agreements(survivors, digest, agreements)?;
        let mut reveal = Reveal {
            round_id: survivors.round_id.clone(),
            participant_id: self.participant_id.clone(),
            survivors: digest,
            shares: BTreeMap::new(),
            unopened: BTreeSet::new(),
        };
        for (dealer, share) in self.open_shares(survivors, sealed)? {
            match share {
                Some(share) => drop(reveal.shares.insert(dealer.clone(), share)),
                None => drop(reveal.unopened.insert(dealer.clone())),
            }
        }
        Ok(Revealed { said: self.identity.sign(&reveal)?, agreed })
    }

    /// The share of each dealer among the survivors' and the dropped that is this site's; `None` where what was handed out
    /// does not open.
    fn open_shares<'a>(
        &self,
        survivors: &'a Survivors,
        sealed: &[SealedShare],
    ) -> Result<Vec<(&'a ParticipantId, Option<Element>)>, SiteError> {
        let circle = self.circle();
        let dealers = survivors.delivered.keys().chain(&survivors.dropped);
        let dealers: BTreeSet<_> =
            dealers.filter(|dealer| circle.are_neighbours(dealer, self.participant_id)).collect();
        let sealed: BTreeMap<_, _> = sealed.iter().map(|share| (&share.dealer, &share.sealed)).collect();
        let (expected, found) = (dealers.len(), sealed.len());
        if expected != found {
            return Err(MaskingError::Count { what: "sealed shares", expected, found }.into());
        }
        let split = |dealer: &&ParticipantId| -> Result<_, SiteError> {
            let sealed = sealed.get(*dealer).ok_or_else(|| MaskingError::NotInRoster((*dealer).clone()))?;
            Ok(SealedDealing::split(sealed)?)
        };
        let sealed = dealers.iter().map(split).collect::<Result<Vec<_>, SiteError>>()?;
        let pairs = self.agreement.agree_all(sealed.iter().map(|(key, _)| key));
        let mut shares = Vec::with_capacity(dealers.len());
        for ((dealer, (_, ciphertext)), pair) in dealers.into_iter().zip(&sealed).zip(pairs) {
            let delivered = survivors.delivered.contains_key(dealer);
            let dealt = if delivered { Dealt::SelfMask } else { Dealt::RoundKey };
            let info = sealed_share(&survivors.round_id, dealt, dealer, self.participant_id);
            let share = open_share(&pair.seed(&info), ciphertext).ok();
            shares.push((dealer, share.map(|share| Element::from(*share.to_bytes()))));
        }
        Ok(shares)
    }

    /// The survivors who signed this set, more than two thirds of the cohort.
    fn check_agreements(
        &self,
        survivors: &Survivors,
        digest: Digest,
        agreements: &[SignedDocument],
    ) -> Result<BTreeSet<ParticipantId>, SiteError> {
        let mut agreed = BTreeSet::new();
        for document in agreements {
            let claimed: Agreement = canonical::decode(document.body.as_bytes())?;
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
        Ok(agreed)
    }

    /// The survivors' headers. Who `agreed` signed the digest of its own among the survivors, having checked that it is its
    /// own: that is its word on the header, whose signature need not be checked as well.
    pub(super) fn open_headers(
        &self,
        survivors: &Survivors,
        agreed: &BTreeSet<ParticipantId>,
        headers: &[SignedDocument],
    ) -> Result<BTreeMap<ParticipantId, UpdateHeader>, SiteError> {
        let (expected, found) = (survivors.delivered.len(), headers.len());
        if expected != found {
            return Err(MaskingError::Count { what: "headers", expected, found }.into());
        }
        let open = |((id, digest), document): ((&ParticipantId, &Digest), &SignedDocument)| {
            same("header", *digest, document_digest(document))?;
            let is_vouched = agreed.contains(id);
            let header =
                if is_vouched { canonical::decode(document.body.as_bytes())? } else { self.open(id, document)? };
            Ok((id.clone(), header))
        };
        survivors.delivered.iter().zip(headers).map(open).collect()
    }
}
