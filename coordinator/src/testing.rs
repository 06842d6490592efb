//! A small federation without sockets: three sites, one task, a store that can be made to fail, a clock that stands.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::aggregate::Aggregation;
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::feature::FeatureViewRef;
use shared::local::LocalTraining;
use shared::masking::Element;
use shared::participation::Participation;
use shared::privacy::{Guarantee, PrivacyUnit};
use shared::round::RoundState;
use shared::store::{Batch, Entry, Key, Store, StoreError};
use shared::task::{Deadlines, ModelSpec, PrivacyTerms, Recipe, ReleaseGates, Task, TrainingMechanism};
use shared::time::ManualClock;
use shared::update::{CHUNK_BYTES, Evaluation, Join, UpdateHeader};
use shared::{Clock, Digest, ParamVector, ParticipantId, RoundId, TaskId, Timestamp};
use shared_crypto::{ChunkDigests, SigningKey};
use shared_store::MemoryStore;
use shared_wire::{Activity, Bytes, Heartbeat, JoinRequest};

use crate::Error;
use crate::blob::memory::MemoryDisk;
use crate::config::{Enrolment, Limits};
use crate::context::{Context, Signers};
use crate::enrol::Participant;
use crate::guard::Guarded;
use crate::intake::{self, Open, Opened, Upload};
use crate::round::driver::{Driver, Proposal};

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

/// What others would seal to, if these sites masked anything.
pub(crate) const AGREEMENT: Element = Element(Digest([7; 32]));

/// A site's identity key.
pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(&[name.as_bytes()[0]; 32])
}

pub(crate) fn participant(name: &str) -> Participant {
    Participant::approved(site(name), key(name).public(), AGREEMENT)
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
            adaptive_clip: None,
            local: LocalTraining::Plain,
            mechanism: TrainingMechanism::default(),
            noise_multiplier: Some(1.0),
        },
        privacy: PrivacyTerms {
            unit: PrivacyUnit::Record,
            ceiling: Guarantee { epsilon: 3.0, delta: 1e-5 },
            evaluation_rho: 0.1,
        },
        aggregation: Aggregation::default(),
        encodings: vec![Encoding::F32],
        participation: Participation::default(),
        secure_aggregation: None,
        deadlines: Deadlines { join_ms: 10_000, collect_ms: 20_000, evaluate_ms: 30_000, unmask_ms: 10_000 },
        gates: ReleaseGates { min_true_positive_rate: 0.5, max_false_positive_rate: 0.5 },
        seed: 1,
        created_at: Timestamp::EPOCH,
    }
}

/// What lies beneath a coordinator, and survives it.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) disk: MemoryDisk,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    /// A store that holds one new task, which starts from zeros.
    pub(crate) fn with(task: Task) -> Self {
        let world = Self {
            store: Arc::new(MemoryStore::default()),
            disk: MemoryDisk::default(),
            clock: Arc::new(ManualClock::new(Timestamp::from_micros(START))),
        };
        let initial = ParamVector::zeros(task.model.param_count());
        let context = world.context(world.store.clone());
        for id in &task.cohort {
            context.registry.vouch(id, key(id.as_str()).public(), AGREEMENT, world.clock.now()).unwrap();
        }
        context.create_task(task, &initial).unwrap();
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
        let seeded = |seed| SigningKey::from_seed(&[seed; 32]);
        let signers = Signers { operator: seeded(200), coordinator: seeded(201), log: seeded(202) };
        let limits = Limits { aborted_rounds: few(3), transcript_rounds: few(2), ..Limits::default() };
        let disk = Arc::new(self.disk.clone());
        Context::open(store, disk, self.clock.clone(), signers, Enrolment::default(), &limits)
    }

    /// The task's driver in a process that has just begun.
    pub(crate) fn driver(&self) -> Driver {
        Driver::open(self.context(self.store.clone()), &task().task_id).unwrap()
    }

    /// Lets time pass as it does for a coordinator that runs: it looks at the clock several times a second.
    pub(crate) fn pass(&self, driver: &Driver, seconds: u32) {
        for _ in 0..seconds * 2 {
            self.clock.advance(Duration::from_millis(500));
            driver.context().presence.look(self.clock.now());
        }
    }
}

