//! Rounds driven without sockets or waiting: deadlines, quorum, and a process killed before and after every batch.

mod files;
mod presence;
mod promises;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::aggregate::Rule;
use shared::audit::AuditRecord;
use shared::document::SignedDocument;
use shared::release::{Release, RoundRecord};
use shared::round::RoundState;
use shared::store::{Key, Store, StoreError};
use shared::{Clock, Digest, ParamVector, RoundId, RoundNumber};
use shared_crypto::document_digest;

use tokio_util::sync::CancellationToken;

use super::actor::{self, Order};
use super::driver::{Driver, Proposal};
use crate::guard::Guarded;
use crate::testing::{
    Crash, CrashingStore, PARAMS, SITES, World, evaluation, join, next_deed, participant, task, update,
};
use crate::{Error, Outcome, durable, release};

/// Lets all sites do their part until the task has ended, or the store fails.
fn run(driver: &mut Driver) -> Result<(), Error> {
    while !driver.has_ended() {
        step(driver)?;
    }
    Ok(())
}

/// Does what is due, and then what each site has to do.
fn step(driver: &mut Driver) -> Result<(), Error> {
    driver.advance()?;
    let deeds: Vec<_> = SITES.iter().filter_map(|site| next_deed(site, driver)).collect();
    for deed in deeds {
        driver.offer(vec![deed?])?.remove(0)?;
    }
    Ok(())
}

/// Everything that a task leaves behind, for comparing runs.
#[derive(Debug, PartialEq)]
struct Legacy {
    records: Vec<Digest>,
    release: Digest,
    params: ParamVector,
    audit: Vec<String>,
}

/// The signed latest release.
fn released(world: &World) -> SignedDocument {
    let operator = world.context(world.store.clone()).operator.public();
    let (word, _) = release::latest(&*world.store, operator).unwrap().unwrap();
    release::find(&*world.store, word.release_id).unwrap().release
}

fn legacy(world: &World) -> Legacy {
    let store = &*world.store;
    let record = |number| RoundId { task_id: task().task_id, number: RoundNumber(number) };
    let record = |number| durable::read(store, &durable::record(&record(number))).unwrap().unwrap();
    let released = released(world);
    let context = world.context(world.store.clone());
    let content: Release = context.signer.public().open(&released).unwrap();
    let audit = (0..context.journal.size()).map(|index| context.journal.receipt(index).unwrap().entry);
    let audit = audit.map(|entry| context.signer.public().open::<AuditRecord>(&entry).unwrap().content.to_string());
    Legacy {
        records: [1, 2].map(|number| document_digest(&record(number))).to_vec(),
        release: document_digest(&released),
        params: params(world, content.params),
        audit: audit.collect(),
    }
}

/// Parameters in their file.
fn params(world: &World, digest: Digest) -> ParamVector {
    let blob = world.context(world.store.clone()).blobs.params(digest).unwrap();
    let mut bytes = vec![0; PARAMS * 4];
    blob.read_at(0, &mut bytes).unwrap();
    ParamVector::from_le_bytes(&bytes, PARAMS).unwrap()
}

fn undisturbed() -> (Legacy, u32) {
    let world = World::with(task());
    let store = Arc::new(CrashingStore::new(Arc::clone(&world.store), Crash::Never));
    let mut driver = Driver::open(world.context(store.clone()), &task().task_id).unwrap();
    run(&mut driver).unwrap();
    (legacy(&world), store.batches.load(Ordering::SeqCst))
}

#[test]
fn a_task_ends_with_a_signed_release_of_the_exact_mean() {
    let (legacy, _) = undisturbed();
    assert_eq!(legacy.params, ParamVector::new(vec![2.0; PARAMS]).unwrap());
    assert_eq!(legacy.audit.len(), 8, "{:?}", legacy.audit);
}

