//! The coordinator as one value: what the gRPC service, the admin API and an embedding program all call.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::store::{Store, StoreError};
use shared::task::Task;
use shared::{Clock, Digest, ParamVector, ParticipantId, RoundId, TaskId, Timestamp};
use shared_audit::Verified;
use shared_crypto::PublicKey;
use shared_wire::Bytes;
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Journal;
use crate::config::Limits;
use crate::enrol::{IssuedToken, Registry};
use crate::guard::Guarded;
use crate::keys::Keys;
use crate::round::actor::{self, Handle};
use crate::round::driver::{Context, Driver};
use crate::task::SignedTask;
use crate::{Error, durable};

/// How many parameter vectors are kept in memory for those who fetch: a checkpoint and a candidate.
const CACHED_PARAMS: usize = 2;
/// The name of the audit log.
pub(crate) const LOG_ORIGIN: &str = "ringfence-coordinator";

/// Everything the coordinator knows and does. Calls that write block; call them where that is allowed.
pub struct Coordinator {
    pub(crate) store: Arc<Guarded>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Keys,
    pub(crate) journal: Arc<Journal>,
    pub(crate) registry: Registry,
    pub(crate) limits: Limits,
    pub(crate) stop: CancellationToken,
    /// The actors and streams that have not ended.
    pub(crate) tracker: TaskTracker,
    runtime: Runtime,
    context: Arc<Context>,
    tasks: RwLock<BTreeMap<TaskId, Running>>,
    creating: Mutex<()>,
    cache: Mutex<VecDeque<(Digest, Bytes)>>,
}

/// A task in memory.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) task: Arc<SignedTask>,
    pub(crate) handle: Handle,
}

impl Coordinator {
    /// Opens what the store holds and takes every task up again. Must be called within a tokio runtime.
    pub(crate) fn open(
        store: Arc<Guarded>,
        clock: Arc<dyn Clock>,
        keys: Keys,
        limits: Limits,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let shared_store: Arc<dyn Store> = Arc::<Guarded>::clone(&store);
        let (log_key, signer) = (keys.log.clone(), keys.coordinator.clone());
        let journal = Arc::new(Journal::open(Arc::clone(&shared_store), LOG_ORIGIN, log_key, signer.clone())?);
        let registry = Registry::open(Arc::clone(&shared_store), Arc::clone(&journal), limits.clone())?;
        let context = Arc::new(Context {
            store: shared_store,
            clock: Arc::clone(&clock),
            journal: Arc::clone(&journal),
            operator: keys.operator.clone(),
            signer,
            aborted_rounds: limits.aborted_rounds.get(),
        });
        let coordinator = Self {
            store,
            clock,
            keys,
            journal,
            registry,
            limits,
            stop,
            tracker: TaskTracker::new(),
            runtime: Runtime::current(),
            context,
            tasks: RwLock::default(),
            creating: Mutex::default(),
            cache: Mutex::default(),
        };
        coordinator.resume()?;
        Ok(coordinator)
    }

    fn resume(&self) -> Result<(), Error> {
        for (key, _) in self.store.scan(durable::TASKS, b"", usize::MAX)? {
            let task_id = String::from_utf8_lossy(&key).into_owned();
            self.run(TaskId::new(task_id)?)?;
        }
        Ok(())
    }

    /// Starts the actor of a stored task.
    fn run(&self, task_id: TaskId) -> Result<(), Error> {
        let driver = Driver::open(Arc::clone(&self.context), &task_id)?;
        let task = Arc::new(driver.task().clone());
        let (handle, actor) = actor::prepare(driver, self.stop.clone());
        self.tracker.spawn_on(actor, &self.runtime);
        let mut tasks = self.tasks.write().unwrap_or_else(PoisonError::into_inner);
        tasks.insert(task_id, Running { task, handle });
        Ok(())
    }

    /// Waits until every actor and stream has ended, which they do when the coordinator stops.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Runs what may block where that is allowed.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let coordinator = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&coordinator)).await.map_err(|_| Error::Unavailable)?
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Signs and stores a task, and announces its first round. `initial` is the first checkpoint.
    pub fn create_task(&self, task: Task, initial: &ParamVector) -> Result<SignedDocument, Error> {
        let _one_at_a_time = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let task = SignedTask::sign(task, &self.keys.operator, now)?;
        let task_id = task.task.task_id.clone();
        let (expected, found) = (task.task.model.param_count(), initial.len());
        if expected != found {
            return Err(shared::params::ParamError::WrongLength { expected, found }.into());
        }
        if u32::try_from(self.tasks().len()).is_ok_and(|count| count >= self.limits.tasks.get()) {
            return Err(Error::Busy { what: "tasks", limit: self.limits.tasks.get() });
        }
        let content = serde_json::json!({"event": "created", "task_id": task_id, "task": task.digest});
        let (key, record) = self.journal.entry(AuditKind::Task, now, &content)?;
        match self.store.apply(task.creation(initial, now)?.put(key, record)) {
            Err(StoreError::Conflict { .. }) => return Err(Error::TaskExists(task_id)),
            result => result?,
        }
        self.journal.drain_or_defer();
        tracing::info!(%task_id, digest = %task.digest, "task created");
        self.run(task_id)?;
        Ok(task.document)
    }

    /// Makes a one-time token with which `participant_id` may enrol.
    pub fn issue_token(&self, participant_id: &ParticipantId) -> Result<IssuedToken, Error> {
        self.registry.issue_token(participant_id, self.now())
    }

    /// Shuts a participant out, streams that are open included.
    pub fn revoke(&self, participant_id: &ParticipantId) -> Result<(), Error> {
        self.registry.revoke(participant_id, self.now()).map(|_| ())
    }

    /// The enrolled participants.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The certificate that participants must trust, PEM.
    pub fn ca_certificate_pem(&self) -> &str {
        self.keys.authority.certificate_pem()
    }

    /// Checks receipts, round records and releases.
    pub fn coordinator_key(&self) -> PublicKey {
        self.keys.coordinator.public()
    }

    /// Checks tasks.
    pub fn operator_key(&self) -> PublicKey {
        self.keys.operator.public()
    }

    /// Checks the audit log's checkpoints.
    pub fn log_key(&self) -> PublicKey {
        self.journal.public()
    }

    /// Recomputes the whole audit log and checks its checkpoint.
    pub fn verify_log(&self) -> Result<Verified, Error> {
        self.journal.verify()
    }

    pub(crate) fn tasks(&self) -> Vec<Running> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn task(&self, task_id: &TaskId) -> Result<Running, Error> {
        let tasks = self.tasks.read().unwrap_or_else(PoisonError::into_inner);
        tasks.get(task_id).cloned().ok_or_else(|| Error::UnknownTask(task_id.clone()))
    }

    /// The signed record of a committed round.
    pub fn round_record(&self, round_id: &RoundId) -> Result<SignedDocument, Error> {
        let record = durable::read(&*self.store, &durable::record(round_id))?;
        record.ok_or_else(|| Error::UnknownRound(round_id.clone()))
    }

    /// The bytes of a checkpoint or candidate. All who fetch the same one share them.
    pub(crate) fn params(&self, digest: Digest) -> Result<Bytes, Error> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = cache.iter().find(|(cached, _)| *cached == digest) {
            return Ok(bytes.clone());
        }
        let bytes = Bytes::from(self.store.get(&durable::params(digest))?.ok_or(Error::UnknownParams(digest))?);
        cache.truncate(CACHED_PARAMS.saturating_sub(1));
        cache.push_front((digest, bytes.clone()));
        Ok(bytes)
    }
}
