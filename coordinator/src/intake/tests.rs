//! What should and should not get past the intake.

use std::time::Duration;

use shared::document::SignedDocument;
use shared::encoding::{BlockLen, Encoding};
use shared::participation::{LatePolicy, Participation};
use shared::round::RoundState;
use shared::task::{ModelSpec, Task};
use shared::update::{CHUNK_BYTES, UpdateHeader, UpdateReceipt};
use shared::{Digest, Explain, ParamVector, RoundNumber, TaskId};
use shared_crypto::ChunkDigests;

use super::upload::known;
use super::*;
use crate::enrol::State;
use crate::round::driver::Driver;
use crate::testing::{
    SITES, World, begin, evaluation, header, join, key, one_hot, open as open_update, participant, site, submit, task,
    update,
};

/// A round of `task` that collects.
fn collecting_of(task: Task) -> (World, Driver) {
    let world = World::with(task);
    let mut driver = world.driver();
    let joins = SITES.iter().map(|site| join(site, &driver).unwrap()).collect();
    assert!(driver.offer(joins).unwrap().iter().all(Result::is_ok));
    driver.advance().unwrap();
    (world, driver)
}

/// A round that collects, with the update of `a` in it.
fn collecting() -> (World, Driver) {
    let (world, mut driver) = collecting_of(task());
    driver.offer(vec![update("a", &driver).unwrap()]).unwrap().remove(0).unwrap();
    (world, driver)
}

/// A model of three chunks.
fn long_task() -> Task {
    let inputs = u32::try_from(CHUNK_BYTES / 4 * 2 + 10).unwrap();
    Task { model: ModelSpec { inputs, hidden: vec![] }, ..task() }
}

fn long_payload() -> Vec<u8> {
    (0..CHUNK_BYTES / 2 + 11).flat_map(|index| f32::from(u16::try_from(index % 1000).unwrap()).to_le_bytes()).collect()
}

fn chunk_bytes() -> u64 {
    u64::try_from(CHUNK_BYTES).unwrap()
}

fn deliver(driver: &Driver, document: SignedDocument, payload: &[u8]) -> Result<Proposal, Error> {
    submit(document, payload, &participant("b"), driver)
}

/// Delivers the update of `b` after `change` to its header, signed again.
fn with_header(driver: &Driver, change: impl FnOnce(&mut UpdateHeader)) -> Result<Proposal, Error> {
    let payload = one_hot("b").to_le_bytes();
    let mut header = header("b", driver, &payload);
    change(&mut header);
    deliver(driver, key("b").sign(&header).unwrap(), &payload)
}

/// Delivers `bytes` under a header that is signed for them.
fn with_bytes(driver: &Driver, bytes: &[u8]) -> Result<Proposal, Error> {
    deliver(driver, key("b").sign(&header("b", driver, bytes)).unwrap(), bytes)
}

fn with_signature(driver: &Driver, signature: &str) -> Result<Proposal, Error> {
    let payload = one_hot("b").to_le_bytes();
    let document = key("b").sign(&header("b", driver, &payload)).unwrap();
    deliver(driver, SignedDocument { signature: signature.to_owned(), ..document }, &payload)
}

type Attempt = fn(&Driver) -> Result<Proposal, Error>;

