//! The coordinator as one value: what the gRPC service, the admin API and an embedding program all call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use shared::document::SignedDocument;
use shared::store::Store;
use shared::task::Task;
use shared::{Clock, Digest, ParamVector, ParticipantId, RoundId, TaskId, Timestamp};
use shared_audit::Verified;
use shared_crypto::PublicKey;
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Journal;
use crate::blob::Disk;
use crate::config::{Enrolment, Limits};
pub(crate) use crate::context::LOG_ORIGIN;
use crate::context::{Context, Signers};
use crate::enrol::{Change, IssuedToken, Registry};
use crate::guard::Guarded;
use crate::keys::Keys;
use crate::presence::Presence;
use crate::round::actor::{self, Handle};
use crate::round::driver::Driver;
use crate::task::SignedTask;
use crate::{Error, durable};

/// Who orders what the program that runs the coordinator asks, as the audit log names it.
const EMBEDDER: &str = "embedder";

/// Everything the coordinator knows and does. Calls that write block; call them where that is allowed.
pub struct Coordinator {
    pub(crate) store: Arc<Guarded>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Keys,
    pub(crate) journal: Arc<Journal>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) limits: Limits,
    pub(crate) stop: CancellationToken,
    /// The actors and streams that have not ended.
    pub(crate) tracker: TaskTracker,
    pub(crate) context: Arc<Context>,
    runtime: Runtime,
    tasks: RwLock<BTreeMap<TaskId, Running>>,
    creating: Mutex<()>,
    /// Held while a release is computed again.
    pub(crate) recomputing: Mutex<()>,
}

/// A task in memory.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) task: Arc<SignedTask>,
    pub(crate) handle: Handle,
}

impl Coordinator {
    /// Opens what the store and the disk hold and takes every task up again. Must be called within a tokio runtime.
    pub(crate) fn open(
        store: Arc<Guarded>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        keys: Keys,
        enrolment: Enrolment,
        limits: Limits,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let shared_store: Arc<dyn Store> = Arc::<Guarded>::clone(&store);
        let signers =
            Signers { operator: keys.operator.clone(), coordinator: keys.coordinator.clone(), log: keys.log.clone() };
        let context = Context::open(shared_store, disk, Arc::clone(&clock), signers, enrolment, &limits)?;
        let coordinator = Self {
            store,
            clock,
            keys,
            journal: Arc::clone(&context.journal),
            registry: Arc::clone(&context.registry),
            presence: Arc::clone(&context.presence),
            limits,
            stop,
            tracker: TaskTracker::new(),
            context,
            runtime: Runtime::current(),
            tasks: RwLock::default(),
            creating: Mutex::default(),
            recomputing: Mutex::default(),
        };
        for task_id in durable::task_ids(&*coordinator.store)? {
            coordinator.run(task_id)?;
        }
        Ok(coordinator)
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
        self.create(|| self.context.create_task(task, initial))
    }

    /// As [`Self::create_task`], from parameters that are in a file.
    pub(crate) fn create_task_from(&self, task: Task, initial: Digest) -> Result<SignedDocument, Error> {
        self.create(|| self.context.create_task_from(task, &self.context.blobs.pin_params(initial)?))
    }

    /// Checks a task as creating it would; nothing is stored.
    pub(crate) fn check_task(&self, task: &Task, initial: Option<Digest>) -> Result<(), Error> {
        self.has_room()?;
        self.context.check_task(task, initial)
    }

    fn create(&self, create: impl FnOnce() -> Result<SignedTask, Error>) -> Result<SignedDocument, Error> {
        let _one_at_a_time = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_room()?;
        let task = create()?;
        self.run(task.task.task_id)?;
        Ok(task.document)
    }

    /// Whether one more task may be stored.
    fn has_room(&self) -> Result<(), Error> {
        match u32::try_from(self.tasks().len()) {
            Ok(count) if count < self.limits.tasks.get() => Ok(()),
            _ => Err(Error::Busy { what: "tasks", limit: self.limits.tasks.get() }),
        }
    }

    /// Makes a one-time token with which `participant_id` may enrol.
    pub fn issue_token(&self, participant_id: &ParticipantId) -> Result<IssuedToken, Error> {
        self.registry.issue_token(participant_id, EMBEDDER, self.now())
    }

    /// Shuts a participant out, connections that are open included.
    pub fn revoke(&self, participant_id: &ParticipantId) -> Result<(), Error> {
        let reason = "at the word of the program that runs the coordinator";
        self.registry.change(participant_id, Change::Revoke, reason, EMBEDDER, self.now()).map(|_| ())
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
}
