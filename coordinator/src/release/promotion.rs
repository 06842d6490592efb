//! Which release is the latest, now and before: the operator's signed words, one after the other, never changed.
//!
//! They form a stack: a promotion puts a release on top, a rollback takes the top away. What is on top is the latest.

use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::release::{Promotion, Release};
use shared::store::{Batch, Store};
use shared::{ReleaseId, Timestamp};
use shared_crypto::{PublicKey, SigningKey, document_digest};
use utoipa::ToSchema;

use super::find;
use crate::{Error, durable};

/// Where a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It was never the latest.
    Published,
    /// It is the latest: what participants get who ask for no other.
    Promoted,
    /// It was the latest until a newer one was promoted.
    Superseded,
    /// It was the latest until the operator went back from it.
    RolledBack,
}

/// All promotions and rollbacks, oldest first.
pub(crate) struct History {
    entries: Vec<(Promotion, SignedDocument)>,
}

impl History {
    /// Reads the history, and checks each word of it.
    pub(crate) fn load(store: &dyn Store, operator: PublicKey) -> Result<Self, Error> {
        let entries = store.scan(durable::PROMOTIONS, b"", usize::MAX)?.into_iter().map(|(_, bytes)| {
            let document: SignedDocument = durable::decode(durable::PROMOTIONS, &bytes)?;
            Ok((operator.open(&document)?, document))
        });
        Ok(Self { entries: entries.collect::<Result<_, Error>>()? })
    }

    /// The word that made a release the latest, if it is.
    pub(crate) fn word_for(&self, release_id: &ReleaseId) -> Option<&SignedDocument> {
        self.entries.last().filter(|(promotion, _)| promotion.release_id == *release_id).map(|(_, document)| document)
    }

    /// Where a release stands.
    pub(crate) fn standing(&self, release_id: &ReleaseId) -> Standing {
        let stack = self.stack();
        let was_left = |(promotion, _): &(Promotion, _)| promotion.rolled_back.as_ref() == Some(release_id);
        if stack.last() == Some(&release_id) {
            Standing::Promoted
        } else if stack.contains(&release_id) {
            Standing::Superseded
        } else if self.entries.iter().any(was_left) {
            Standing::RolledBack
        } else {
            Standing::Published
        }
    }

    /// The word that makes `release` the latest, and the batch that stores it.
    pub(crate) fn promote(
        &self,
        release: &Release,
        document: &SignedDocument,
        operator: &SigningKey,
        now: Timestamp,
    ) -> Result<(Promotion, Batch), Error> {
        if self.stack().last() == Some(&&release.release_id) {
            return Err(Error::AlreadyLatest(release.release_id.clone()));
        }
        let promotion = Promotion {
            number: self.next(),
            release_id: release.release_id.clone(),
            release: document_digest(document),
            rolled_back: None,
            promoted_at: now,
        };
        self.batch(promotion, operator)
    }

    /// The word that makes the release before the latest one the latest again, and the batch that stores it.
    pub(crate) fn roll_back(
        &self,
        store: &dyn Store,
        operator: &SigningKey,
        now: Timestamp,
    ) -> Result<(Promotion, Batch), Error> {
        let stack = self.stack();
        let [.., before, latest] = stack.as_slice() else { return Err(Error::NothingBefore) };
        let release = document_digest(&find(store, (*before).clone())?.release);
        let promotion = Promotion {
            number: self.next(),
            release_id: (*before).clone(),
            release,
            rolled_back: Some((*latest).clone()),
            promoted_at: now,
        };
        self.batch(promotion, operator)
    }

    fn next(&self) -> u64 {
        self.entries.last().map_or(1, |(promotion, _)| promotion.number.saturating_add(1))
    }

    /// The releases that one can still go back to, and on top the latest.
    fn stack(&self) -> Vec<&ReleaseId> {
        self.entries.iter().fold(Vec::new(), |mut stack, (promotion, _)| {
            match promotion.rolled_back {
                Some(_) => drop(stack.pop()),
                None => stack.push(&promotion.release_id),
            }
            stack
        })
    }

    fn batch(&self, promotion: Promotion, operator: &SigningKey) -> Result<(Promotion, Batch), Error> {
        let key = durable::promotion(promotion.number);
        let document = durable::encode(&operator.sign(&promotion)?)?;
        let batch = Batch::new()
            .expect_absent(key.clone())
            .put(key, document.as_slice())
            .put(durable::latest_promotion(), document);
        Ok((promotion, batch))
    }
}

#[cfg(test)]
mod tests {
    use shared::Digest;

    use super::*;

    fn id(name: &str) -> ReleaseId {
        ReleaseId::new(name).unwrap()
    }

    /// Promotions of releases by name; `-a` takes `a` back.
    fn history(words: &[&str]) -> History {
        let operator = SigningKey::from_seed(&[1; 32]);
        let mut history = History { entries: Vec::new() };
        for word in words {
            let rolled_back = word.strip_prefix('-').map(id);
            let release_id = match &rolled_back {
                Some(_) => (*history.stack().iter().rev().nth(1).unwrap()).clone(),
                None => id(word),
            };
            let promotion = Promotion {
                number: history.next(),
                release_id,
                release: Digest([0; 32]),
                rolled_back,
                promoted_at: Timestamp::EPOCH,
            };
            let document = operator.sign(&promotion).unwrap();
            history.entries.push((promotion, document));
        }
        history
    }

    #[test]
    fn a_release_is_what_the_last_word_about_it_made_it() {
        let history = history(&["a", "b", "c", "-c", "d", "-d", "-b"]);
        let standings = ["a", "b", "c", "d", "e"].map(|name| history.standing(&id(name)));
        let (left, never) = (Standing::RolledBack, Standing::Published);
        assert_eq!(standings, [Standing::Promoted, left, left, left, never]);
        assert!(history.word_for(&id("a")).is_some() && history.word_for(&id("b")).is_none());
    }

    #[test]
    fn a_superseded_release_can_be_gone_back_to_and_numbers_only_grow() {
        let history = history(&["a", "b"]);
        assert_eq!(history.standing(&id("a")), Standing::Superseded);
        assert_eq!(history.next(), 3);
    }

    #[test]
    fn there_is_no_way_back_from_the_first() {
        let store = shared_store::MemoryStore::default();
        let operator = SigningKey::from_seed(&[1; 32]);
        let refused = history(&["a", "b", "-b"]).roll_back(&store, &operator, Timestamp::EPOCH);
        assert!(matches!(refused, Err(Error::NothingBefore)));
    }
}
