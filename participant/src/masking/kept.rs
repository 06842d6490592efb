//! What a site keeps of masked rounds: the secret of its round key until its update is masked, sealed; where the task may
//! ask it to show its update, what the masks are made of until it agrees, sealed; what it signed, so that it never signs
//! anything else; and that it checked a sum.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::masking::MaskingPlan;
use shared::store::{Batch, Key, Store};
use shared::{ParticipantId, RoundId, canonical};
use shared_crypto::SealKey;
use shared_crypto::masking::{RoundKey, SecretScalar};
use shared_wire::{Bytes, ProofRequest};
use zeroize::Zeroizing;

use super::{MaskingError, Offer, Revealed, Secrets};
use crate::error::SiteError;

const TREE: &str = "masked-round";

/// What a site keeps of a masked round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptRound {
    /// The signed join.
    pub join: SignedDocument,
    /// The dealing that belongs to it, in hexadecimal digits.
    pub dealing: String,
    /// The sealed secret of the round key, in hexadecimal digits; gone once the update is masked.
    secret: Option<String>,
    /// The sealed secrets that the masks on its update are made of, in hexadecimal digits, as long as the site may be asked to
    /// open it or to prove what it is.
    masks: Option<String>,
    /// The secrets with which the site opened its update.
    pub opened: Option<SignedDocument>,
    /// What the site proved of its update, as long as it may be asked for it.
    pub proven: Option<Proven>,
    /// The plan and the survivors that the site agreed to, and what it said then.
    pub agreed: Option<Agreed>,
    /// What the site revealed.
    pub revealed: Option<SignedDocument>,
    /// Who signed the survivors that the site agreed to, before it revealed anything.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub agreed_by: BTreeSet<ParticipantId>,
    /// Whether the site checked the sum.
    pub verified: bool,
}

/// What a site agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreed {
    /// The round's plan.
    pub plan: MaskingPlan,
    /// The survivors, as the coordinator signed them.
    pub survivors: SignedDocument,
    /// The site's own word.
    pub agreement: SignedDocument,
}

/// The masked rounds of a site, in its store.
#[derive(Clone)]
pub struct Kept {
    store: Arc<dyn Store>,
    seal: Arc<SealKey>,
}

/// What a site proved of its update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// The signed [`shared::masking::NormClaim`].
    said: SignedDocument,
    /// The proof in hexadecimal digits.
    proof: String,
}

impl Proven {
    /// What to send.
    pub(super) fn request(self) -> ProofRequest {
        // It was encoded by this site.
        ProofRequest { said: self.said, proof: Bytes::from(hex::decode(self.proof).unwrap_or_default()) }
    }
}

impl Kept {
    /// The rounds kept in `store`, their secrets sealed with `seal`.
    pub fn new(store: Arc<dyn Store>, seal: Arc<SealKey>) -> Self {
        Self { store, seal }
    }

    /// What is kept of a round.
    pub fn load(&self, round_id: &RoundId) -> Result<Option<KeptRound>, SiteError> {
        let bytes = self.store.get(&key(round_id))?;
        Ok(bytes.map(|bytes| canonical::decode(&bytes)).transpose()?)
    }

    /// As [`Self::load`], of a round that this site joined.
    pub fn joined(&self, round_id: &RoundId) -> Result<KeptRound, SiteError> {
        Ok(self.load(round_id)?.ok_or(MaskingError::SecretsGone)?)
    }

    /// Keeps what a site brings to a round, before it is sent.
    pub fn keep_offer(&self, round_id: &RoundId, join: SignedDocument, offer: &Offer) -> Result<KeptRound, SiteError> {
        let secret = self.seal.seal(&round_id.to_string(), offer.secret().as_slice())?;
        let kept = KeptRound {
            join,
            dealing: hex::encode(&offer.dealing),
            secret: Some(hex::encode(secret)),
            masks: None,
            opened: None,
            proven: None,
            agreed: None,
            revealed: None,
            agreed_by: BTreeSet::new(),
            verified: false,
        };
        let key = key(round_id);
        self.store.apply(Batch::new().expect_absent(key.clone()).put(key, canonical::encode(&kept)?))?;
        Ok(kept)
    }

    /// The round key, as long as nothing was masked with it.
    pub fn round_key(&self, round_id: &RoundId) -> Result<RoundKey, SiteError> {
        let [secret] = self.open(round_id, self.joined(round_id)?.secret)?;
        Ok(RoundKey::from_scalar(secret))
    }

    /// What the masks on the site's update are made of, as long as it may be asked to show the update.
    pub fn masks(&self, round_id: &RoundId) -> Result<Secrets, SiteError> {
        let [round_key, self_mask] = self.open(round_id, self.joined(round_id)?.masks)?;
        Ok(Secrets { round_key, self_mask })
    }