#[test]
fn r1_update_durable_a_kill_before_or_after_any_batch_changes_nothing_in_the_end() {
    let (expected, batches) = undisturbed();
    assert!(batches > 20, "{batches}");
    for crash in (0..batches).flat_map(|number| [Crash::Before(number), Crash::After(number)]) {
        let world = World::with(task());
        let store: Arc<dyn Store> = Arc::new(CrashingStore::new(Arc::clone(&world.store), crash));
        let killed = world
            .try_context(store)
            .and_then(|context| Driver::open(context, &task().task_id))
            .and_then(|mut driver| run(&mut driver));
        // Where only an audit record was on its way, the round itself went on.
        assert!(matches!(killed, Ok(()) | Err(Error::Store(_) | Error::Audit(_))), "{crash:?}: {killed:?}");
        run(&mut world.driver()).unwrap();
        assert_eq!(legacy(&world), expected, "{crash:?}");
    }
}

#[test]
fn a_store_that_failed_serves_nobody_until_a_write_succeeds() {
    let world = World::with(task());
    let store = CrashingStore::new(Arc::clone(&world.store), Crash::After(0));
    let guarded = Guarded::new(Arc::new(store));
    let batch = shared::store::Batch::new().put(Key::new("x", "k"), "v");
    assert!(matches!(guarded.apply(batch), Err(StoreError::Engine { .. })));
    assert!(guarded.get(&Key::new("x", "k")).is_err() && guarded.scan("x", b"", 1).is_err() && !guarded.is_well());
    guarded.probe().unwrap();
    assert_eq!(guarded.get(&Key::new("x", "k")).unwrap(), Some(b"v".to_vec()));
}

#[tokio::test]
async fn an_actor_goes_on_by_itself_when_the_store_works_again() {
    let world = World::with(task());
    let store = Arc::new(CrashingStore::new(Arc::clone(&world.store), Crash::Never));
    let guarded = Arc::new(Guarded::new(store.clone()));
    let driver = Driver::open(world.on(Arc::clone(&guarded)).unwrap(), &task().task_id).unwrap();
    let [first, second, third, fourth] = ["a", "b", "a", "b"].map(|site| join(site, &driver).unwrap());
    let stop = CancellationToken::new();
    let (handle, actor) = actor::prepare(driver, stop.clone());
    let actor = tokio::spawn(actor);
    store.crash_now();
    assert!(matches!(handle.offer(first).await, Err(Error::Store(_))));
    assert!(matches!(handle.offer(second).await, Err(Error::Unavailable)));
    guarded.probe().unwrap();
    while handle.order(Order::Pause).await.is_err() {
        tokio::task::yield_now().await;
    }
    handle.offer(third).await.unwrap();
    handle.offer(fourth).await.unwrap();
    let view = handle.snapshot().view(&participant("a").participant_id, world.clock.now());
    assert_eq!((view.joined, view.caller_joined), (2, true));
    stop.cancel();
    actor.await.unwrap();
    assert!(matches!(handle.pause().await, Err(Error::Unavailable)));
}

#[test]
fn offers_that_come_together_are_one_batch() {
    let world = World::with(task());
    let store = Arc::new(CrashingStore::new(Arc::clone(&world.store), Crash::Never));
    let mut driver = Driver::open(world.context(store.clone()), &task().task_id).unwrap();
    let before = store.batches.load(Ordering::SeqCst);
    let answers = driver.offer(SITES.iter().map(|site| join(site, &driver).unwrap()).collect()).unwrap();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(store.batches.load(Ordering::SeqCst), before + 1);
    assert!(matches!(*driver.snapshot().state, RoundState::Announced(_)));
    driver.advance().unwrap();
    assert!(matches!(*driver.snapshot().state, RoundState::Collecting(_)));
}

#[test]
fn a_failed_batch_leaves_every_offer_in_it_undone() {
    let world = World::with(task());
    let store = Arc::new(CrashingStore::new(Arc::clone(&world.store), Crash::Never));
    let mut driver = Driver::open(world.context(store.clone()), &task().task_id).unwrap();
    store.crash_now();
    let offers = SITES.iter().map(|site| join(site, &driver).unwrap()).collect();
    assert!(matches!(driver.offer(offers), Err(Error::Store(_))));
    assert_eq!(driver.snapshot().view(&participant("a").participant_id, driver.context().clock.now()).joined, 0);
    let again = world.driver().snapshot();
    assert!(matches!(&*again.state, RoundState::Announced(state) if state.joined.is_empty()));
}

