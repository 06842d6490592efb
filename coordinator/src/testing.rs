//! A small federation without sockets: three sites, one task, a store that can be made to fail, a clock that stands.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use shared::document::SignedDocument;
use shared::feature::FeatureViewRef;
use shared::privacy::{Guarantee, PrivacyUnit};
use shared::round::RoundState;
use shared::store::{Batch, Entry, Key, Store, StoreError};
use shared::task::{AggregationRule, Deadlines, ModelSpec, PrivacyTerms, Recipe, ReleaseGates, Task};
use shared::time::ManualClock;
use shared::update::{Evaluation, Join, UpdateHeader};
use shared::{Clock, Digest, ParamVector, ParticipantId, RoundId, TaskId, Timestamp};
use shared_crypto::{SigningKey, digest};
use shared_store::MemoryStore;

use crate::Error;
use crate::audit::Journal;
use crate::enrol::Participant;
use crate::guard::Guarded;
use crate::intake::{self, Incoming};
use crate::round::Snapshot;
use crate::round::driver::{Context, Driver, Proposal};
use crate::task::SignedTask;

pub(crate) const SITES: [&str; 3] = ["a", "b", "c"];
/// Two features and a bias: one parameter for each site's one-hot update.
pub(crate) const PARAMS: usize = SITES.len();
const START: i64 = 1_790_000_000_000_000;

/// When a store stops answering, as a killed process would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    Never,
    /// Instead of the batch with this number.
    Before(u32),
    /// Right after the batch with this number became durable.
    After(u32),
}

/// A store that crashes once.
pub(crate) struct CrashingStore {
    inner: Arc<MemoryStore>,
    crash: Mutex<Crash>,
    pub(crate) batches: AtomicU32,
}

impl CrashingStore {
    pub(crate) fn new(inner: Arc<MemoryStore>, crash: Crash) -> Self {
        Self { inner, crash: Mutex::new(crash), batches: AtomicU32::new(0) }
    }

    /// Crashes instead of the next batch.
    pub(crate) fn crash_now(&self) {
        *self.crash.lock().unwrap() = Crash::Before(self.batches.load(Ordering::SeqCst));
    }
}

fn crashed() -> StoreError {
    StoreError::Engine { location: "memory".to_owned(), reason: "killed".to_owned() }
}

impl Store for CrashingStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(tree, prefix, limit)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let number = self.batches.fetch_add(1, Ordering::SeqCst);
        let crash = *self.crash.lock().unwrap();
        if crash == Crash::Before(number) {
            return Err(crashed());
        }
        self.inner.apply(batch)?;
        if crash == Crash::After(number) { Err(crashed()) } else { Ok(()) }
    }
}

pub(crate) fn site(name: &str) -> ParticipantId {
    ParticipantId::new(name).unwrap()
}

/// A site's identity key.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(&[name.as_bytes()[0]; 32])
}

pub(crate) fn participant(name: &str) -> Participant {
    Participant {
        participant_id: site(name),
        identity_key: key(name).public(),
        serial: String::new(),
        not_after: Timestamp::MAX,
        enrolled_at: Timestamp::EPOCH,
        revoked_at: None,
    }
}

pub(crate) fn task() -> Task {
    Task {
        task_id: TaskId::new("t").unwrap(),
        title: "a task".to_owned(),
        cohort: SITES.map(site).into(),
        quorum: 2,
        rounds: 2,
        feature_view: FeatureViewRef { name: "view".to_owned(), version: 1, digest: Digest([0; 32]) },
        model: ModelSpec { inputs: 2, hidden: vec![] },
        recipe: Recipe {
            local_steps: 1,
            sampling_rate: 0.5,
            learning_rate: 0.1,
            momentum: 0.0,
            clip_norm: 1.0,
            noise_multiplier: Some(1.0),
        },
        privacy: PrivacyTerms {
            unit: PrivacyUnit::Record,
            ceiling: Guarantee { epsilon: 3.0, delta: 1e-5 },
            evaluation_rho: 0.1,
        },
        aggregation: AggregationRule::FedAvg,
        deadlines: Deadlines { join_ms: 10_000, collect_ms: 20_000, evaluate_ms: 30_000 },
        gates: ReleaseGates { min_true_positive_rate: 0.5, max_false_positive_rate: 0.5 },
        seed: 1,
        created_at: Timestamp::EPOCH,
    }
}