    /// Whether the site may still be asked to show its update.
    pub fn has_masks(&self, round_id: &RoundId) -> Result<bool, SiteError> {
        Ok(self.load(round_id)?.is_some_and(|kept| kept.masks.is_some()))
    }

    /// What to write together with a masked update: its round key is used up, so that nothing else is ever masked with it.
    /// `secrets` are kept where the task may ask the site to show its update.
    pub fn used_up(&self, round_id: &RoundId, secrets: Option<&Secrets>) -> Result<(Key, Vec<u8>), SiteError> {
        let seal = |secrets: &Secrets| -> Result<String, SiteError> {
            let bytes = Zeroizing::new([*secrets.round_key.to_bytes(), *secrets.self_mask.to_bytes()].concat());
            Ok(hex::encode(self.seal.seal(&round_id.to_string(), &bytes)?))
        };
        let kept = KeptRound { secret: None, masks: secrets.map(seal).transpose()?, ..self.joined(round_id)? };
        Ok((key(round_id), canonical::encode(&kept)?))
    }

    /// The scalars in what was sealed.
    fn open<const N: usize>(&self, round_id: &RoundId, sealed: Option<String>) -> Result<[SecretScalar; N], SiteError> {
        let sealed = sealed.and_then(|sealed| hex::decode(sealed).ok()).ok_or(MaskingError::SecretsGone)?;
        let bytes = Zeroizing::new(self.seal.open(&round_id.to_string(), &sealed)?);
        let scalars = bytes.as_chunks().0.iter().map(SecretScalar::from_bytes).collect::<Result<Vec<_>, _>>()?;
        Ok(scalars.try_into().map_err(|_| MaskingError::SecretsGone)?)
    }

    /// Keeps what opens the site's update, before it is sent; it opens nothing else in this round.
    pub fn keep_opened(&self, round_id: &RoundId, opened: SignedDocument) -> Result<(), SiteError> {
        self.change(round_id, |kept| once("opening", &mut kept.opened, opened))
    }

    /// Keeps what the site proves of its update, before it is sent; it proves nothing else in this round.
    pub fn keep_proven(&self, round_id: &RoundId, request: &ProofRequest) -> Result<(), SiteError> {
        let proven = Proven { said: request.said.clone(), proof: hex::encode(&request.proof) };
        self.change(round_id, |kept| once("proof", &mut kept.proven, proven))
    }

    /// Keeps what the site agrees to, before it is sent; it agrees to nothing else in this round, and shows its update no
    /// more.
    pub fn keep_agreed(&self, round_id: &RoundId, agreed: Agreed) -> Result<(), SiteError> {
        self.change(round_id, |kept| {
            (kept.masks, kept.proven) = (None, None);
            once("agreement", &mut kept.agreed, agreed)
        })
    }

    /// Keeps what the site reveals, before it is sent; it reveals nothing else in this round.
    pub fn keep_revealed(&self, round_id: &RoundId, revealed: Revealed) -> Result<(), SiteError> {
        self.change(round_id, |kept| {
            kept.agreed_by = revealed.agreed;
            once("reveal", &mut kept.revealed, revealed.said)
        })
    }

    /// Notes that the site checked the round's sum.
    pub fn keep_verified(&self, round_id: &RoundId) -> Result<(), SiteError> {
        self.change(round_id, |kept| {
            kept.verified = true;
            Ok(())
        })
    }

    /// Whether the site checked the round's sum.
    pub fn is_verified(&self, round_id: &RoundId) -> Result<bool, SiteError> {
        Ok(self.load(round_id)?.is_some_and(|kept| kept.verified))
    }

    fn change(
        &self,
        round_id: &RoundId,
        change: impl FnOnce(&mut KeptRound) -> Result<(), MaskingError>,
    ) -> Result<(), SiteError> {
        let before = self.joined(round_id)?;
        let mut after = before.clone();
        change(&mut after)?;
        let key = key(round_id);
        Ok(self.store.apply(
            Batch::new().expect(key.clone(), canonical::encode(&before)?).put(key, canonical::encode(&after)?),
        )?)
    }
}

impl KeptRound {
    /// The dealing's bytes.
    pub fn dealing(&self) -> Vec<u8> {
        hex::decode(&self.dealing).unwrap_or_default()
    }
}

/// Keeps what is said once a round, or finds it kept.
fn once<T: PartialEq>(what: &'static str, kept: &mut Option<T>, said: T) -> Result<(), MaskingError> {
    if kept.as_ref().is_some_and(|known| *known != said) {
        return Err(MaskingError::Twice(what));
    }
    *kept = Some(said);
    Ok(())
}

fn key(round_id: &RoundId) -> Key {
    Key::new(TREE, round_id.to_string())
}
