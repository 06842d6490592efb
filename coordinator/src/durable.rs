//! Where everything stands in the store: one function per kind of entry. Nothing else makes keys.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::document::{KeyId, SignedDocument};
use shared::store::{Key, Store};
use shared::{Digest, ParticipantId, ReleaseId, RoundId, RoundNumber, TaskId};

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
/// The operator's words on which release is the latest.
pub(crate) const PROMOTIONS: &str = "promotion";
/// Answers to admin calls that came with an `Idempotency-Key`.
pub(crate) const ANSWERS: &str = "admin-answer";
/// Audit records that are durable but not yet in the log.
pub(crate) const OUTBOX: &str = "audit-outbox";
const LEDGER_HEADS: &str = "ledger-head";
const EVENTS: &str = "round-event";
const DOCUMENTS: &str = "round-document";
const RECORDS: &str = "round-record";
const PARAMS_USES: &str = "params-use";
const LATEST: &str = "latest";
const COSIGNATURES: &str = "cosignature";

pub(crate) fn token(digest: Digest) -> Key {
    Key::new(TOKENS, digest.to_string())
}

pub(crate) fn participant(participant_id: &ParticipantId) -> Key {
    Key::new(PARTICIPANTS, participant_id.as_str())
}

/// A site's word on its privacy ledger that goes furthest.
pub(crate) fn ledger_head(participant_id: &ParticipantId) -> Key {
    Key::new(LEDGER_HEADS, participant_id.as_str())
}

/// Two words of a site on its ledger: the one with this many debits, and one that contradicts it.
pub(crate) fn rolled_back_ledger(participant_id: &ParticipantId, debits: u64) -> Key {
    Key::new("ledger-rolled-back", format!("{participant_id}/{debits:020}"))
}

pub(crate) fn task(task_id: &TaskId) -> Key {
    Key::new(TASKS, task_id.as_str())
}

/// The ids of all tasks.
pub(crate) fn task_ids(store: &dyn Store) -> Result<Vec<TaskId>, Error> {
    let tasks = store.scan(TASKS, b"", usize::MAX)?.into_iter();
    tasks.map(|(key, _)| Ok(TaskId::new(String::from_utf8_lossy(&key).into_owned())?)).collect()
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
    /// The dealing of a round key's secret, in bytes.
    JoinDealing,
    /// The dealing of the secret of an update's own mask, in bytes.
    UpdateDealing,
    /// A drawn site's secrets, which open its update.
    Opened,
    Proof,
    Agreement,
    Reveal,
}

pub(crate) fn evidence(round_id: &RoundId, kind: Evidence, participant_id: &ParticipantId) -> Key {
    let kind = match kind {
        Evidence::Join => "join",
        Evidence::Update => "update",
        Evidence::Receipt => "receipt",
        Evidence::Evaluation => "evaluation",
        Evidence::JoinDealing => "join-dealing",
        Evidence::UpdateDealing => "update-dealing",
        Evidence::Opened => "opened",
        Evidence::Proof => "proof",
        Evidence::Agreement => "agreement",
        Evidence::Reveal => "reveal",
    };
    Key::new(DOCUMENTS, format!("{}/{kind}/{participant_id}", in_round(round_id)))
}

/// A document that the coordinator signed in a masked round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaskingWord {
    Plan,
    /// The bytes that the plan has the digest of; nobody's word until they are shown.
    Beacon,
    Draw,
    Challenge,
    Survivors,
    Sum,
}

pub(crate) fn masking_word(round_id: &RoundId, word: MaskingWord) -> Key {
    let word = match word {
        MaskingWord::Plan => "plan",
        MaskingWord::Beacon => "beacon",
        MaskingWord::Draw => "draw",
        MaskingWord::Challenge => "challenge",
        MaskingWord::Survivors => "survivors",
        MaskingWord::Sum => "sum",
    };
    Key::new("masking", format!("{}/{word}", in_round(round_id)))
}

/// What a participant did against the protocol, and what shows it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Misconduct {
    pub(crate) what: String,
    pub(crate) proof: serde_json::Value,
}

/// Where the proof stands that a participant broke the protocol of a masked round: a [`Misconduct`].
pub(crate) fn misconduct(round_id: &RoundId, participant_id: &ParticipantId) -> Key {
    Key::new(DOCUMENTS, format!("{}/misconduct/{participant_id}", in_round(round_id)))
}

