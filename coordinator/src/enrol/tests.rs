//! The life of participants without sockets: a store that outlives the registry, and time as it is given.

use std::sync::Arc;
use std::time::Duration;

use shared::audit::AuditRecord;
use shared::document::SignedDocument;
use shared::enrolment::{Enrolment, Renewal};
use shared::{Explain, ParticipantId, Timestamp};
use shared_crypto::SigningKey;
use shared_crypto::pki::{CertificateAuthority, CertificateRequest};
use shared_store::MemoryStore;

use super::*;
use crate::Error;
use crate::audit::Journal;
use crate::config::{Approval, Limits};
use crate::testing::{Crash, CrashingStore, site};

const HOUR: Duration = Duration::from_hours(1);

/// What outlives a registry.
struct World {
    store: Arc<MemoryStore>,
    authority: CertificateAuthority,
}

/// A site as it asks.
struct Asker {
    participant_id: ParticipantId,
    identity: SigningKey,
    csr_pem: String,
}

fn at(hours: u64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000).plus(HOUR * u32::try_from(hours).unwrap())
}

fn asker(name: &str, seed: u8) -> Asker {
    let csr_pem = CertificateRequest::new(&site(name)).unwrap().csr_pem;
    Asker { participant_id: site(name), identity: SigningKey::from_seed(&[seed; 32]), csr_pem }
}

impl Asker {
    fn with_new_request(&self) -> Self {
        let csr_pem = CertificateRequest::new(&self.participant_id).unwrap().csr_pem;
        Self { participant_id: self.participant_id.clone(), identity: self.identity.clone(), csr_pem }
    }

    fn enrolment(&self, token: &IssuedToken) -> SignedDocument {
        let enrolment = Enrolment {
            token: token.token.expose().to_owned(),
            participant_id: self.participant_id.clone(),
            csr_pem: self.csr_pem.clone(),
            identity_key: self.identity.public().to_string(),
            agreement_key: [7; 32].into(),
        };
        self.identity.sign(&enrolment).unwrap()
    }

    fn renewal(&self) -> SignedDocument {
        let (participant_id, csr_pem) = (self.participant_id.clone(), self.csr_pem.clone());
        self.identity.sign(&Renewal { participant_id, csr_pem }).unwrap()
    }
}

impl World {
    fn new() -> Self {
        let authority = CertificateAuthority::create("test", at(0), HOUR * 24 * 365).unwrap();
        Self { store: Arc::new(MemoryStore::default()), authority }
    }

    fn journal(&self, store: Arc<dyn shared::store::Store>) -> Result<Arc<Journal>, Error> {
        let keys = [7, 8].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let [log_key, signer] = keys;
        Ok(Arc::new(Journal::open(store, "test", log_key, signer)?))
    }

    /// The registry of a process that has just begun.
    fn registry(&self, approval: Approval) -> Registry {
        self.on(self.store.clone(), approval)
    }

    fn on(&self, store: Arc<dyn shared::store::Store>, approval: Approval) -> Registry {
        let journal = self.journal(Arc::clone(&store)).unwrap();
        Registry::open(store, journal, crate::config::Enrolment { approval }, Limits::default()).unwrap()
    }

    fn enrol(&self, registry: &Registry, asker: &Asker, token: &IssuedToken, now: Timestamp) -> Answer {
        registry.enrol(&asker.enrolment(token), &self.authority, now)
    }

    fn renew(&self, registry: &Registry, asker: &Asker, shown: &str, now: Timestamp) -> Result<String, Error> {
        registry.renew(Some(&der(shown)), &asker.renewal(), &self.authority, now)
    }

    /// What the audit log says has happened, in order, and who did it.
    fn audited(&self) -> Vec<(String, Option<String>)> {
        let journal = self.journal(self.store.clone()).unwrap();
        let entry = |index| {
            let receipt = journal.receipt(index).unwrap();
            let record: AuditRecord = SigningKey::from_seed(&[8; 32]).public().open(&receipt.entry).unwrap();
            let text = |field: &str| record.content[field].as_str().map(str::to_owned);
            (text("event").unwrap(), text("by"))
        };
        (0..journal.size()).map(entry).collect()
    }
}

