//! What should and should not get past the intake.

use shared::document::SignedDocument;
use shared::update::{UpdateHeader, UpdateReceipt};
use shared::{Digest, Explain, ParamVector, RoundNumber, TaskId};
use shared_crypto::digest;

use super::*;
use crate::round::driver::Driver;
use crate::testing::{SITES, World, evaluation, header, join, key, one_hot, participant, site, submit, task, update};

/// A round that collects, with the update of `a` in it.
fn collecting() -> (World, Driver) {
    let world = World::with(task());
    let mut driver = world.driver();
    let joins = SITES.iter().map(|site| join(site, &driver).unwrap()).collect();
    assert!(driver.offer(joins).unwrap().iter().all(Result::is_ok));
    driver.advance().unwrap();
    driver.offer(vec![update("a", &driver).unwrap()]).unwrap().remove(0).unwrap();
    (world, driver)
}

fn deliver(driver: &Driver, document: SignedDocument, bytes: &[u8]) -> Result<Proposal, Error> {
    submit(document, bytes, &participant("b"), driver.task(), &driver.snapshot(), driver.context())
}

/// Delivers the update of `b` after `change` to its header, signed again.
fn with_header(driver: &Driver, change: impl FnOnce(&mut UpdateHeader)) -> Result<Proposal, Error> {
    let update = one_hot("b");
    let mut header = header("b", driver, &update);
    change(&mut header);
    deliver(driver, key("b").sign(&header).unwrap(), &update.to_le_bytes())
}

/// Delivers `bytes` under a header that is signed for them.
fn with_bytes(driver: &Driver, bytes: &[u8]) -> Result<Proposal, Error> {
    let mut header = header("b", driver, &one_hot("b"));
    header.payload = digest(bytes);
    deliver(driver, key("b").sign(&header).unwrap(), bytes)
}

fn with_signature(driver: &Driver, signature: &str) -> Result<Proposal, Error> {
    let update = one_hot("b");
    let document = key("b").sign(&header("b", driver, &update)).unwrap();
    deliver(driver, SignedDocument { signature: signature.to_owned(), ..document }, &update.to_le_bytes())
}

type Attempt = fn(&Driver) -> Result<Proposal, Error>;

#[test]
fn what_is_not_an_honest_update_is_refused_by_its_reason() {
    let wrong_key: Attempt = |driver| {
        let update = one_hot("b");
        deliver(driver, key("c").sign(&header("b", driver, &update))?, &update.to_le_bytes())
    };
    let other_kind: Attempt = |driver| {
        let snapshot = driver.snapshot();
        let receipt = UpdateReceipt {
            round_id: snapshot.state.plan().round_id.clone(),
            participant_id: site("b"),
            payload: Digest([0; 32]),
            accepted_at: driver.context().clock.now(),
        };
        deliver(driver, key("b").sign(&receipt)?, &[])
    };
    let cases: [(&str, &str, Attempt); 17] = [
        ("unsigned", "crypto-signature", |driver| with_signature(driver, "")),
        ("forged", "crypto-signature", |driver| with_signature(driver, &"0".repeat(128))),
        ("wrong key", "crypto-wrong-signer", wrong_key),
        ("another kind of document", "crypto-signature", other_kind),
        ("another participant's name", "sender-mismatch", |d| with_header(d, |h| h.participant_id = site("c"))),
        ("stale checkpoint", "update-stale", |d| with_header(d, |h| h.checkpoint = Digest([7; 32]))),
        ("stale task", "update-stale", |d| with_header(d, |h| h.task_digest = Digest([7; 32]))),
        ("later round", "update-stale", |d| with_header(d, |h| h.round_id.number = RoundNumber(2))),
        ("another task", "update-stale", |d| with_header(d, |h| h.round_id.task_id = TaskId::new("u").unwrap())),
        ("wrong shape", "params-wrong-length", |d| with_header(d, |h| h.param_count = 4)),
        ("absurd shape", "params-wrong-length", |d| with_header(d, |h| h.param_count = 1 << 53)),
        ("other payload", "update-digest", |d| with_header(d, |h| h.payload = Digest([7; 32]))),
        ("oversize", "update-oversize", |driver| with_bytes(driver, &[0; 16])),
        ("undersize", "params-wrong-length", |driver| with_bytes(driver, &[0; 8])),
        ("ragged", "params-ragged", |driver| with_bytes(driver, &[0; 11])),
        ("not finite", "params-not-finite", |driver| with_bytes(driver, &[0xff; 12])),
        ("diverged", "aggregate-out-of-range", |driver| {
            with_bytes(driver, &ParamVector::new(vec![0.0, 2000.0, 0.0]).unwrap().to_le_bytes())
        }),
    ];
    let (_world, driver) = collecting();
    for (name, code, attempt) in cases {
        let error = attempt(&driver).expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error}");
    }
    assert!(update("b", &driver).is_ok());
}