#[test]
fn the_deadline_goes_on_with_a_quorum_and_without_the_missing() {
    let world = World::with(task());
    let mut driver = world.driver();
    for site in ["a", "b"] {
        driver.offer(vec![join(site, &driver).unwrap()]).unwrap().remove(0).unwrap();
    }
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "announced");
    world.clock.advance(Duration::from_secs(10));
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "collecting");
    for site in ["a", "b"] {
        driver.offer(vec![update(site, &driver).unwrap()]).unwrap().remove(0).unwrap();
    }
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
    driver.offer(vec![evaluation("a", &driver).unwrap()]).unwrap().remove(0).unwrap();
    world.clock.advance(Duration::from_secs(30));
    driver.advance().unwrap();
    let snapshot = driver.snapshot();
    assert_eq!((snapshot.state.phase(), snapshot.rounds_done), ("announced", 1));
    let first = RoundId { task_id: task().task_id, number: RoundNumber::FIRST };
    let record = durable::read(&*world.store, &durable::record(&first)).unwrap().unwrap();
    let record: RoundRecord = driver.context().signer.public().open(&record).unwrap();
    assert_eq!((record.accepted.len(), record.tally.sites), (2, 1));
}

#[test]
fn a_round_without_quorum_is_followed_by_another_until_the_task_fails() {
    let world = World::with(task());
    let mut driver = world.driver();
    let checkpoint = driver.snapshot().state.plan().checkpoint;
    for number in 1..=3 {
        let snapshot = driver.snapshot();
        let plan = snapshot.state.plan();
        assert_eq!((plan.round_id.number, plan.checkpoint), (RoundNumber(number), checkpoint));
        driver.offer(vec![join("a", &driver).unwrap()]).unwrap().remove(0).unwrap();
        world.clock.advance(Duration::from_secs(10));
        driver.advance().unwrap();
    }
    let Some(Outcome::Failed { reason, .. }) = driver.snapshot().outcome else { panic!() };
    assert_eq!(reason, "3 rounds in a row without a result; the last: 1 came where 2 were needed");
    assert!(matches!(driver.cancel(), Err(Error::TaskEnded(_))));
}

#[test]
fn a_cancelled_task_stays_cancelled() {
    let world = World::with(task());
    let mut driver = world.driver();
    let late = join("a", &driver).unwrap();
    driver.cancel().unwrap();
    assert!(matches!(driver.offer(vec![late]).unwrap().remove(0), Err(Error::Round(_))));
    driver.advance().unwrap();
    let again = world.driver();
    assert!(matches!(again.snapshot().outcome, Some(Outcome::Cancelled { .. })));
    assert_eq!(again.snapshot().state.phase(), "aborted");
}

#[test]
fn a_candidate_that_fails_the_gates_is_refused_with_reasons() {
    let mut strict = task();
    strict.gates.min_true_positive_rate = 0.95;
    let world = World::with(strict);
    let mut driver = world.driver();
    run(&mut driver).unwrap();
    let Some(Outcome::Refused { reasons, .. }) = driver.snapshot().outcome else { panic!() };
    assert_eq!(reasons, ["the true-positive rate is 0.9000, not at least 0.9500"]);
    let operator = driver.context().operator.public();
    assert!(release::latest(&*world.store, operator).unwrap().is_none());
}

#[test]
fn the_median_of_the_updates_outvotes_one() {
    let mut median = task();
    median.rounds = 1;
    median.aggregation.rule = Rule::CoordinateMedian;
    let world = World::with(median);
    run(&mut world.driver()).unwrap();
    let release: Release = world.driver().context().signer.public().open(&released(&world)).unwrap();
    assert_eq!(params(&world, release.params), ParamVector::zeros(PARAMS));
}
