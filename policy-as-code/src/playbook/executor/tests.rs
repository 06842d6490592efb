//! Runs of the shipped playbook against the embedded accounts: through, back, lapsed, interrupted everywhere.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use shared::asset::Criticality;
use shared::store::{Batch, Key};
use shared::time::ManualClock;
use shared::{AssetId, Explain};
use shared_crypto::TokenKey;
use shared_store::MemoryStore;

use super::*;
use crate::actuator::embedded::{AccessRefused, AccountStatus, EmbeddedAccounts, ThrottleLimits};
use crate::journal::JournalError;
use crate::playbook::{Outcome, Postcondition, RunStatus, StopReason};
use crate::testing::{Crashing, Memory, asset_id, in_force, run_id, subject};

const HOUR: Duration = Duration::from_secs(3_600);

/// Everything that survives a crash of the process, and the clock.
struct World {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    trace: Arc<Trace>,
}

/// What was recorded and done, in order.
#[derive(Default)]
struct Trace(StdMutex<Vec<String>>);

impl Trace {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

/// A journal in the same store, so that it crashes with it.
struct StoredJournal {
    store: Arc<dyn Store>,
    trace: Arc<Trace>,
}

impl Journal for StoredJournal {
    fn record(&self, kind: AuditKind, content: Value) -> Result<u64, JournalError> {
        let index = self.store.scan("journal", b"", 100_000).map_or(0, |entries| entries.len());
        let batch = Batch::new().put(Key::new("journal", format!("{index:08}")), content.to_string());
        self.store.apply(batch).map_err(|error| JournalError { reason: error.to_string() })?;
        self.trace.note(format!("{kind:?} {}", content["step"]));
        Ok(u64::try_from(index).unwrap())
    }
}

/// An actuator that notes when it changes something.
struct Traced {
    inner: EmbeddedAccounts,
    trace: Arc<Trace>,
}

#[async_trait]
impl Actuator for Traced {
    async fn capture(&self, effect: &Effect) -> Result<Undo, ActuatorError> {
        self.inner.capture(effect).await
    }

    async fn apply(&self, effect: &Effect) -> Result<(), ActuatorError> {
        self.trace.note(format!("apply {}", effect.step));
        self.inner.apply(effect).await
    }

    async fn probe(&self, effect: &Effect, postcondition: Postcondition, undo: &Undo) -> Result<(), ActuatorError> {
        self.inner.probe(effect, postcondition, undo).await
    }

