//! One participant as the registry keeps it: its key, where it stands, and which of its certificates are good.

use serde::{Deserialize, Serialize};
use shared::masking::Element;
use shared::{Digest, ParticipantId, Timestamp};
use shared_crypto::PublicKey;
use shared_crypto::pki::PeerCertificate;

use super::standing::{Standing, State};
use super::{Change, EnrolError};
use crate::Error;

/// One participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// Its id.
    pub participant_id: ParticipantId,
    /// Checks its signatures.
    pub identity_key: PublicKey,
    /// Seals what is meant for it alone.
    pub agreement_key: Element,
    /// What it may do.
    pub standing: Standing,
    /// When it enrolled last.
    pub enrolled_at: Timestamp,
    /// Digest of the token it enrolled with: whoever asks with it and the same key again is given the same answer.
    pub(super) token: Digest,
    /// Its good certificates, at most two, the newest last.
    pub(super) certificates: Vec<Certificate>,
}

/// A certificate that was issued to a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) serial: String,
    pub(super) issued_at: Timestamp,
    pub(super) not_after: Timestamp,
    /// Digest of the key that it certifies.
    pub(super) key: Digest,
    /// Digest of the request that it answers.
    pub(super) request: Digest,
    pub(super) pem: String,
}

impl Participant {
    /// Its standing after a change; `None` when that change has been made already.
    pub(super) fn changed(&self, change: Change, reason: &str, now: Timestamp) -> Result<Option<Self>, Error> {
        let state = State::after(Some(self.standing.state), change).map_err(|_| self.refusal(change))?;
        if state == self.standing.state {
            return Ok(None);
        }
        let standing = Standing { state, since: now, reason: reason.to_owned() };
        Ok(Some(Self { standing, ..self.clone() }))
    }

    pub(super) fn refusal(&self, change: Change) -> EnrolError {
        EnrolError::Change { participant_id: self.participant_id.clone(), state: self.standing.state, change }
    }

    /// Whether this certificate is one of its own that are good at `now`, and it may show it.
    pub(super) fn admits(&self, peer: &PeerCertificate, now: Timestamp) -> Result<(), EnrolError> {
        let participant_id = self.participant_id.clone();
        match self.standing.state {
            State::Revoked => return Err(EnrolError::Revoked(participant_id)),
            State::Pending => return Err(EnrolError::Pending(participant_id)),
            State::Approved | State::Quarantined => {}
        }
        if !self.certificates.iter().any(|good| good.serial == peer.serial) {
            return Err(EnrolError::Superseded(participant_id));
        }
        let not_after = peer.validity.not_after;
        if now >= not_after { Err(EnrolError::Expired { participant_id, not_after }) } else { Ok(()) }
    }

    /// When its newest certificate ends; `None` before the first one.
    pub fn certificate_expires_at(&self) -> Option<Timestamp> {
        self.certificates.last().map(|certificate| certificate.not_after)
    }

    /// The newest certificate if it answers this very request and is good at `now`.
    pub(super) fn answer_to(&self, request: Digest, now: Timestamp) -> Option<&Certificate> {
        self.certificates.last().filter(|newest| newest.request == request && now < newest.not_after)
    }

    /// Whether somebody who could do more before `self` is shut out of something by it.
    pub(super) fn takes_from(&self, before: &Self, now: Timestamp) -> bool {
        let mut good = before.certificates.iter().filter(|certificate| now < certificate.not_after);
        self.standing.state != before.standing.state || good.any(|certificate| !self.certificates.contains(certificate))
    }

    /// What an audit record says of it.
    pub(super) fn record(&self) -> serde_json::Value {
        serde_json::json!({
            "participant_id": self.participant_id,
            "identity_key": self.identity_key,
            "agreement_key": self.agreement_key,
            "state": self.standing.state,
            "since": self.standing.since,
            "reason": self.standing.reason,
            "serials": self.certificates.iter().map(|certificate| &certificate.serial).collect::<Vec<_>>(),
        })
    }

    /// A participant in good standing that has no certificate.
    pub(crate) fn approved(participant_id: ParticipantId, identity_key: PublicKey, agreement_key: Element) -> Self {
        let standing = Standing { state: State::Approved, since: Timestamp::EPOCH, reason: String::new() };
        let (enrolled_at, token, certificates) = (Timestamp::EPOCH, Digest([0; 32]), Vec::new());
        Self { participant_id, identity_key, agreement_key, standing, enrolled_at, token, certificates }
    }
}
