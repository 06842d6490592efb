//! The operator's word on which release is the latest, as a site obeys it: signed by the operator, and newer than every
//! word before it, so that nobody can show an old one again. It does not look at the release.

use shared::Digest;
use shared::canonical;
use shared::document::SignedDocument;
use shared::release::Promotion;
use shared::store::{Batch, Key, Store};
use shared_crypto::PublicKey;

use crate::error::{ReleaseFault, SiteError};

pub(super) const OBEYED: &str = "release-promotion";

/// A word that a site is to obey.
#[derive(Debug)]
pub struct Word {
    promotion: Promotion,
    document: SignedDocument,
    place: Key,
    /// The last word that was obeyed.
    before: Option<SignedDocument>,
}

/// Each operator counts its words anew.
fn place(operator: &PublicKey) -> Key {
    Key::new(OBEYED, operator.to_string())
}

/// The last word of `operator` that the site obeyed.
pub(super) fn obeyed(store: &dyn Store, operator: &PublicKey) -> Result<Option<SignedDocument>, SiteError> {
    let kept = store.get(&place(operator))?;
    Ok(kept.map(|bytes| canonical::decode(&bytes)).transpose()?)
}

impl Word {
    /// Checks a word; `None` for the one that the site obeys already.
    pub(super) fn hear(
        store: &dyn Store,
        operator: &PublicKey,
        document: SignedDocument,
    ) -> Result<Option<Self>, SiteError> {
        let promotion: Promotion = operator.open(&document)?;
        let before = obeyed(store, operator)?;
        if before.as_ref() == Some(&document) {
            return Ok(None);
        }
        if let Some(before) = &before {
            let (found, obeyed) = (promotion.number, operator.open::<Promotion>(before)?.number);
            if found <= obeyed {
                return Err(ReleaseFault::Replayed { found, obeyed }.into());
            }
        }
        Ok(Some(Self { promotion, document, place: place(operator), before }))
    }

    /// Digest of the signed release that is the latest.
    pub(super) fn release(&self) -> Digest {
        self.promotion.release
    }

    /// Whether the operator went back to this release.
    pub(super) fn goes_back(&self) -> bool {
        self.promotion.rolled_back.is_some()
    }

    /// What the operator signed.
    pub fn document(&self) -> &SignedDocument {
        &self.document
    }

    /// Lets `batch` note that the word is obeyed; the batch applies only if no other one was obeyed meanwhile.
    pub(super) fn obey(&self, batch: Batch) -> Result<Batch, SiteError> {
        let batch = match &self.before {
            Some(before) => batch.expect(self.place.clone(), canonical::encode(before)?),
            None => batch.expect_absent(self.place.clone()),
        };
        Ok(batch.put(self.place.clone(), canonical::encode(&self.document)?))
    }
}