#[test]
fn an_update_is_taken_only_while_the_round_collects_and_only_from_those_who_joined() {
    let world = World::with(task());
    let mut driver = world.driver();
    assert_eq!(update("a", &driver).unwrap_err().code(), "round-wrong-phase");
    driver.offer(["a", "b"].map(|site| join(site, &driver).unwrap()).into()).unwrap();
    world.clock.advance(std::time::Duration::from_secs(10));
    driver.advance().unwrap();
    assert_eq!(update("c", &driver).unwrap_err().code(), "round-not-taking-part");
    assert_eq!(join("c", &driver).unwrap_err().code(), "round-wrong-phase");
    driver.offer(["a", "b"].map(|site| update(site, &driver).unwrap()).into()).unwrap();
    let late = update("b", &driver).unwrap();
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
    assert_eq!(update("b", &driver).unwrap_err().code(), "round-wrong-phase");
    assert_eq!(driver.offer(vec![late]).unwrap().remove(0).unwrap_err().code(), "round-wrong-phase");
    assert_eq!(evaluation("c", &driver).unwrap_err().code(), "round-not-taking-part");
}

#[test]
fn a_replayed_update_gets_its_first_receipt_and_another_one_is_equivocation() {
    let (world, mut driver) = collecting();
    let store = &*world.store;
    let mut again = header("a", &driver, &one_hot("a"));
    let receipt = known(store, &again, &driver.snapshot()).unwrap().unwrap();
    world.clock.advance(std::time::Duration::from_secs(1));
    driver.offer(vec![update("a", &driver).unwrap()]).unwrap().remove(0).unwrap();
    driver.offer(["b", "c"].map(|site| update(site, &driver).unwrap()).into()).unwrap();
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
    assert_eq!(known(store, &again, &driver.snapshot()).unwrap().unwrap(), receipt);
    let opened: UpdateReceipt = driver.context().signer.public().open(&receipt).unwrap();
    assert_eq!(opened.payload, again.payload);
    again.payload = Digest([7; 32]);
    assert_eq!(known(store, &again, &driver.snapshot()).unwrap_err().code(), "round-equivocation");
}

#[test]
fn parts_that_leave_a_gap_are_refused() {
    let (_world, driver) = collecting();
    let header = header("b", &driver, &one_hot("b"));
    let document = key("b").sign(&header).unwrap();
    let now = driver.context().clock.now();
    let mut incoming = Incoming::open(document, header, driver.task(), &driver.snapshot(), now).unwrap();
    incoming.push(0, &[0; 4]).unwrap();
    for offset in [0, 8] {
        assert_eq!(incoming.push(offset, &[0; 4]).unwrap_err().code(), "update-out-of-order");
    }
    incoming.push(4, &[0; 8]).unwrap();
    assert_eq!(incoming.push(12, &[0; 1]).unwrap_err().code(), "update-oversize");
}
