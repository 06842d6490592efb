//! What lies beneath every task: the store, the files, the clock, the keys, and who there is.

use std::sync::Arc;

use shared::audit::AuditKind;
use shared::params::ParamError;
use shared::store::{Store, StoreError};
use shared::task::Task;
use shared::{Clock, Digest, ParamVector, Timestamp};
use shared_crypto::SigningKey;

use crate::audit::Journal;
use crate::blob::{BLOCK_BYTES, Blob, Blobs, Disk, Params};
use crate::budget::Budget;
use crate::config::{Enrolment, Limits};
use crate::enrol::Registry;
use crate::intake::{Senders, UPLOAD_BYTES};
use crate::invite::invited;
use crate::masking::enlist;
use crate::presence::Presence;
use crate::task::SignedTask;
use crate::{Error, durable};

/// The name of the audit log.
pub(crate) const LOG_ORIGIN: &str = "ringfence-coordinator";

/// What every task works with.
pub(crate) struct Context {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) presence: Arc<Presence>,
    /// Who is sending an update just now.
    pub(crate) senders: Senders,
    /// How many bytes of bulk data may be in memory.
    pub(crate) budget: Arc<Budget>,
    /// Checks tasks.
    pub(crate) operator: SigningKey,
    /// Signs receipts, round records and releases.
    pub(crate) signer: SigningKey,
    /// Rounds in a row that may end without a result.
    pub(crate) aborted_rounds: u32,
    /// Committed rounds of a task whose updates are kept.
    pub(crate) transcript_rounds: u32,
}

/// What the coordinator signs with.
#[derive(Debug, Clone)]
pub(crate) struct Signers {
    pub(crate) operator: SigningKey,
    pub(crate) coordinator: SigningKey,
    pub(crate) log: SigningKey,
}

impl Context {
    /// Opens what the store and the disk hold, and removes parameters that nothing names.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        signers: Signers,
        enrolment: Enrolment,
        limits: &Limits,
    ) -> Result<Arc<Self>, Error> {
        let Signers { operator, coordinator: signer, log } = signers;
        let journal = Arc::new(Journal::open(Arc::clone(&store), LOG_ORIGIN, log, signer.clone())?);
        let registry = Registry::open(Arc::clone(&store), Arc::clone(&journal), enrolment, limits.clone())?;
        let context = Self {
            blobs: Arc::new(Blobs::open(disk)?),
            journal,
            registry: Arc::new(registry),
            presence: Arc::new(Presence::new(clock.now())),
            senders: Senders::default(),
            budget: Budget::new(transfer_bytes(limits)),
            operator,
            signer,
            aborted_rounds: limits.aborted_rounds.get(),
            transcript_rounds: limits.transcript_rounds.get(),
            store,
            clock,
        };
        context.remove_orphans()?;
        Ok(Arc::new(context))
    }

    fn remove_orphans(&self) -> Result<(), Error> {
        let store = &*self.store;
        self.blobs
            .all_params()?
            .into_iter()
            .try_for_each(|params| self.blobs.remove_unused_params(params, || durable::params_used(store, params)))
    }

    /// Signs and stores a task that starts from `initial`, and announces its first round.
    pub(crate) fn create_task(&self, task: Task, initial: &ParamVector) -> Result<SignedTask, Error> {
        let (expected, found) = (task.model.param_count(), initial.len());
        if expected != found {
            return Err(ParamError::WrongLength { expected, found }.into());
        }
        self.create_task_from(task, &self.blobs.write_params(&initial.to_le_bytes())?)
    }

    /// Checks what [`Self::create_task_from`] checks, and stores nothing. Without parameters, only the task is checked.
    pub(crate) fn check_task(&self, task: &Task, initial: Option<Digest>) -> Result<(), Error> {
        let task = self.sign(task.clone(), self.clock.now())?.task;
        if let Some(initial) = initial {
            check_model(&self.blobs.params(initial)?, task.model.param_count())?;
        }
        match self.store.get(&durable::task(&task.task_id))? {
            Some(_) => Err(Error::TaskExists(task.task_id)),
            None => Ok(()),
        }
    }

    /// Signs a task as the operator, with the roster where its updates are masked.
    fn sign(&self, mut task: Task, now: Timestamp) -> Result<SignedTask, Error> {
        enlist(&mut task, &self.registry)?;
        SignedTask::sign(task, &self.operator, now)
    }

    /// As [`Self::create_task`], from parameters that are in a file.
    pub(crate) fn create_task_from(&self, task: Task, initial: &Params) -> Result<SignedTask, Error> {
        let now = self.clock.now();
        let task = self.sign(task, now)?;
        check_model(&self.blobs.params(initial.digest())?, task.task.model.param_count())?;
        let task_id = task.task.task_id.clone();
        let content = serde_json::json!({"event": "created", "task_id": task_id, "task": task.digest});
        let (key, record) = self.journal.entry(AuditKind::Task, now, &content)?;
        let invited = invited(&task.task, shared::RoundNumber::FIRST, |id| self.presence.is_present(id, now));
        match self.store.apply(task.creation(initial.digest(), invited, now)?.put(key, record)) {
            Err(StoreError::Conflict { .. }) => return Err(Error::TaskExists(task_id)),
            result => result?,
        }
        self.journal.drain_or_defer();
        tracing::info!(%task_id, digest = %task.digest, "task created");
        Ok(task)
    }
}

/// What uploads and downloads may hold together.
fn transfer_bytes(limits: &Limits) -> u64 {
    let bytes = |count: u32, each: usize| u64::from(count).saturating_mul(u64::try_from(each).unwrap_or(u64::MAX));
    bytes(limits.uploads.get(), UPLOAD_BYTES).saturating_add(bytes(limits.downloads.get(), BLOCK_BYTES))
}

/// Whether a file holds the parameters of a model of this many: finite numbers, and not one more or less.
fn check_model(blob: &Blob, expected: usize) -> Result<(), Error> {
    let len = usize::try_from(blob.len()?).unwrap_or(usize::MAX);
    let (found, ragged) = (len / size_of::<f32>(), len % size_of::<f32>() > 0);
    if ragged {
        return Err(ParamError::Ragged(len).into());
    }
    if found != expected {
        return Err(ParamError::WrongLength { expected, found }.into());
    }
    for start in (0..len).step_by(BLOCK_BYTES) {
        let mut bytes = vec![0; len.saturating_sub(start).min(BLOCK_BYTES)];
        blob.read_at(u64::try_from(start).unwrap_or(u64::MAX), &mut bytes)?;
        let block = bytes.len() / size_of::<f32>();
        ParamVector::from_le_bytes(&bytes, block)?;
    }
    Ok(())
}