    async fn restore(&self, effect: &Effect, undo: &Undo) -> Result<(), ActuatorError> {
        self.trace.note(format!("restore {}", effect.step));
        self.inner.restore(effect, undo).await
    }
}

impl World {
    fn new() -> Self {
        let world = Self {
            store: Arc::new(MemoryStore::default()),
            clock: Arc::new(ManualClock::new(Timestamp::from_micros(1_000_000))),
            trace: Arc::default(),
        };
        world.accounts(&world.store).create(&asset_id("reader"), "correct horse", 5).unwrap();
        world
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn accounts(&self, store: &Arc<dyn Store>) -> EmbeddedAccounts {
        EmbeddedAccounts::new(
            Arc::clone(store),
            self.clock(),
            TokenKey::from_bytes(&[9; 32]),
            ThrottleLimits::default(),
        )
    }

    fn executor_over(&self, store: &Arc<dyn Store>) -> Executor {
        let trace = Arc::clone(&self.trace);
        Executor::new(Site {
            store: Arc::clone(store),
            clock: self.clock(),
            policies: in_force(),
            actuator: Arc::new(Traced { inner: self.accounts(store), trace: Arc::clone(&trace) }),
            journal: Arc::new(StoredJournal { store: Arc::clone(store), trace }),
        })
    }

    fn executor(&self) -> Executor {
        self.executor_over(&self.store)
    }

    fn status(&self) -> AccountStatus {
        self.accounts(&self.store).status(&asset_id("reader")).unwrap().unwrap()
    }

    fn is_restored(&self) -> bool {
        let AccountStatus { enabled, connections, queries_per_minute, .. } = self.status();
        (enabled, connections, queries_per_minute) == (true, 5, None)
    }

    async fn start(&self, executor: &Executor, run: &str, subject: Subject) -> Result<RunState, RunError> {
        executor.start(run_id(run), &impatient(), subject).await
    }
}

/// The shipped playbook without its pauses between tries.
fn impatient() -> Playbook {
    let shipped = include_str!("../../../playbooks/contain-account.json");
    Playbook::parse(&shipped.replace("\"backoff_ms\": 200", "\"backoff_ms\": 0")).unwrap()
}

fn ended(outcome: Outcome) -> RunStatus {
    RunStatus::Ended { outcome }
}

#[tokio::test]
async fn an_attacker_is_contained_and_the_account_given_back_on_request() {
    let world = World::new();
    let accounts = world.accounts(&world.store);
    let attacker = accounts.login(&asset_id("reader"), "correct horse").unwrap();
    assert!((0..100).all(|_| accounts.query(&attacker).is_ok()));

    let executor = world.executor();
    let state = world.start(&executor, "run-1", subject("reader")).await.unwrap();
    assert_eq!(state.status, ended(Outcome::Completed));
    assert!(matches!(accounts.query(&attacker), Err(AccessRefused::SessionEnded)));
    assert!(matches!(accounts.login(&asset_id("reader"), "correct horse"), Err(AccessRefused::Disabled)));
    assert_eq!(executor.ledger().reservations().unwrap().len(), 3);

    let state = executor.rollback(&run_id("run-1"), "ada").await.unwrap();
    assert!(state.is_closed());
    assert!(world.is_restored());
    assert!(accounts.login(&asset_id("reader"), "correct horse").is_ok());
    assert_eq!(executor.ledger().reservations().unwrap(), []);
    assert_eq!(executor.open_runs().unwrap(), []);
    let trace = world.trace.0.lock().unwrap().join(", ");
    let step = |number: u32| format!("Decision {number}, Intent {number}, apply {number}, Outcome {number}");
    let back = "restore 3, Rollback 3, restore 2, Rollback 2, restore 1, Rollback 1";
    assert_eq!(trace, format!("{}, {}, {}, {back}", step(1), step(2), step(3)));
}

#[tokio::test]
async fn every_lease_lapses_to_rollback() {
    let world = World::new();
    let executor = world.executor();
    world.start(&executor, "run-1", subject("reader")).await.unwrap();
    world.clock.advance(HOUR - Duration::from_secs(1));
    executor.tick().await.unwrap();
    assert!(!world.status().enabled);
    world.clock.advance(Duration::from_secs(1));
    executor.tick().await.unwrap();
    assert!(world.is_restored());
    assert!(executor.run(&run_id("run-1")).unwrap().is_closed());
    assert_eq!(executor.open_runs().unwrap(), []);
}

#[tokio::test]
async fn an_assisted_step_waits_for_an_approval_that_the_policy_set_accepts() {
    let world = World::new();
    let executor = world.executor();
    let mut important = subject("reader");
    important.asset.criticality = Criticality::BusinessCritical;
    let state = world.start(&executor, "run-1", important).await.unwrap();
    assert!(matches!(state.steps.last().unwrap().phase, StepPhase::AwaitingApproval { .. }));
    assert_eq!((state.steps.len(), world.status().enabled), (3, true));

    let person = |name: &str| Responder { name: name.to_owned(), on_call: true };
    let state = executor.approve(&run_id("run-1"), 3, person("ada")).await.unwrap();
    assert_eq!(state.status, RunStatus::Running, "a business-critical asset needs two people");
    let twice = executor.approve(&run_id("run-1"), 3, person("ada")).await.unwrap_err();
    assert_eq!(twice.code(), "run-illegal");
    let state = executor.approve(&run_id("run-1"), 3, person("grace")).await.unwrap();
    assert_eq!(state.status, ended(Outcome::Completed));
    assert!(!world.status().enabled);
}

#[tokio::test]
async fn an_approval_that_never_comes_ends_the_wait() {
    let world = World::new();
    let executor = world.executor();
    let mut unsure = subject("reader");
    unsure.detection.score_bp = 8_600;
    let state = world.start(&executor, "run-1", unsure).await.unwrap();
    assert!(matches!(state.steps.last().unwrap().phase, StepPhase::AwaitingApproval { .. }));
    world.clock.advance(Duration::from_secs(900));
    executor.tick().await.unwrap();
    assert_eq!(executor.run(&run_id("run-1")).unwrap().status, ended(Outcome::Completed));
    assert_eq!(world.status().connections, 1, "the throttle stays until its lease lapses");
    world.clock.advance(HOUR);
    executor.tick().await.unwrap();
    assert!(world.is_restored());
}

#[tokio::test]
async fn an_alert_touches_nothing() {
    let world = World::new();
    let executor = world.executor();
    let mut weak = subject("reader");
    weak.detection.score_bp = 3_000;
    let state = world.start(&executor, "run-1", weak).await.unwrap();
    assert_eq!(state.status, ended(Outcome::Stopped { reason: StopReason::AlertOnly }));
    assert!(state.is_closed() && world.is_restored());
    assert_eq!(world.trace.0.lock().unwrap().as_slice(), ["Decision 1"]);
}

#[tokio::test]
async fn two_runs_never_hold_one_asset() {
    let world = World::new();
    let executor = world.executor();
    world.start(&executor, "run-1", subject("reader")).await.unwrap();
    let second = world.start(&executor, "run-2", subject("reader")).await.unwrap();
    assert_eq!(second.status, ended(Outcome::Stopped { reason: StopReason::AssetHeld { by: run_id("run-1") } }));
    assert_eq!(world.start(&executor, "run-1", subject("reader")).await.unwrap_err().code(), "run-exists");
    executor.rollback(&run_id("run-1"), "ada").await.unwrap();
    assert!(world.is_restored());
}

/// An actuator whose effects do not hold.
struct Leaky(EmbeddedAccounts);

#[async_trait]
impl Actuator for Leaky {
    async fn capture(&self, effect: &Effect) -> Result<Undo, ActuatorError> {
        self.0.capture(effect).await
    }