type Answer = Result<Option<String>, Error>;

fn der(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::prelude::BASE64_STANDARD.decode(body).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code()
}

fn admits(registry: &Registry, pem: &str, now: Timestamp) -> Result<(), &'static str> {
    registry.admit(Some(&der(pem)), now).map(|_| ()).map_err(|error| error.code())
}

fn contributes(registry: &Registry, pem: &str, now: Timestamp) -> Result<(), &'static str> {
    registry.admit_contributor(Some(&der(pem)), now).map(|_| ()).map_err(|error| error.code())
}

#[test]
fn an_enrolment_waits_for_approval_and_survives_restarts_meanwhile() {
    let world = World::new();
    let registry = world.registry(Approval::Operator);
    let token = registry.issue_token(&site("a"), "ann", at(0)).unwrap();
    let a = asker("a", 1);
    assert_eq!(world.enrol(&registry, &a, &token, at(1)).unwrap(), None);

    let registry = world.registry(Approval::Operator);
    assert_eq!(registry.state(&site("a")), Some(State::Pending));
    assert_eq!(
        world.enrol(&registry, &a, &token, at(100)).unwrap(),
        None,
        "the token's own time is over, and it waits"
    );
    assert_eq!(code(world.enrol(&registry, &asker("a", 2), &token, at(2))), "token-not-good", "another key");
    registry.change(&site("a"), Change::Approve, "looks good", "ann", at(100)).unwrap();

    let registry = world.registry(Approval::Operator);
    let pem = world.enrol(&registry, &a, &token, at(101)).unwrap().unwrap();
    assert_eq!(contributes(&registry, &pem, at(101)), Ok(()));
    assert_eq!(world.enrol(&registry, &a, &token, at(101)).unwrap().unwrap(), pem, "the answer was lost");
    let registry = world.registry(Approval::Operator);
    assert_eq!(world.enrol(&registry, &a, &token, at(102)).unwrap().unwrap(), pem);
    assert_eq!(code(world.enrol(&registry, &a, &token, at(125))), "token-not-good", "a day after the approval");
    let by = |name: &str| Some(name.to_owned());
    let expected = [("issue_token", by("ann")), ("enrol", None), ("approve", by("ann")), ("certify", None)];
    assert_eq!(world.audited(), expected.map(|(event, by)| (event.to_owned(), by)));
}

#[test]
fn an_automatic_approval_answers_at_once_and_the_same_request_gets_the_same_certificate() {
    let world = World::new();
    let registry = world.registry(Approval::Automatic);
    let token = registry.issue_token(&site("a"), "ann", at(0)).unwrap();
    let a = asker("a", 1);
    let pem = world.enrol(&registry, &a, &token, at(0)).unwrap().unwrap();
    assert_eq!(world.enrol(&registry, &a, &token, at(1)).unwrap().unwrap(), pem);
    assert_eq!(code(world.enrol(&registry, &a.with_new_request(), &token, at(0))), "certificate-too-soon");
    let other = world.enrol(&registry, &a.with_new_request(), &token, at(1)).unwrap().unwrap();
    assert_eq!(admits(&registry, &pem, at(1)), Err("certificate-superseded"));
    assert_eq!(admits(&registry, &other, at(1)), Ok(()));
    assert_eq!(code(world.enrol(&registry, &asker("b", 3), &token, at(0))), "token-not-good", "made for another id");
    assert!(registry.tokens(at(0)).unwrap().is_empty(), "a used token is used up");
}