/// The misconduct in a round, each with whose it is.
pub(crate) fn misconducts(store: &dyn Store, round_id: &RoundId) -> Result<Vec<(ParticipantId, Misconduct)>, Error> {
    by_participant(store, round_id, "misconduct")
}

/// The later documents of those who contradicted themselves in a round.
pub(crate) fn equivocations(
    store: &dyn Store,
    round_id: &RoundId,
) -> Result<Vec<(ParticipantId, SignedDocument)>, Error> {
    by_participant(store, round_id, "equivocation")
}

fn by_participant<T: DeserializeOwned>(
    store: &dyn Store,
    round_id: &RoundId,
    kind: &str,
) -> Result<Vec<(ParticipantId, T)>, Error> {
    let prefix = format!("{}/{kind}/", in_round(round_id));
    let entries = store.scan(DOCUMENTS, prefix.as_bytes(), usize::MAX)?;
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let name = key.get(prefix.len()..).unwrap_or_default();
        Ok((ParticipantId::new(String::from_utf8_lossy(name).into_owned())?, decode(DOCUMENTS, &value)?))
    };
    entries.into_iter().map(read).collect()
}

/// The cosignatures of a release, by participant.
pub(crate) fn cosignature(release_id: &ReleaseId, participant_id: &ParticipantId) -> Key {
    Key::new(COSIGNATURES, format!("{release_id}/{participant_id}"))
}

/// All cosignatures of a release.
pub(crate) fn cosignatures(store: &dyn Store, release_id: &ReleaseId) -> Result<Vec<SignedDocument>, Error> {
    let entries = store.scan(COSIGNATURES, format!("{release_id}/").as_bytes(), usize::MAX)?;
    entries.iter().map(|(_, value)| decode(COSIGNATURES, value)).collect()
}

/// Two signed documents of one participant for one round that contradict each other: the later one. The first is
/// [`Evidence`].
pub(crate) fn equivocation(round_id: &RoundId, participant_id: &ParticipantId) -> Key {
    Key::new(DOCUMENTS, format!("{}/equivocation/{participant_id}", in_round(round_id)))
}

/// What parameters in a file are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParamsRole {
    /// A checkpoint, a candidate, a release, or a control variate: participants may fetch it.
    Shared,
    /// What the server's step keeps to itself.
    Server,
}

impl ParamsRole {
    const ALL: [Self; 2] = [Self::Shared, Self::Server];

    fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Server => "server",
        }
    }
}

/// That a round or a release needs these parameters. Without any such entry their file is removed.
pub(crate) fn params_use(params: Digest, role: ParamsRole, user: impl std::fmt::Display) -> Key {
    Key::new(PARAMS_USES, format!("{params}/{}/{user}", role.as_str()))
}

/// Whether anybody needs these parameters in this role.
pub(crate) fn params_used_as(store: &dyn Store, params: Digest, role: ParamsRole) -> Result<bool, Error> {
    let prefix = format!("{params}/{}/", role.as_str());
    Ok(!store.scan(PARAMS_USES, prefix.as_bytes(), 1)?.is_empty())
}

/// Whether anybody needs these parameters.
pub(crate) fn params_used(store: &dyn Store, params: Digest) -> Result<bool, Error> {
    let mut used = false;
    for role in ParamsRole::ALL {
        used |= params_used_as(store, params, role)?;
    }
    Ok(used)
}

pub(crate) fn record(round_id: &RoundId) -> Key {
    Key::new(RECORDS, in_round(round_id))
}

pub(crate) fn release(release_id: &ReleaseId) -> Key {
    Key::new(RELEASES, release_id.as_str())
}

/// An identity key by its name, as long as the store lives: it checks what was signed before its owner had another.
pub(crate) fn identity_key(key_id: KeyId) -> Key {
    Key::new("identity-key", key_id.to_string())
}

/// The operator's word with this number, counted from 1.
pub(crate) fn promotion(number: u64) -> Key {
    Key::new(PROMOTIONS, number.to_be_bytes())
}

/// The record of a round that was computed again for a release.
pub(crate) fn recomputed_record(release_id: &ReleaseId, round: RoundNumber) -> Key {
    Key::new("recomputed-record", format!("{release_id}/{:010}", round.0))
}

/// Holds the last of the operator's words, so that whoever follows the latest release need not read them all.
pub(crate) fn latest_promotion() -> Key {
    Key::new(LATEST, "promotion")
}

pub(crate) fn answer(name: Digest) -> Key {
    Key::new(ANSWERS, name.to_string())
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
