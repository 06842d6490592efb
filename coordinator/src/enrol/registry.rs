//! The participants, in memory and in the store; asked before every call and during every stream. Every change is one
//! batch: the new state with its audit record, durable before anybody sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::{Value, json};
use shared::audit::AuditKind;
use shared::masking::Element;
use shared::store::{Batch, Store};
use shared::{Digest, ParticipantId, Timestamp};
use shared_crypto::PublicKey;
use shared_crypto::pki::PeerCertificate;
use tokio::sync::watch;

use super::standing::{Change, State};
use super::token::{self, IssuedToken, OutstandingToken};
use super::{EnrolError, Participant};
use crate::audit::Journal;
use crate::config::{Approval, Enrolment, Limits};
use crate::{Error, durable};

/// All participants.
pub struct Registry {
    pub(super) store: Arc<dyn Store>,
    pub(super) enrolment: Enrolment,
    pub(super) limits: Limits,
    journal: Arc<Journal>,
    known: RwLock<BTreeMap<ParticipantId, Arc<Participant>>>,
    writing: Mutex<()>,
    changes: watch::Sender<u64>,
}

impl Registry {
    /// Reads the participants from the store.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        journal: Arc<Journal>,
        enrolment: Enrolment,
        limits: Limits,
    ) -> Result<Self, Error> {
        let entries = store.scan(durable::PARTICIPANTS, b"", usize::MAX)?;
        let decoded = entries.iter().map(|(_, value)| durable::decode::<Participant>(durable::PARTICIPANTS, value));
        let named = decoded.map(|known| known.map(|known| (known.participant_id.clone(), Arc::new(known))));
        let known = RwLock::new(named.collect::<Result<_, _>>()?);
        let (changes, _) = watch::channel(0);
        Ok(Self { store, enrolment, limits, journal, known, writing: Mutex::new(()), changes })
    }

    /// Who approves enrolments.
    pub(crate) fn approval(&self) -> Approval {
        self.enrolment.approval
    }

    /// All participants, by id.
    pub fn list(&self) -> Vec<Arc<Participant>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One participant.
    pub fn find(&self, participant_id: &ParticipantId) -> Result<Arc<Participant>, Error> {
        self.get(participant_id).ok_or_else(|| EnrolError::Unknown(participant_id.clone()).into())
    }

    /// What a participant may do; `None` for who never enrolled.
    pub fn state(&self, participant_id: &ParticipantId) -> Option<State> {
        self.get(participant_id).map(|known| known.standing.state)
    }

    pub(super) fn get(&self, participant_id: &ParticipantId) -> Option<Arc<Participant>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(participant_id).cloned()
    }

    /// Moves whenever somebody's rights change or a certificate ends before its time.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The participant whose certificate this is (DER, already checked against the authority), if it may connect.
    pub(crate) fn admit(&self, certificate: Option<&[u8]>, now: Timestamp) -> Result<Arc<Participant>, Error> {
        let peer = PeerCertificate::from_der(certificate.ok_or(EnrolError::NoCertificate)?)?;
        let known = self.find(&peer.participant_id)?;
        known.admits(&peer, now)?;
        Ok(known)
    }

    /// The participant whose certificate this is, if it may join, send updates and evaluate.
    pub(crate) fn admit_contributor(
        &self,
        certificate: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Arc<Participant>, Error> {
        contributor(self.admit(certificate, now)?)
    }

    /// A participant that may join, send updates and evaluate, whoever vouches that it is the one who asks.
    pub(crate) fn contributor(&self, participant_id: &ParticipantId) -> Result<Arc<Participant>, Error> {
        contributor(self.find(participant_id)?)
    }

    /// Takes in a participant without a token. It has no certificate, so that it cannot connect.
    pub(crate) fn vouch(
        &self,
        participant_id: &ParticipantId,
        identity_key: PublicKey,
        agreement_key: Element,
        now: Timestamp,
    ) -> Result<(), Error> {
        let _writing = self.writing();
        let participant = Participant::approved(participant_id.clone(), identity_key, agreement_key);
        self.save(Batch::new(), participant, json!({"event": "vouch"}), now).map(|_| ())
    }

    /// Lets a participant do no more than watch, because of what the coordinator itself saw. The first reason stays.
    pub fn quarantine(&self, participant_id: &ParticipantId, reason: String, now: Timestamp) -> Result<(), Error> {
        self.change(participant_id, Change::Quarantine, &reason, "coordinator", now).map(|_| ())
    }

    /// Changes where a participant stands. A change that has been made already is made no second time.
    pub fn change(
        &self,
        participant_id: &ParticipantId,
        change: Change,
        reason: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Arc<Participant>, Error> {
        let _writing = self.writing();
        let known = self.find(participant_id)?;
        let Some(changed) = known.changed(change, reason, now)? else { return Ok(known) };
        let tokens = if changed.standing.state == State::Revoked { self.tokens_of(participant_id)? } else { vec![] };
        self.save(token::forget(tokens.iter()), changed, json!({"event": change.as_str(), "by": by}), now)
    }

    /// Makes a one-time token for a participant.
    pub fn issue_token(&self, participant_id: &ParticipantId, by: &str, now: Timestamp) -> Result<IssuedToken, Error> {
        let _writing = self.writing();
        if let Some(revoked) = self.get(participant_id).filter(|known| known.standing.state == State::Revoked) {
            return Err(revoked.refusal(Change::Enrol { trusted: true }).into());
        }
        let (issued, batch) = token::issue(&*self.store, participant_id, &self.limits, now)?;
        let (token_id, expires_at) = (issued.token_id, issued.expires_at);
        let content = json!({"event": "issue_token", "by": by, "participant_id": participant_id, "token_id": token_id,
            "expires_at": expires_at});
        self.commit(batch, now, &content)?;
        Ok(issued)
    }

    /// The tokens that can still be used, by token id.
    pub fn tokens(&self, now: Timestamp) -> Result<Vec<OutstandingToken>, Error> {
        Ok(token::stored(&*self.store)?.into_iter().filter(|stored| now < stored.expires_at).collect())
    }

    /// Voids a token that nobody has used.
    pub fn withdraw_token(&self, token_id: Digest, by: &str, now: Timestamp) -> Result<(), Error> {
        let _writing = self.writing();
        let found = durable::read::<OutstandingToken>(&*self.store, &durable::token(token_id))?;
        let stored = found.ok_or(EnrolError::UnknownToken(token_id))?;
        let content = json!({"event": "withdraw_token", "by": by, "participant_id": stored.participant_id,
            "token_id": token_id});
        self.commit(token::forget([&stored].into_iter()), now, &content)
    }

    fn tokens_of(&self, participant_id: &ParticipantId) -> Result<Vec<OutstandingToken>, Error> {
        let stored = token::stored(&*self.store)?.into_iter();
        Ok(stored.filter(|stored| stored.participant_id == *participant_id).collect())
    }

    /// Whoever holds this changes the registry, and nobody else.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a participant's new record durable with its audit record, then visible.
    pub(super) fn save(
        &self,
        batch: Batch,
        participant: Participant,
        mut content: Value,
        now: Timestamp,
    ) -> Result<Arc<Participant>, Error> {
        if let Value::Object(fields) = &mut content {
            fields.insert("participant".to_owned(), participant.record());
        }
        let (key, identity) = (durable::participant(&participant.participant_id), participant.identity_key);
        let batch = batch.put(durable::identity_key(identity.key_id()), durable::encode(&identity)?);
        self.commit(batch.put(key, durable::encode(&participant)?), now, &content)?;
        tracing::info!(participant_id = %participant.participant_id, state = participant.standing.state.as_str(), %content, "participant changed");
        Ok(self.remember(participant, now))
    }

    fn remember(&self, participant: Participant, now: Timestamp) -> Arc<Participant> {
        let participant = Arc::new(participant);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(participant.participant_id.clone(), Arc::clone(&participant));
        drop(known);
        if before.is_some_and(|before| participant.takes_from(&before, now)) {
            self.changes.send_modify(|version| *version = version.wrapping_add(1));
        }
        participant
    }

    fn commit(&self, batch: Batch, now: Timestamp, content: &Value) -> Result<(), Error> {
        let (key, record) = self.journal.entry(AuditKind::Enrolment, now, content)?;
        self.store.apply(batch.put(key, record))?;
        self.journal.drain_or_defer();
        Ok(())
    }
}

fn contributor(known: Arc<Participant>) -> Result<Arc<Participant>, Error> {
    match known.standing.state {
        State::Approved => Ok(known),
        _ => Err(EnrolError::Quarantined(known.participant_id.clone()).into()),
    }
}
