//! One-time enrolment tokens: 256 random bits, stored as a digest, good for one participant id and a limited time. The
//! first use takes a token out of the store; from then on the participant it enrolled remembers its digest.

use serde::{Deserialize, Serialize};
use shared::store::{Batch, Key, Store};
use shared::{Digest, ParticipantId, Timestamp};
use shared_crypto::{SecretText, digest, random_bytes};

use super::EnrolError;
use crate::config::Limits;
use crate::{Error, durable};

/// A token as the operator passes it on. It cannot be shown again.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// Names the token without giving it away: its SHA-256.
    pub token_id: Digest,
    /// Who may enrol with it.
    pub participant_id: ParticipantId,
    /// The token itself, 64 hexadecimal digits.
    pub token: SecretText,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token that nobody has used yet, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutstandingToken {
    /// Names the token without giving it away: its SHA-256.
    pub token_id: Digest,
    /// Who may enrol with it.
    pub participant_id: ParticipantId,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// All stored tokens, expired ones too.
pub(super) fn stored(store: &dyn Store) -> Result<Vec<OutstandingToken>, Error> {
    let entries = store.scan(durable::TOKENS, b"", usize::MAX)?;
    entries.iter().map(|(_, value)| durable::decode(durable::TOKENS, value)).collect()
}

/// Makes a token, and the batch that stores it and forgets those that expired.
pub(super) fn issue(
    store: &dyn Store,
    participant_id: &ParticipantId,
    limits: &Limits,
    now: Timestamp,
) -> Result<(IssuedToken, Batch), Error> {
    let (good, expired): (Vec<_>, Vec<_>) = stored(store)?.into_iter().partition(|stored| now < stored.expires_at);
    let limit = limits.tokens.get();
    if u32::try_from(good.len()).is_ok_and(|count| count >= limit) {
        return Err(Error::Busy { what: "outstanding enrolment tokens", limit });
    }
    let token = hex::encode(*random_bytes::<32>()?);
    let (token_id, expires_at) = (digest(token.as_bytes()), now.plus(limits.token_validity()));
    let participant_id = participant_id.clone();
    let stored = OutstandingToken { token_id, participant_id: participant_id.clone(), issued_at: now, expires_at };
    let batch = forget(expired.iter()).put(durable::token(token_id), durable::encode(&stored)?);
    Ok((IssuedToken { token_id, participant_id, token: SecretText::new(token), expires_at }, batch))
}

/// Checks a token for `participant_id`, and gives the batch that takes it out of the store.
pub(super) fn redeem(
    store: &dyn Store,
    token_id: Digest,
    participant_id: &ParticipantId,
    now: Timestamp,
) -> Result<Batch, Error> {
    let key = durable::token(token_id);
    let stored: Option<OutstandingToken> = durable::read(store, &key)?;
    let good = stored.is_some_and(|stored| stored.participant_id == *participant_id && now < stored.expires_at);
    if good { Ok(Batch::new().delete(key)) } else { Err(EnrolError::BadToken(participant_id.clone()).into()) }
}

/// The deletion of these tokens.
pub(super) fn forget<'a>(tokens: impl Iterator<Item = &'a OutstandingToken>) -> Batch {
    let keys = tokens.map(|token| durable::token(token.token_id));
    keys.fold(Batch::new(), |batch, key: Key| batch.delete(key))
}
