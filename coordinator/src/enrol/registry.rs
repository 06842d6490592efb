//! The enrolled participants, in memory and in the store; asked before every call and during every stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::enrolment::Enrolment;
use shared::store::{Batch, Store};
use shared::{ParticipantId, Timestamp};
use shared_crypto::PublicKey;
use shared_crypto::pki::{CertificateAuthority, PeerCertificate};
use tokio::sync::watch;

use super::EnrolError;
use super::token::{self, IssuedToken};
use crate::audit::Journal;
use crate::config::Limits;
use crate::{Error, durable};

/// One enrolled participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// Its id.
    pub participant_id: ParticipantId,
    /// Checks its signatures.
    pub identity_key: PublicKey,
    /// Serial of its one valid certificate.
    pub serial: String,
    /// When that certificate ends.
    pub not_after: Timestamp,
    /// When it enrolled last.
    pub enrolled_at: Timestamp,
    /// When the operator shut it out.
    pub revoked_at: Option<Timestamp>,
}

/// All participants. Changes are durable before they are seen.
pub struct Registry {
    store: Arc<dyn Store>,
    journal: Arc<Journal>,
    limits: Limits,
    known: RwLock<BTreeMap<ParticipantId, Participant>>,
    writing: Mutex<()>,
    revocations: watch::Sender<u64>,
}

impl Registry {
    /// Reads the participants from the store.
    pub(crate) fn open(store: Arc<dyn Store>, journal: Arc<Journal>, limits: Limits) -> Result<Self, Error> {
        let entries = store.scan(durable::PARTICIPANTS, b"", usize::MAX)?;
        let known = entries.iter().map(|(_, value)| durable::decode::<Participant>(durable::PARTICIPANTS, value));
        let known: BTreeMap<_, _> =
            known.map(|known| known.map(|known| (known.participant_id.clone(), known))).collect::<Result<_, _>>()?;
        let (revocations, _) = watch::channel(0);
        Ok(Self { store, journal, limits, known: RwLock::new(known), writing: Mutex::new(()), revocations })
    }

    /// All participants, by id.
    pub fn list(&self) -> Vec<Participant> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Changes whenever somebody is shut out.
    pub(crate) fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    /// Makes a one-time token for a participant.
    pub fn issue_token(&self, participant_id: &ParticipantId, now: Timestamp) -> Result<IssuedToken, Error> {
        let _writing = self.writing();
        let (issued, batch) = token::issue(&*self.store, participant_id, &self.limits, now)?;
        let content = serde_json::json!({"event": "token_issued", "participant_id": participant_id, "expires_at": issued.expires_at});
        self.commit(batch, now, &content)?;
        Ok(issued)
    }

    /// Enrols whoever signed `request`; the PEM of the certificate.
    pub(crate) fn enrol(
        &self,
        request: &SignedDocument,
        authority: &CertificateAuthority,
        now: Timestamp,
    ) -> Result<String, Error> {
        let _writing = self.writing();
        let enrolment = open(request)?;
        let participant_id = enrolment.participant_id;
        let identity_key: PublicKey = enrolment.identity_key.parse()?;
        let batch = token::redeem(&*self.store, &enrolment.token, &participant_id, identity_key, now)?;
        let validity = self.limits.certificate_validity();
        let certificate_pem = authority.sign_request(&enrolment.csr_pem, &participant_id, now, validity)?;
        let PeerCertificate { serial, not_after, .. } = read_pem(&certificate_pem)?;
        let participant =
            Participant { participant_id, identity_key, serial, not_after, enrolled_at: now, revoked_at: None };
        let batch = batch.put(durable::participant(&participant.participant_id), durable::encode(&participant)?);
        self.commit(batch, now, &serde_json::json!({"event": "enrolled", "participant": participant}))?;
        self.remember(participant);
        Ok(certificate_pem)
    }

    /// Shuts a participant out, from now on and for streams that are open. Its tokens are void too.
    pub fn revoke(&self, participant_id: &ParticipantId, now: Timestamp) -> Result<Participant, Error> {
        let _writing = self.writing();
        let known = self.find(participant_id)?;
        if known.revoked_at.is_some() {
            return Ok(known);
        }
        let revoked = Participant { revoked_at: Some(now), ..known };
        let batch = token::forget(&*self.store, participant_id)?;
        let batch = batch.put(durable::participant(participant_id), durable::encode(&revoked)?);
        self.commit(batch, now, &serde_json::json!({"event": "revoked", "participant": revoked}))?;
        self.remember(revoked.clone());
        Ok(revoked)
    }

    /// The participant whose certificate this is (DER, already checked against the authority), if it may take part.
    pub(crate) fn admit(&self, certificate: Option<&[u8]>, now: Timestamp) -> Result<Participant, Error> {
        let peer = PeerCertificate::from_der(certificate.ok_or(EnrolError::NoCertificate)?)?;
        let known = self.find(&peer.participant_id)?;
        let refusal = |error: fn(ParticipantId) -> EnrolError| Err(error(peer.participant_id.clone()).into());
        if known.revoked_at.is_some() {
            return refusal(EnrolError::Revoked);
        }
        if known.serial != peer.serial {
            return refusal(EnrolError::Superseded);
        }
        if now >= peer.not_after {
            let (participant_id, not_after) = (peer.participant_id, peer.not_after);
            return Err(EnrolError::Expired { participant_id, not_after }.into());
        }
        Ok(known)
    }

    fn find(&self, participant_id: &ParticipantId) -> Result<Participant, Error> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(participant_id).cloned().ok_or_else(|| EnrolError::Unknown(participant_id.clone()).into())
    }

    fn remember(&self, participant: Participant) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(participant.participant_id.clone(), participant);
        drop(known);
        self.revocations.send_modify(|version| *version = version.wrapping_add(1));
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, batch: Batch, now: Timestamp, content: &serde_json::Value) -> Result<(), Error> {
        let (key, record) = self.journal.entry(AuditKind::Enrolment, now, content)?;
        self.store.apply(batch.put(key, record))?;
        self.journal.drain_or_defer();
        Ok(())
    }
}

/// Reads a request that is signed by the key it carries.
fn open(request: &SignedDocument) -> Result<Enrolment, Error> {
    let claimed: Enrolment = shared::canonical::decode(request.body.as_bytes())?;
    let key: PublicKey = claimed.identity_key.parse()?;
    Ok(key.open(request)?)
}

fn read_pem(pem: &str) -> Result<PeerCertificate, Error> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64_STANDARD.decode(body).map_err(|_| EnrolError::Unreadable)?;
    Ok(PeerCertificate::from_der(&der)?)
}