#[test]
fn a_quarantined_participant_may_watch_and_do_no_more_until_it_is_reinstated() {
    let world = World::new();
    let registry = world.registry(Approval::Automatic);
    let token = registry.issue_token(&site("a"), "ann", at(0)).unwrap();
    let pem = world.enrol(&registry, &asker("a", 1), &token, at(0)).unwrap().unwrap();
    let changes = registry.changes();
    registry.quarantine(&site("a"), "two updates in one round".to_owned(), at(1)).unwrap();
    registry.quarantine(&site("a"), "again".to_owned(), at(2)).unwrap();
    assert!(changes.has_changed().unwrap());

    let registry = world.registry(Approval::Automatic);
    let standing = registry.find(&site("a")).unwrap().standing.clone();
    assert_eq!((standing.reason.as_str(), standing.since), ("two updates in one round", at(1)), "the first stays");
    assert_eq!(admits(&registry, &pem, at(3)), Ok(()));
    assert_eq!(contributes(&registry, &pem, at(3)), Err("participant-quarantined"));
    let second = registry.issue_token(&site("a"), "ann", at(3)).unwrap();
    let anew = world.enrol(&registry, &asker("a", 9), &second, at(3)).unwrap().unwrap();
    assert_eq!(contributes(&registry, &anew, at(3)), Err("participant-quarantined"), "enrolling anew is no way out");
    registry.change(&site("a"), Change::Reinstate, "a bug at the site", "ann", at(4)).unwrap();
    assert_eq!(contributes(&registry, &anew, at(4)), Ok(()));
    assert_eq!(code(registry.quarantine(&site("b"), String::new(), at(4))), "participant-unknown");
}

#[test]
fn revocation_is_for_ever_and_takes_the_tokens_along() {
    let world = World::new();
    let registry = world.registry(Approval::Automatic);
    let token = registry.issue_token(&site("a"), "ann", at(0)).unwrap();
    let a = asker("a", 1);
    let pem = world.enrol(&registry, &a, &token, at(0)).unwrap().unwrap();
    let unused = registry.issue_token(&site("a"), "ann", at(0)).unwrap();
    let others = registry.issue_token(&site("b"), "ann", at(0)).unwrap();
    let changes = registry.changes();
    registry.change(&site("a"), Change::Revoke, "left", "ann", at(1)).unwrap();
    assert!(changes.has_changed().unwrap());
    registry.change(&site("a"), Change::Revoke, "twice", "bob", at(2)).unwrap();

    let registry = world.registry(Approval::Automatic);
    assert_eq!(registry.find(&site("a")).unwrap().standing.reason, "left");
    assert_eq!(admits(&registry, &pem, at(1)), Err("participant-revoked"));
    assert_eq!(code(world.enrol(&registry, &a, &token, at(1))), "participant-revoked");
    assert_eq!(code(world.enrol(&registry, &a, &unused, at(1))), "token-not-good");
    assert_eq!(code(registry.issue_token(&site("a"), "ann", at(1))), "participant-state");
    assert_eq!(code(registry.change(&site("a"), Change::Approve, "", "ann", at(1))), "participant-state");
    let left: Vec<_> = registry.tokens(at(1)).unwrap().into_iter().map(|token| token.token_id).collect();
    assert_eq!(left, [others.token_id]);
}

#[test]
fn a_renewed_certificate_stands_beside_the_one_it_was_asked_under() {
    let world = World::new();
    let registry = world.registry(Approval::Automatic);
    let token = registry.issue_token(&site("a"), "ann", at(0)).unwrap();
    let a = asker("a", 1);
    let first = world.enrol(&registry, &a, &token, at(0)).unwrap().unwrap();
    let changes = registry.changes();
    let (b, c) = (a.with_new_request(), a.with_new_request());
    let lost = world.renew(&registry, &b, &first, at(16)).unwrap();
    assert_eq!(world.renew(&registry, &b, &first, at(17)).unwrap(), lost, "the answer was lost");
    assert!(!changes.has_changed().unwrap(), "nobody was shut out of anything");

    let registry = world.registry(Approval::Automatic);
    let second = world.renew(&registry, &c, &first, at(17)).unwrap();
    assert_eq!(admits(&registry, &first, at(23)), Ok(()));
    assert_eq!(admits(&registry, &second, at(23)), Ok(()));
    assert_eq!(admits(&registry, &lost, at(23)), Err("certificate-superseded"), "at most two are good");
    assert_eq!(admits(&registry, &first, at(24)), Err("certificate-expired"));
    assert_eq!(admits(&registry, &second, at(40)), Ok(()));
    assert_eq!(admits(&registry, &second, at(41)), Err("certificate-expired"));
    assert_eq!(code(world.renew(&registry, &a.with_new_request(), &second, at(41))), "certificate-expired");
}

