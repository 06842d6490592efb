//! The keys of other sites, as this site met them first: whoever takes part with it later has the same, or a person has
//! said that it may have others.

use serde::{Deserialize, Serialize};
use shared::masking::{RosterKeys, SecureAggregation};
use shared::store::{Batch, Key, Store};
use shared::{ParticipantId, canonical};

use super::MaskingError;
use crate::error::SiteError;

const TREE: &str = "peer-keys";
/// The most sites whose keys are listed.
const MAX_PEERS: usize = 100_000;

/// Another site and its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its name.
    pub participant_id: ParticipantId,
    /// Its keys.
    pub keys: RosterKeys,
}

/// Checks a roster against this site's `own` keys and the keys of those it has met, and gives what to write so that
/// those whom it meets here are known from now on.
pub fn meet(
    store: &dyn Store,
    own: (&ParticipantId, RosterKeys),
    terms: &SecureAggregation,
) -> Result<Batch, SiteError> {
    let (own_id, own_keys) = own;
    if terms.roster.get(own_id) != Some(&own_keys) {
        return Err(MaskingError::OtherOwnKeys.into());
    }
    let mut batch = Batch::new();
    for (participant_id, keys) in terms.roster.iter().filter(|(id, _)| *id != own_id) {
        match known(store, participant_id)? {
            Some(known) if known != *keys => return Err(MaskingError::KeysChanged(participant_id.clone()).into()),
            Some(_) => {}
            None => batch = batch.put(key(participant_id), canonical::encode(keys)?),
        }
    }
    Ok(batch)
}

/// Everybody this site has met, by name.
pub fn list(store: &dyn Store) -> Result<Vec<Peer>, SiteError> {
    let peer = |(name, keys): (Vec<u8>, Vec<u8>)| {
        let participant_id = ParticipantId::new(String::from_utf8_lossy(&name).into_owned())?;
        Ok(Peer { participant_id, keys: canonical::decode(&keys)? })
    };
    store.scan(TREE, &[], MAX_PEERS)?.into_iter().map(peer).collect()
}

/// Forgets a site's keys: it may come with others the next time.
pub fn forget(store: &dyn Store, participant_id: &ParticipantId) -> Result<(), SiteError> {
    Ok(store.apply(Batch::new().delete(key(participant_id)))?)
}

fn known(store: &dyn Store, participant_id: &ParticipantId) -> Result<Option<RosterKeys>, SiteError> {
    Ok(store.get(&key(participant_id))?.map(|bytes| canonical::decode(&bytes)).transpose()?)
}

fn key(participant_id: &ParticipantId) -> Key {
    Key::new(TREE, participant_id.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::masking::Element;
    use shared_store::MemoryStore;

    use super::*;

    fn site(name: &str) -> ParticipantId {
        ParticipantId::new(name).unwrap()
    }

    fn keys(seed: u8) -> RosterKeys {
        RosterKeys { identity: Element::from([seed; 32]), agreement: Element::from([seed + 100; 32]) }
    }

    fn terms(others: &[(&str, u8)]) -> SecureAggregation {
        let roster: BTreeMap<_, _> = others.iter().map(|(name, seed)| (site(name), keys(*seed))).collect();
        SecureAggregation { clip_norm: 1.0, value_bits: 16, assurance: shared::masking::Assurance::None, roster }
    }

    #[test]
    fn a_site_that_was_met_keeps_its_keys_until_a_person_forgets_them() {
        let store = MemoryStore::default();
        let own = (&site("me"), keys(1));
        let first = terms(&[("me", 1), ("other", 2)]);
        store.apply(meet(&store, own, &first).unwrap()).unwrap();
        assert!(meet(&store, own, &first).unwrap().writes.is_empty());
        let swapped = terms(&[("me", 1), ("other", 3)]);
        let refused = meet(&store, own, &swapped).unwrap_err();
        assert!(matches!(refused, SiteError::Masking(MaskingError::KeysChanged(who)) if who == site("other")));
        assert_eq!(list(&store).unwrap(), vec![Peer { participant_id: site("other"), keys: keys(2) }]);
        forget(&store, &site("other")).unwrap();
        assert_eq!(list(&store).unwrap(), vec![]);
        store.apply(meet(&store, own, &swapped).unwrap()).unwrap();
    }

    #[test]
    fn a_roster_with_other_keys_of_this_site_is_refused() {
        let store = MemoryStore::default();
        for roster in [terms(&[("me", 9), ("other", 2)]), terms(&[("other", 2)])] {
            let refused = meet(&store, (&site("me"), keys(1)), &roster).unwrap_err();
            assert!(matches!(refused, SiteError::Masking(MaskingError::OtherOwnKeys)));
        }
    }
}
