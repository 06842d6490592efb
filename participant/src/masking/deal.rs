//! Dealing a secret: a share for each holder, sealed for it alone.

use shared::RoundId;
use shared::masking::label::{Dealt, sealed_share};
use shared::masking::{Element, MaskingOffer};
use shared_crypto::digest;
use shared_crypto::masking::{RoundKey, SealedDealing};
use zeroize::Zeroizing;

use super::Member;
use crate::error::SiteError;

/// What a site brings to a round: its key for it, and the dealing of the key's secret.
pub struct Offer {
    /// The key.
    pub key: RoundKey,
    /// What the signed join says of it.
    pub said: MaskingOffer,
    /// The dealing.
    pub dealing: Vec<u8>,
}

impl Offer {
    /// The key's secret, to be kept where nobody else reads it.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        self.key.to_scalar().to_bytes()
    }
}

impl Member<'_> {
    /// Makes a fresh key for a round, and deals its secret.
    pub fn offer(&self, round_id: &RoundId) -> Result<Offer, SiteError> {
        let key = RoundKey::generate()?;
        let dealing = self.deal(round_id, Dealt::RoundKey, &key)?;
        let said = MaskingOffer { round_key: Element::from(key.public()), dealing: digest(&dealing) };
        Ok(Offer { key, said, dealing })
    }

    /// Deals a secret among the site's circle.
    pub(super) fn deal(&self, round_id: &RoundId, dealt: Dealt, secret: &RoundKey) -> Result<Vec<u8>, SiteError> {
        let (circle, dealer) = (self.circle(), self.participant_id);
        let holder = |holder| Ok((self.agreement_key(holder)?, sealed_share(round_id, dealt, dealer, holder)));
        let holders = circle.holders(dealer).map(holder).collect::<Result<Vec<_>, SiteError>>()?;
        Ok(SealedDealing::deal(secret, circle.threshold(), &holders)?.to_bytes())
    }
}
