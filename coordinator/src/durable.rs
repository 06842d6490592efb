//! Where everything stands in the store: one function per kind of entry. Nothing else makes keys.

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::store::{Key, Store};
use shared::{Digest, ParticipantId, ReleaseId, RoundId, TaskId};

use crate::Error;

/// One-time enrolment tokens, by digest.
pub(crate) const TOKENS: &str = "enrolment-token";
/// Enrolled participants.
pub(crate) const PARTICIPANTS: &str = "participant";
/// Tasks with their outcome.
pub(crate) const TASKS: &str = "task";
/// What was announced for each round.
pub(crate) const ROUNDS: &str = "round";
/// Releases with the record of their round.
pub(crate) const RELEASES: &str = "release";
/// Audit records that are durable but not yet in the log.
pub(crate) const OUTBOX: &str = "audit-outbox";
const EVENTS: &str = "round-event";
const DOCUMENTS: &str = "round-document";
const RECORDS: &str = "round-record";
const PAYLOADS: &str = "update-payload";
const PARAMS: &str = "params";
const LATEST: &str = "latest";

pub(crate) fn token(digest: Digest) -> Key {
    Key::new(TOKENS, digest.to_string())
}

pub(crate) fn participant(participant_id: &ParticipantId) -> Key {
    Key::new(PARTICIPANTS, participant_id.as_str())
}

pub(crate) fn task(task_id: &TaskId) -> Key {
    Key::new(TASKS, task_id.as_str())
}

/// What the keys of a round begin with. No task id contains a slash.
fn in_round(round_id: &RoundId) -> String {
    format!("{}/{:010}", round_id.task_id, round_id.number.0)
}

pub(crate) fn round(round_id: &RoundId) -> Key {
    Key::new(ROUNDS, in_round(round_id))
}

/// The event with this number, counted from 0.
pub(crate) fn event(round_id: &RoundId, number: u32) -> Key {
    Key::new(EVENTS, format!("{}/{number:010}", in_round(round_id)))
}

/// A round's events in order, at most `limit`.
pub(crate) fn events(store: &dyn Store, round_id: &RoundId, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
    let prefix = format!("{}/", in_round(round_id));
    Ok(store.scan(EVENTS, prefix.as_bytes(), limit)?.into_iter().map(|(_, value)| value).collect())
}

/// A signed document of a participant, or the receipt for it, kept as evidence of the round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    Join,
    Update,
    Receipt,
    Evaluation,
}

pub(crate) fn evidence(round_id: &RoundId, kind: Evidence, participant_id: &ParticipantId) -> Key {
    let kind = match kind {
        Evidence::Join => "join",
        Evidence::Update => "update",
        Evidence::Receipt => "receipt",
        Evidence::Evaluation => "evaluation",
    };
    Key::new(DOCUMENTS, format!("{}/{kind}/{participant_id}", in_round(round_id)))
}

/// The little-endian f32 bytes of an update.
pub(crate) fn payload(round_id: &RoundId, participant_id: &ParticipantId) -> Key {
    Key::new(PAYLOADS, format!("{}/{participant_id}", in_round(round_id)))
}

/// The little-endian f32 bytes of a checkpoint or candidate, by digest. Updates never stand here: any participant may
/// fetch what does.
pub(crate) fn params(digest: Digest) -> Key {
    Key::new(PARAMS, digest.to_string())
}

pub(crate) fn record(round_id: &RoundId) -> Key {
    Key::new(RECORDS, in_round(round_id))
}

pub(crate) fn release(release_id: &ReleaseId) -> Key {
    Key::new(RELEASES, release_id.as_str())
}

/// Holds the id of the release that was published last.
pub(crate) fn latest_release() -> Key {
    Key::new(LATEST, "release")
}

pub(crate) fn outbox(number: u64) -> Key {
    Key::new(OUTBOX, number.to_be_bytes())
}

/// The JSON value at `key`.
pub(crate) fn read<T: DeserializeOwned>(store: &dyn Store, key: &Key) -> Result<Option<T>, Error> {
    store.get(key)?.map(|bytes| decode(key.tree, &bytes)).transpose()
}

pub(crate) fn decode<T: DeserializeOwned>(tree: &'static str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Damaged { tree, reason: error.to_string() })
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Canonical(shared::canonical::CanonicalError::Encode(error)))
}
