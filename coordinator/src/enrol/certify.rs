//! Enrolment and renewal: how a participant comes by a certificate.
//!
//! The same request is given the same certificate, however often an answer is lost. Enrolling anew ends all certificates
//! before it, since keys may have been stolen. A renewal leaves two: the one it was asked under, good until it expires,
//! so that nothing breaks when the answer is lost, and the new one. Admission therefore never has to write.

use std::sync::Arc;

use serde_json::json;
use shared::Timestamp;
use shared::document::SignedDocument;
use shared::enrolment::{Enrolment, Renewal};
use shared::store::Batch;
use shared_crypto::pki::{CertificateAuthority, PeerCertificate};
use shared_crypto::{PublicKey, digest};

use super::participant::Certificate;
use super::standing::{Change, Standing, State};
use super::{EnrolError, Participant, Registry, token};
use crate::Error;
use crate::config::Approval;

impl Registry {
    /// Enrols whoever signed `request`. The PEM of its certificate, or `None` while the operator has not approved it.
    pub(crate) fn enrol(
        &self,
        request: &SignedDocument,
        authority: &CertificateAuthority,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        let _writing = self.writing();
        let enrolment = open(request)?;
        let key: PublicKey = enrolment.identity_key.parse()?;
        let known = self.get(&enrolment.participant_id);
        if let Some(known) = known.as_ref().filter(|known| self.asks_again(known, &enrolment, key, now)) {
            return self.answer(known, &enrolment.csr_pem, authority, now);
        }
        let token_id = digest(enrolment.token.as_bytes());
        let batch = token::redeem(&*self.store, token_id, &enrolment.participant_id, now)?;
        let mut enrolled = self.enrolled(known, &enrolment, key, now)?;
        let certificate = match enrolled.standing.state {
            State::Pending => None,
            _ => Some(self.issue(&enrolled, &enrolment.csr_pem, authority, now)?),
        };
        enrolled.certificates = certificate.into_iter().collect();
        let enrolled = self.save(batch, enrolled, json!({"event": "enrol"}), now)?;
        Ok(enrolled.certificates.last().map(|newest| newest.pem.clone()))
    }

    /// Gives a participant its next certificate. It asks under the certificate that this one will replace.
    pub(crate) fn renew(
        &self,
        certificate: Option<&[u8]>,
        request: &SignedDocument,
        authority: &CertificateAuthority,
        now: Timestamp,
    ) -> Result<String, Error> {
        let _writing = self.writing();
        let known = self.admit(certificate, now)?;
        let renewal: Renewal = known.identity_key.open(request)?;
        if renewal.participant_id != known.participant_id {
            return Err(EnrolError::OtherName(renewal.participant_id).into());
        }
        if let Some(answer) = known.answer_to(digest(renewal.csr_pem.as_bytes()), now) {
            return Ok(answer.pem.clone());
        }
        let next = self.issue(&known, &renewal.csr_pem, authority, now)?;
        if known.certificates.iter().any(|good| good.key == next.key) {
            return Err(EnrolError::OldKey(renewal.participant_id).into());
        }
        let shown = PeerCertificate::from_der(certificate.unwrap_or_default())?.serial;
        let kept = known.certificates.iter().filter(|good| good.serial == shown).cloned();
        let pem = next.pem.clone();
        let renewed = Participant { certificates: kept.chain([next]).collect(), ..Participant::clone(&known) };
        self.save(Batch::new(), renewed, json!({"event": "renew"}), now)?;
        Ok(pem)
    }

    /// Whether `known` enrolled with this very token and key: for as long as it waits for approval, and after that for
    /// as long as a token is good.
    fn asks_again(&self, known: &Participant, enrolment: &Enrolment, key: PublicKey, now: Timestamp) -> bool {
        let same = (known.identity_key, known.agreement_key) == (key, enrolment.agreement_key)
            && known.token == digest(enrolment.token.as_bytes());
        let waits = known.standing.state == State::Pending;
        let answered = known.standing.since.max(known.enrolled_at);
        same && (waits || now < answered.plus(self.limits.token_validity()))
    }

    /// The answer to who asks again.
    fn answer(
        &self,
        known: &Arc<Participant>,
        csr_pem: &str,
        authority: &CertificateAuthority,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        match known.standing.state {
            State::Pending => return Ok(None),
            State::Revoked => return Err(EnrolError::Revoked(known.participant_id.clone()).into()),
            State::Approved | State::Quarantined => {}
        }
        if let Some(answer) = known.answer_to(digest(csr_pem.as_bytes()), now) {
            return Ok(Some(answer.pem.clone()));
        }
        let certificate = self.issue(known, csr_pem, authority, now)?;
        let pem = certificate.pem.clone();
        let certified = Participant { certificates: vec![certificate], ..Participant::clone(known) };
        self.save(Batch::new(), certified, json!({"event": "certify"}), now)?;
        Ok(Some(pem))
    }

    /// Who has just enrolled with a good token. A key that was approved before needs no approval again.
    fn enrolled(
        &self,
        known: Option<Arc<Participant>>,
        enrolment: &Enrolment,
        identity_key: PublicKey,
        now: Timestamp,
    ) -> Result<Participant, Error> {
        let participant_id = enrolment.participant_id.clone();
        let before = known.as_ref().map(|known| known.standing.state);
        let approved = before == Some(State::Approved);
        let same_key = known.as_ref().is_some_and(|known| known.identity_key == identity_key);
        let trusted = self.enrolment.approval == Approval::Automatic || (approved && same_key);
        let state =
            State::after(before, Change::Enrol { trusted }).map_err(|_| EnrolError::Revoked(participant_id.clone()))?;
        let standing = match known.filter(|_| before == Some(state)) {
            Some(known) => known.standing.clone(),
            None => Standing { state, since: now, reason: "enrolled with a token".to_owned() },
        };
        let token = digest(enrolment.token.as_bytes());
        let (agreement_key, enrolled_at, certificates) = (enrolment.agreement_key, now, Vec::new());
        Ok(Participant { participant_id, identity_key, agreement_key, standing, enrolled_at, token, certificates })
    }

    /// Issues a certificate, not too soon after the last one.
    fn issue(
        &self,
        to: &Participant,
        csr_pem: &str,
        authority: &CertificateAuthority,
        now: Timestamp,
    ) -> Result<Certificate, Error> {
        let pause = self.limits.renewal_pause();
        let last = to.certificates.last().map(|newest| newest.issued_at);
        if last.is_some_and(|last| now < last.plus(pause)) {
            return Err(EnrolError::TooSoon { participant_id: to.participant_id.clone(), pause }.into());
        }
        let pem = authority.sign_request(csr_pem, &to.participant_id, now, self.limits.certificate_validity())?;
        let peer = PeerCertificate::from_pem(&pem)?;
        let (serial, key, not_after) = (peer.serial, peer.key, peer.validity.not_after);
        Ok(Certificate { serial, issued_at: now, not_after, key, request: digest(csr_pem.as_bytes()), pem })
    }
}

/// Reads a request that is signed by the key it carries.
fn open(request: &SignedDocument) -> Result<Enrolment, Error> {
    let claimed: Enrolment = shared::canonical::decode(request.body.as_bytes())?;
    let key: PublicKey = claimed.identity_key.parse()?;
    Ok(key.open(request)?)
}