/// What lies beneath a coordinator, and survives it.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    /// A store that holds one new task.
    pub(crate) fn with(task: Task) -> Self {
        let world = Self {
            store: Arc::new(MemoryStore::default()),
            clock: Arc::new(ManualClock::new(Timestamp::from_micros(START))),
        };
        let context = world.context(world.store.clone());
        let now = world.clock.now();
        let signed = SignedTask::sign(task, &context.operator, now).unwrap();
        world.store.apply(signed.creation(&ParamVector::zeros(PARAMS), now).unwrap()).unwrap();
        world
    }

    /// A process that has just begun on `store`.
    pub(crate) fn context(&self, store: Arc<dyn Store>) -> Arc<Context> {
        self.try_context(store).unwrap()
    }

    pub(crate) fn try_context(&self, store: Arc<dyn Store>) -> Result<Arc<Context>, Error> {
        self.on(Arc::new(Guarded::new(store)))
    }

    pub(crate) fn on(&self, store: Arc<Guarded>) -> Result<Arc<Context>, Error> {
        let store: Arc<dyn Store> = store;
        let signer = SigningKey::from_seed(&[201; 32]);
        let log_key = SigningKey::from_seed(&[202; 32]);
        let journal = Journal::open(Arc::clone(&store), "test", log_key, signer.clone())?;
        Ok(Arc::new(Context {
            store,
            clock: self.clock.clone(),
            journal: Arc::new(journal),
            operator: SigningKey::from_seed(&[200; 32]),
            signer,
            aborted_rounds: 3,
        }))
    }

    /// The task's driver in a process that has just begun.
    pub(crate) fn driver(&self) -> Driver {
        Driver::open(self.context(self.store.clone()), &task().task_id).unwrap()
    }
}

/// A change of one parameter: what is lost or counted twice shows in the sum.
pub(crate) fn one_hot(name: &str) -> ParamVector {
    let mut values = vec![0.0; PARAMS];
    values[SITES.iter().position(|site| *site == name).unwrap()] = 3.0;
    ParamVector::new(values).unwrap()
}

pub(crate) fn header(name: &str, driver: &Driver, update: &ParamVector) -> UpdateHeader {
    let snapshot = driver.snapshot();
    UpdateHeader {
        round_id: snapshot.state.plan().round_id.clone(),
        participant_id: site(name),
        task_digest: driver.task().digest,
        checkpoint: snapshot.state.plan().checkpoint,
        param_count: u64::try_from(update.len()).unwrap(),
        payload: digest(&update.to_le_bytes()),
    }
}

pub(crate) fn join(name: &str, driver: &Driver) -> Result<Proposal, Error> {
    let snapshot = driver.snapshot();
    let round_id: RoundId = snapshot.state.plan().round_id.clone();
    let join = Join { round_id, participant_id: site(name), task_digest: driver.task().digest };
    let document = key(name).sign(&join)?;
    let opened: Join = intake::open(&document, &participant(name))?;
    intake::join(&document, &opened, driver.task(), &snapshot, driver.context().clock.now())
}

/// What the gRPC service does with an update, in one go.
pub(crate) fn submit(
    document: SignedDocument,
    bytes: &[u8],
    sender: &Participant,
    task: &SignedTask,
    snapshot: &Snapshot,
    context: &Context,
) -> Result<Proposal, Error> {
    let now = context.clock.now();
    let header: UpdateHeader = intake::open(&document, sender)?;
    let mut incoming = Incoming::open(document, header, task, snapshot, now)?;
    incoming.push(0, bytes)?;
    incoming.finish(&context.signer, now)
}

pub(crate) fn update(name: &str, driver: &Driver) -> Result<Proposal, Error> {
    let update = one_hot(name);
    let document = key(name).sign(&header(name, driver, &update))?;
    let bytes = update.to_le_bytes();
    submit(document, &bytes, &participant(name), driver.task(), &driver.snapshot(), driver.context())
}

pub(crate) fn evaluation(name: &str, driver: &Driver) -> Result<Proposal, Error> {
    let snapshot = driver.snapshot();
    let evaluation = Evaluation {
        round_id: snapshot.state.plan().round_id.clone(),
        participant_id: site(name),
        candidate: crate::round::candidate(&snapshot.state).unwrap_or(Digest([0; 32])),
        true_positives: 9,
        false_negatives: 1,
        false_positives: 1,
        true_negatives: 99,
    };
    let document = key(name).sign(&evaluation)?;
    intake::evaluation(&document, evaluation, &snapshot, driver.context().clock.now())
}

/// What a diligent site does next, given the round as it sees it.
pub(crate) fn next_deed(name: &str, driver: &Driver) -> Option<Result<Proposal, Error>> {
    let snapshot = driver.snapshot();
    match &*snapshot.state {
        RoundState::Announced(state) if !state.joined.contains(&site(name)) => Some(join(name, driver)),
        RoundState::Collecting(state) if !state.accepted.contains_key(&site(name)) => Some(update(name, driver)),
        RoundState::Aggregated(state) if !state.evaluations.contains_key(&site(name)) => Some(evaluation(name, driver)),
        _ => None,
    }
}