    async fn apply(&self, effect: &Effect) -> Result<(), ActuatorError> {
        self.0.apply(effect).await
    }

    async fn probe(&self, _: &Effect, _: Postcondition, _: &Undo) -> Result<(), ActuatorError> {
        Err(ActuatorError::NotHeld { bypass: "a back door".to_owned() })
    }

    async fn restore(&self, effect: &Effect, undo: &Undo) -> Result<(), ActuatorError> {
        self.0.restore(effect, undo).await
    }
}

#[tokio::test]
async fn an_effect_that_does_not_hold_is_undone() {
    let world = World::new();
    let executor = Executor::new(Site {
        store: Arc::clone(&world.store),
        clock: world.clock(),
        policies: in_force(),
        actuator: Arc::new(Leaky(world.accounts(&world.store))),
        journal: Arc::new(Memory::default()),
    });
    let state = world.start(&executor, "run-1", subject("reader")).await.unwrap();
    let cause = Cause::StepFailed { step: 1 };
    assert_eq!(state.status, ended(Outcome::RolledBack { cause }));
    assert!(world.is_restored());
}

/// Runs the playbook, dying at the write after `writes`; then recovers. Returns whether it got through without dying.
async fn survives_a_crash(writes: u64, rollback: bool) -> bool {
    let world = World::new();
    let crashing: Arc<dyn Store> =
        Arc::new(Crashing { inner: Arc::clone(&world.store), writes_left: AtomicU64::new(writes) });
    let doomed = world.executor_over(&crashing);
    let mut result = world.start(&doomed, "run-1", subject("reader")).await.map(drop);
    if rollback && result.is_ok() {
        result = doomed.rollback(&run_id("run-1"), "ada").await.map(drop);
    }
    drop(doomed);

    let executor = world.executor();
    executor.tick().await.unwrap();
    if let Ok(state) = executor.run(&run_id("run-1")) {
        let held = executor.ledger().reservations().unwrap();
        assert_eq!(held.len(), state.in_force().count(), "every effect in force has a lease, after {writes} writes");
        let contained = state.status == ended(Outcome::Completed) && !world.status().enabled;
        assert!(contained || (state.is_closed() && world.is_restored()), "after {writes} writes: {:?}", state.status);
    }
    world.clock.advance(HOUR);
    executor.tick().await.unwrap();
    assert!(world.is_restored(), "after {writes} writes");
    assert_eq!(executor.ledger().reservations().unwrap(), []);
    assert_eq!(executor.open_runs().unwrap(), []);
    intents_come_first(&world.trace.0.lock().unwrap());
    result.is_ok()
}

fn intents_come_first(trace: &[String]) {
    for (index, _) in trace.iter().enumerate().filter(|(_, what)| what.starts_with("apply")) {
        let intent = trace[index].replace("apply", "Intent");
        assert!(trace[..index].contains(&intent), "{intent} is missing before it: {trace:?}");
    }
}

#[tokio::test]
async fn a_crash_after_any_write_leaves_the_account_contained_under_lease_or_restored() {
    for rollback in [false, true] {
        let mut writes = 1;
        while !survives_a_crash(writes, rollback).await {
            writes += 1;
        }
        assert!(writes > 30, "only {writes} writes");
    }
}

#[tokio::test]
async fn a_run_that_cannot_go_on_does_not_keep_others_back() {
    let world = World::new();
    let executor = world.executor();
    world.start(&executor, "run-1", subject("reader")).await.unwrap();
    let broken = Batch::new().put(Key::new("run-open", "run-0"), b"").put(Key::new("run", "run-0/000000"), b"?");
    world.store.apply(broken).unwrap();
    world.clock.advance(HOUR);
    let results = executor.tick().await.unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0].1.as_ref().unwrap_err().code(), "run-damaged");
    assert!(world.is_restored());
}

#[tokio::test]
async fn an_unknown_target_fails_the_run_without_an_effect() {
    let world = World::new();
    let executor = world.executor();
    let mut nobody = subject("nobody");
    nobody.asset.asset_id = AssetId::new("nobody").unwrap();
    let state = world.start(&executor, "run-1", nobody).await.unwrap();
    assert_eq!(state.status, ended(Outcome::RolledBack { cause: Cause::StepFailed { step: 1 } }));
    assert!(executor.ledger().reservations().unwrap().is_empty());
}