#[test]
fn what_is_not_an_honest_update_is_refused_by_its_reason() {
    let wrong_key: Attempt = |driver| {
        let payload = one_hot("b").to_le_bytes();
        deliver(driver, key("c").sign(&header("b", driver, &payload))?, &payload)
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
    let cases: [(&str, &str, Attempt); 20] = [
        ("unsigned", "crypto-signature", |driver| with_signature(driver, "")),
        ("forged", "crypto-signature", |driver| with_signature(driver, &"0".repeat(128))),
        ("wrong key", "crypto-wrong-signer", wrong_key),
        ("another kind of document", "crypto-signature", other_kind),
        ("another participant's name", "sender-mismatch", |d| with_header(d, |h| h.participant_id = site("c"))),
        ("stale checkpoint", "update-stale", |d| with_header(d, |h| h.checkpoint = Digest([7; 32]))),
        ("stale task", "update-stale", |d| with_header(d, |h| h.task_digest = Digest([7; 32]))),
        ("later round", "round-stale", |d| with_header(d, |h| h.round_id.number = RoundNumber(2))),
        ("another task", "update-stale", |d| with_header(d, |h| h.round_id.task_id = TaskId::new("u").unwrap())),
        ("wrong length", "update-length", |d| with_header(d, |h| h.byte_count = 4)),
        ("absurd length", "update-length", |d| with_header(d, |h| h.byte_count = 1 << 53)),
        ("encoding not offered", "update-encoding", |d| with_header(d, |h| h.encoding = Encoding::Bf16)),
        ("no steps", "update-local-steps", |d| with_header(d, |h| h.local_steps = 0)),
        ("too many steps", "update-local-steps", |d| with_header(d, |h| h.local_steps = 2)),
        ("other payload", "update-digest", |d| with_header(d, |h| h.payload = Digest([7; 32]))),
        ("oversize", "update-length", |driver| with_bytes(driver, &[0; 16])),
        ("undersize", "update-length", |driver| with_bytes(driver, &[0; 8])),
        ("ragged", "update-length", |driver| with_bytes(driver, &[0; 11])),
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
    let refused =
        |driver: &mut Driver, proposal: Proposal| driver.offer(vec![proposal]).unwrap().remove(0).unwrap_err().code();
    let world = World::with(task());
    let mut driver = world.driver();
    assert_eq!(update("a", &driver).unwrap_err().code(), "round-wrong-phase");
    driver.offer(["a", "b"].map(|site| join(site, &driver).unwrap()).into()).unwrap();
    world.clock.advance(Duration::from_secs(10));
    driver.advance().unwrap();
    assert_eq!(update("c", &driver).unwrap_err().code(), "round-not-taking-part");
    let late = join("c", &driver).unwrap();
    assert_eq!(refused(&mut driver, late), "round-wrong-phase");
    driver.offer(["a", "b"].map(|site| update(site, &driver).unwrap()).into()).unwrap();
    driver.advance().unwrap();
    let stranger = evaluation("c", &driver).unwrap();
    assert_eq!(refused(&mut driver, stranger), "round-not-taking-part");

    let (world, mut driver) = collecting();
    driver.offer(vec![update("b", &driver).unwrap()]).unwrap().remove(0).unwrap();
    let late = update("c", &driver).unwrap();
    world.clock.advance(Duration::from_secs(20));
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
    assert_eq!(refused(&mut driver, late), "round-wrong-phase");
    assert_eq!(update("c", &driver).unwrap_err().code(), "round-wrong-phase");
}

#[test]
fn a_replayed_update_gets_its_first_receipt_even_when_its_round_is_over() {
    let (world, mut driver) = collecting();
    let store = &*world.store;
    let again = header("a", &driver, &one_hot("a").to_le_bytes());
    let receipt = known(store, &again, &driver.snapshot()).unwrap().unwrap();
    world.pass(&driver, 1);
    driver.offer(["b", "c"].map(|site| update(site, &driver).unwrap()).into()).unwrap();
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
    assert_eq!(known(store, &again, &driver.snapshot()).unwrap().unwrap(), receipt);
    let opened: UpdateReceipt = driver.context().signer.public().open(&receipt).unwrap();
    assert_eq!((opened.payload, &opened.round_id), (again.payload, &again.round_id));
}

#[test]
fn a_second_signed_update_is_kept_as_evidence_and_quarantines_its_sender() {
    let (world, mut driver) = collecting();
    let payload = one_hot("b").to_le_bytes();
    let second = key("a").sign(&header("a", &driver, &payload)).unwrap();
    for _ in 0..2 {
        let digests = ChunkDigests::of(&payload).as_slice().to_vec();
        let refused = open_update(second.clone(), digests, &participant("a"), &driver).err().unwrap();
        assert_eq!(refused.code(), "round-equivocation");
    }
    let round_id = &driver.snapshot().state.plan().round_id.clone();
    let kept = |key| durable::read::<SignedDocument>(&*world.store, &key).unwrap().unwrap();
    assert_eq!(kept(durable::equivocation(round_id, &site("a"))), second);
    let first = kept(durable::evidence(round_id, Evidence::Update, &site("a")));
    assert_ne!(key("a").public().open::<UpdateHeader>(&first).unwrap().payload, ChunkDigests::of(&payload).payload());
    assert_eq!(driver.context().registry.state(&site("a")), Some(State::Quarantined));
    world.pass(&driver, 1);
    driver.advance().unwrap();
    let RoundState::Collecting(state) = &*driver.snapshot().state else { panic!() };
    assert!(state.accepted.is_empty() && state.excluded.contains(&site("a")));
}

#[test]
fn chunks_out_of_order_or_not_as_announced_are_refused_and_cost_nothing_that_came_before() {
    let (_world, driver) = collecting_of(long_task());
    let (payload, sender) = (long_payload(), participant("b"));
    let document = key("b").sign(&header("b", &driver, &payload)).unwrap();
    let mut upload = begin(document.clone(), &payload, &sender, &driver).unwrap();
    let context = driver.context();
    upload.take(context, 0, &payload[..CHUNK_BYTES]).unwrap();
    for (offset, data) in [
        (0, &payload[..CHUNK_BYTES]),
        (2 * chunk_bytes(), &payload[2 * CHUNK_BYTES..]),
        (chunk_bytes(), &payload[CHUNK_BYTES..CHUNK_BYTES + 4]),
    ] {
        assert_eq!(upload.take(context, offset, data).unwrap_err().code(), "update-out-of-order");
    }
    let wrong = upload.take(context, chunk_bytes(), &vec![1; CHUNK_BYTES]).unwrap_err();
    assert_eq!(wrong.code(), "chunk-digest");
    let plan = driver.snapshot().state.plan().clone();
    assert_eq!(upload.finish(context, &plan).unwrap_err().code(), "update-incomplete");
    let again = begin(document, &payload, &sender, &driver).unwrap();
    assert_eq!(again.durable(), chunk_bytes());
}

#[test]
fn an_upload_goes_on_at_the_last_chunk_that_a_crash_of_the_machine_left_whole() {
    for survives in [false, true] {
        let (world, driver) = collecting_of(long_task());
        let (payload, sender) = (long_payload(), participant("b"));
        let document = key("b").sign(&header("b", &driver, &payload)).unwrap();
        let mut upload = begin(document.clone(), &payload, &sender, &driver).unwrap();
        upload.take(driver.context(), 0, &payload[..CHUNK_BYTES]).unwrap();
        drop(upload);
        // Opening again makes the first chunk durable; the folder's entry becomes durable with somebody else's update.
        let mut upload = begin(document.clone(), &payload, &sender, &driver).unwrap();
        driver.context().blobs.sync_round(&driver.snapshot().state.plan().round_id).unwrap();
        upload.take(driver.context(), chunk_bytes(), &payload[CHUNK_BYTES..2 * CHUNK_BYTES]).unwrap();
        drop((upload, driver));
        // Every other sector of the second chunk reaches the disk, or all of it.
        let mut sector = 0;
        world.disk.crash(&mut || {
            sector += 1;
            survives || sector % 2 == 0
        });
        let mut driver = world.driver();
        let upload = begin(document.clone(), &payload, &sender, &driver).unwrap();
        assert_eq!(upload.durable(), if survives { 2 * chunk_bytes() } else { chunk_bytes() });
        drop(upload);
        let proposal = submit(document, &payload, &sender, &driver).unwrap();
        driver.offer(vec![proposal]).unwrap().remove(0).unwrap();
    }
}

#[test]
fn a_participant_sends_one_update_at_a_time_and_begins_few_different_ones() {
    let (_world, driver) = collecting_of(task());
    let payload = one_hot("b").to_le_bytes();
    let document = key("b").sign(&header("b", &driver, &payload)).unwrap();
    let first = begin(document.clone(), &payload, &participant("b"), &driver).unwrap();
    let second = begin(document, &payload, &participant("b"), &driver);
    assert_eq!(second.err().unwrap().code(), "update-sending");
    drop(first);
    let codes = (0..4_u8).map(|value| {
        let payload = ParamVector::new(vec![f32::from(value); 3]).unwrap().to_le_bytes();
        let document = key("b").sign(&header("b", &driver, &payload)).unwrap();
        begin(document, &payload, &participant("b"), &driver).err().map(|error| error.code())
    });
    assert_eq!(codes.collect::<Vec<_>>(), [None, None, None, Some("update-too-many-begun")]);
}

#[test]
fn a_full_disk_refuses_an_update_and_takes_it_once_there_is_room() {
    let (world, mut driver) = collecting_of(long_task());
    let payload = long_payload();
    let document = key("b").sign(&header("b", &driver, &payload)).unwrap();
    world.disk.set_capacity(Some(world.disk.used() + chunk_bytes() + 1));
    let refused = submit(document.clone(), &payload, &participant("b"), &driver).unwrap_err();
    assert_eq!(refused.code(), "disk-full");
    world.disk.set_capacity(None);
    assert_eq!(begin(document.clone(), &payload, &participant("b"), &driver).unwrap().durable(), chunk_bytes());
    let proposal = submit(document, &payload, &participant("b"), &driver).unwrap();
    driver.offer(vec![proposal]).unwrap().remove(0).unwrap();
}

#[test]
fn every_encoding_that_the_task_offers_is_taken() {
    let block = BlockLen::new(256).unwrap();
    let encodings = vec![Encoding::F32, Encoding::Bf16, Encoding::Int8 { block }];
    let (_world, mut driver) = collecting_of(Task { encodings: encodings.clone(), ..task() });
    for (name, encoding) in SITES.into_iter().zip(encodings) {
        let payload = encoding.encode(&one_hot(name), &mut |bytes| bytes.fill(0));
        let header = UpdateHeader { encoding, ..header(name, &driver, &payload) };
        let document = key(name).sign(&header).unwrap();
        let proposal = submit(document, &payload, &participant(name), &driver).unwrap();
        driver.offer(vec![proposal]).unwrap().remove(0).unwrap();
    }
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
}

#[test]
fn a_late_update_counts_once_in_the_round_that_collects_and_by_its_staleness() {
    for (late, weight) in [(LatePolicy::Carry { rounds: 1 }, 1), (LatePolicy::Buffered { rounds: 1 }, 724)] {
        let (world, mut driver) =
            collecting_of(Task { participation: Participation { late, ..Default::default() }, ..task() });
        let payload = one_hot("c").to_le_bytes();
        let document = key("c").sign(&header("c", &driver, &payload)).unwrap();
        // The first round ends without c.
        driver.offer(["a", "b"].map(|site| update(site, &driver).unwrap()).into()).unwrap();
        world.clock.advance(Duration::from_secs(20));
        driver.advance().unwrap();
        let send = |driver: &Driver| submit(document.clone(), &payload, &participant("c"), driver);
        assert_eq!(send(&driver).unwrap_err().code(), "round-wrong-phase");
        driver.offer(["a", "b"].map(|site| evaluation(site, &driver).unwrap()).into()).unwrap();
        world.clock.advance(Duration::from_secs(30));
        driver.advance().unwrap();
        driver.offer(["a", "b"].map(|site| join(site, &driver).unwrap()).into()).unwrap();
        world.clock.advance(Duration::from_secs(10));
        driver.advance().unwrap();
        driver.offer(vec![send(&driver).unwrap()]).unwrap().remove(0).unwrap();
        let RoundState::Collecting(state) = &*driver.snapshot().state else { panic!() };
        let counted = &state.accepted[&site("c")];
        assert_eq!((counted.trained_in, counted.weight), (RoundNumber(1), weight));
        let again =
            open_update(document.clone(), ChunkDigests::of(&payload).as_slice().to_vec(), &participant("c"), &driver);
        let Opened::Known(receipt) = again.unwrap() else { panic!() };
        let receipt: UpdateReceipt = driver.context().signer.public().open(&receipt).unwrap();
        assert_eq!(receipt.round_id.number, RoundNumber(2), "the round in which it counts");
    }
}

#[test]
fn a_late_update_of_who_never_joined_is_refused() {
    let participation = Participation { late: LatePolicy::Carry { rounds: 1 }, ..Default::default() };
    let (_world, driver) = collecting_of(Task { participation, ..task() });
    let refused = with_header(&driver, |header| header.round_id.number = RoundNumber(0));
    assert_eq!(refused.unwrap_err().code(), "round-not-taking-part");
}