#[test]
fn a_renewal_needs_a_good_certificate_the_right_signature_and_a_new_key() {
    let world = World::new();
    let registry = world.registry(Approval::Automatic);
    let [a, b] = [("a", 1), ("b", 2)].map(|(name, seed)| {
        let token = registry.issue_token(&site(name), "ann", at(0)).unwrap();
        let asker = asker(name, seed);
        let pem = world.enrol(&registry, &asker, &token, at(0)).unwrap().unwrap();
        (asker, pem)
    });
    let renew = |asker: &Asker, shown: &str, now| code(world.renew(&registry, asker, shown, now));
    assert_eq!(renew(&a.0.with_new_request(), &b.1, at(16)), "crypto-wrong-signer");
    let claims_b = Asker { participant_id: site("b"), ..a.0.with_new_request() };
    assert_eq!(renew(&claims_b, &a.1, at(16)), "renewal-other-name");
    let next = a.0.with_new_request();
    let pem = world.renew(&registry, &next, &a.1, at(16)).unwrap();
    assert_eq!(renew(&a.0.with_new_request(), &pem, at(16)), "certificate-too-soon");
    assert_eq!(code(registry.renew(None, &a.0.renewal(), &world.authority, at(0))), "certificate-missing");
    registry.change(&site("b"), Change::Revoke, "left", "ann", at(16)).unwrap();
    assert_eq!(renew(&b.0.with_new_request(), &b.1, at(16)), "participant-revoked");
}

#[test]
fn a_key_that_was_approved_needs_no_approval_again_and_another_does() {
    let world = World::new();
    let registry = world.registry(Approval::Operator);
    let token = || registry.issue_token(&site("a"), "ann", at(0)).unwrap();
    let a = asker("a", 1);
    world.enrol(&registry, &a, &token(), at(0)).unwrap();
    registry.change(&site("a"), Change::Approve, "known", "ann", at(0)).unwrap();
    let pem = world.enrol(&registry, &a, &token(), at(1)).unwrap().expect("approved at once");
    let changes = registry.changes();
    assert_eq!(world.enrol(&registry, &asker("a", 2), &token(), at(2)).unwrap(), None);
    assert!(changes.has_changed().unwrap());
    assert_eq!(admits(&registry, &pem, at(2)), Err("participant-pending"));
}

#[test]
fn a_token_that_was_withdrawn_or_has_expired_is_not_good() {
    let world = World::new();
    let registry = world.registry(Approval::Automatic);
    let [withdrawn, expired] = ["a", "b"].map(|name| registry.issue_token(&site(name), "ann", at(0)).unwrap());
    registry.withdraw_token(withdrawn.token_id, "ann", at(1)).unwrap();
    assert_eq!(code(registry.withdraw_token(withdrawn.token_id, "ann", at(1))), "token-unknown");
    assert_eq!(code(world.enrol(&registry, &asker("a", 1), &withdrawn, at(1))), "token-not-good");
    assert_eq!(code(world.enrol(&registry, &asker("b", 1), &expired, at(24))), "token-not-good");
    assert!(registry.tokens(at(24)).unwrap().is_empty());
}

#[test]
fn a_change_is_durable_with_its_audit_record_or_not_made() {
    let world = World::new();
    let registry = world.registry(Approval::Automatic);
    let token = registry.issue_token(&site("a"), "ann", at(0)).unwrap();
    world.enrol(&registry, &asker("a", 1), &token, at(0)).unwrap();
    let failing = Arc::new(CrashingStore::new(Arc::clone(&world.store), Crash::Never));
    let registry = world.on(failing.clone(), Approval::Automatic);
    failing.crash_now();
    assert_eq!(code(registry.quarantine(&site("a"), "seen".to_owned(), at(1))), "store-engine");
    assert_eq!(registry.state(&site("a")), Some(State::Approved));
    assert_eq!(world.registry(Approval::Automatic).state(&site("a")), Some(State::Approved));
    assert_eq!(world.audited().len(), 2);
}
