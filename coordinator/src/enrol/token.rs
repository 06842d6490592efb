//! One-time enrolment tokens: 256 random bits, stored as a digest, good for one participant id and a limited time.

use serde::{Deserialize, Serialize};
use shared::store::{Batch, Key, Store};
use shared::{ParticipantId, Timestamp};
use shared_crypto::{PublicKey, SecretText, digest, random_bytes};

use super::EnrolError;
use crate::config::Limits;
use crate::{Error, durable};

/// A token as the operator passes it on. It cannot be shown again.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// Who may enrol with it.
    pub participant_id: ParticipantId,
    /// The token itself, 64 hexadecimal digits.
    pub token: SecretText,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredToken {
    participant_id: ParticipantId,
    expires_at: Timestamp,
    /// Who used it. The same key may use it again, so that a lost answer can be asked for once more.
    used_by: Option<PublicKey>,
}

/// Makes a token, and the batch that stores it and forgets those that expired.
pub(super) fn issue(
    store: &dyn Store,
    participant_id: &ParticipantId,
    limits: &Limits,
    now: Timestamp,
) -> Result<(IssuedToken, Batch), Error> {
    let mut batch = Batch::new();
    let mut outstanding = 0;
    for (key, value) in store.scan(durable::TOKENS, b"", usize::MAX)? {
        let stored: StoredToken = durable::decode(durable::TOKENS, &value)?;
        if stored.expires_at <= now {
            batch = batch.delete(Key::new(durable::TOKENS, key));
        } else if stored.used_by.is_none() {
            outstanding += 1;
        }
    }
    if outstanding >= limits.tokens.get() {
        return Err(Error::Busy { what: "outstanding enrolment tokens", limit: limits.tokens.get() });
    }
    let token = hex::encode(*random_bytes::<32>()?);
    let expires_at = now.plus(limits.token_validity());
    let stored = StoredToken { participant_id: participant_id.clone(), expires_at, used_by: None };
    let batch = batch.put(durable::token(digest(token.as_bytes())), durable::encode(&stored)?);
    Ok((IssuedToken { participant_id: participant_id.clone(), token: SecretText::new(token), expires_at }, batch))
}

/// Checks a token for `participant_id` and its key, and gives the batch that marks it as used.
pub(super) fn redeem(
    store: &dyn Store,
    token: &str,
    participant_id: &ParticipantId,
    identity_key: PublicKey,
    now: Timestamp,
) -> Result<Batch, Error> {
    let bad = || EnrolError::BadToken(participant_id.clone());
    let key = durable::token(digest(token.as_bytes()));
    let bytes = store.get(&key)?.ok_or_else(bad)?;
    let stored: StoredToken = durable::decode(key.tree, &bytes)?;
    let unused = stored.used_by.is_none_or(|user| user == identity_key);
    if stored.participant_id != *participant_id || stored.expires_at <= now || !unused {
        return Err(bad().into());
    }
    let used = StoredToken { used_by: Some(identity_key), ..stored };
    Ok(Batch::new().expect(key.clone(), bytes).put(key, durable::encode(&used)?))
}

/// The deletion of every token of a participant: who is shut out does not come back with an old one.
pub(super) fn forget(store: &dyn Store, participant_id: &ParticipantId) -> Result<Batch, Error> {
    let mut batch = Batch::new();
    for (key, value) in store.scan(durable::TOKENS, b"", usize::MAX)? {
        let stored: StoredToken = durable::decode(durable::TOKENS, &value)?;
        if stored.participant_id == *participant_id {
            batch = batch.delete(Key::new(durable::TOKENS, key));
        }
    }
    Ok(batch)
}