fn few(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// Says that these sites are alive.
pub(crate) fn beat(driver: &Driver, names: &[&str]) {
    let now = driver.context().clock.now();
    for name in names {
        let heartbeat = Heartbeat { sent_at: now, activity: Activity::Training, percent: 0 };
        driver.context().presence.heartbeat(&site(name), &heartbeat, now);
    }
}

/// A change of one parameter: what is lost or counted twice shows in the sum.
pub(crate) fn one_hot(name: &str) -> ParamVector {
    let mut values = vec![0.0; PARAMS];
    values[usize::from(name.as_bytes()[0] - b'a') % PARAMS] = 3.0;
    ParamVector::new(values).unwrap()
}

/// The header for `payload`, an encoded update of the present round.
pub(crate) fn header(name: &str, driver: &Driver, payload: &[u8]) -> UpdateHeader {
    let snapshot = driver.snapshot();
    UpdateHeader {
        round_id: snapshot.state.plan().round_id.clone(),
        participant_id: site(name),
        task_digest: driver.task().digest,
        checkpoint: snapshot.state.plan().checkpoint,
        encoding: Encoding::F32,
        byte_count: u64::try_from(payload.len()).unwrap(),
        payload: ChunkDigests::of(payload).payload(),
        local_steps: 1,
        masked: None,
    }
}

pub(crate) fn join(name: &str, driver: &Driver) -> Result<Proposal, Error> {
    let snapshot = driver.snapshot();
    let round_id: RoundId = snapshot.state.plan().round_id.clone();
    let join = Join { round_id, participant_id: site(name), task_digest: driver.task().digest, masking: None };
    let request = JoinRequest::from(key(name).sign(&join)?);
    let opened: Join = intake::open(&request.join, &participant(name))?;
    intake::join(driver.context(), &request, &opened, driver.task(), &snapshot)
}

/// Opens an update as the gRPC service does.
pub(crate) fn open(
    document: SignedDocument,
    chunk_digests: Vec<Digest>,
    sender: &Participant,
    driver: &Driver,
) -> Result<Opened, Error> {
    let context = driver.context();
    let header: UpdateHeader = intake::open(&document, sender)?;
    let place = context.senders.enter(&sender.participant_id)?;
    let sum = driver.sum();
    let dealing = Bytes::new();
    let open = Open { document: document.clone(), header: header.clone(), chunk_digests, dealing, place, sum };
    let opened = intake::open_upload(context, driver.task(), &driver.snapshot(), open);
    intake::convict(context, &document, &header.round_id, opened)
}

/// An update that is not known yet, opened.
pub(crate) fn begin(
    document: SignedDocument,
    payload: &[u8],
    sender: &Participant,
    driver: &Driver,
) -> Result<Box<Upload>, Error> {
    match open(document, ChunkDigests::of(payload).as_slice().to_vec(), sender, driver)? {
        Opened::Upload(upload) => Ok(upload),
        Opened::Known(_) => panic!("the update is known"),
    }
}

/// What the gRPC service does with an update, in one go.
pub(crate) fn submit(
    document: SignedDocument,
    payload: &[u8],
    sender: &Participant,
    driver: &Driver,
) -> Result<Proposal, Error> {
    let mut upload = begin(document, payload, sender, driver)?;
    let mut offset = upload.durable();
    let rest = usize::try_from(offset).unwrap();
    for chunk in payload[rest..].chunks(CHUNK_BYTES) {
        upload.take(driver.context(), offset, chunk)?;
        offset += u64::try_from(chunk.len()).unwrap();
    }
    upload.finish(driver.context(), driver.snapshot().state.plan())
}

/// An update with these values.
pub(crate) fn update_of(name: &str, driver: &Driver, values: &ParamVector) -> Result<Proposal, Error> {
    let payload = values.to_le_bytes();
    let document = key(name).sign(&header(name, driver, &payload))?;
    submit(document, &payload, &participant(name), driver)
}

pub(crate) fn update(name: &str, driver: &Driver) -> Result<Proposal, Error> {
    update_of(name, driver, &one_hot(name))
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
