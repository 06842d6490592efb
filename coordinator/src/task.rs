//! Tasks as the coordinator keeps them: signed by the operator, stored with their first round, and how they ended.

use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::round::RoundPlan;
use shared::store::Batch;
use shared::task::Task;
use shared::{Digest, ParamVector, ReleaseId, RoundId, RoundNumber, TaskId, Timestamp};
use shared_crypto::{SigningKey, digest, document_digest};
use shared_wire::TaskState;

use crate::{Error, durable};

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// Its last candidate became a release.
    Released {
        /// Which.
        release_id: ReleaseId,
        /// When.
        at: Timestamp,
    },
    /// Its last candidate did not pass the gates.
    Refused {
        /// Each gate that it did not pass.
        reasons: Vec<String>,
        /// When.
        at: Timestamp,
    },
    /// The operator ended it.
    Cancelled {
        /// When.
        at: Timestamp,
    },
    /// Too many rounds in a row ended without a result.
    Failed {
        /// Why the last of them did.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// A task in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskEntry {
    /// The signed task.
    pub(crate) document: SignedDocument,
    /// Its newest round.
    pub(crate) round: RoundNumber,
    /// How it ended; `None` while it runs.
    pub(crate) outcome: Option<Outcome>,
}

/// What was announced for a round, and what came before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoundEntry {
    /// What was announced.
    pub(crate) plan: RoundPlan,
    /// How many of the task's rounds were committed before.
    pub(crate) committed_before: u32,
    /// How many rounds just before it ended without a result.
    pub(crate) aborted_before: u32,
}

/// A task with what signing it fixed.
#[derive(Debug, Clone)]
pub(crate) struct SignedTask {
    pub(crate) task: Task,
    pub(crate) document: SignedDocument,
    pub(crate) digest: Digest,
}

impl SignedTask {
    /// Signs a task as the operator, now. What cannot be read back, such as an integer beyond 2^53, is refused.
    pub(crate) fn sign(mut task: Task, operator: &SigningKey, now: Timestamp) -> Result<Self, Error> {
        task.created_at = now;
        task.validate()?;
        Self::stored(operator.sign(&task)?, operator)
    }

    /// Reads a task that this coordinator stored.
    pub(crate) fn stored(document: SignedDocument, operator: &SigningKey) -> Result<Self, Error> {
        let task = operator.public().open(&document)?;
        Ok(Self { digest: document_digest(&document), document, task })
    }

    /// What round `number` begins with.
    pub(crate) fn plan(&self, number: RoundNumber, checkpoint: Digest, now: Timestamp) -> RoundPlan {
        RoundPlan {
            round_id: RoundId { task_id: self.task.task_id.clone(), number },
            task_digest: self.digest,
            checkpoint,
            cohort: self.task.cohort.clone(),
            quorum: self.task.quorum,
            deadlines: self.task.deadlines,
            announced_at: now,
        }
    }

    /// The batch that stores the task with its first checkpoint and announces its first round.
    pub(crate) fn creation(&self, initial: &ParamVector, now: Timestamp) -> Result<Batch, Error> {
        let bytes = initial.to_le_bytes();
        let checkpoint = digest(&bytes);
        let plan = self.plan(RoundNumber::FIRST, checkpoint, now);
        let round_id = plan.round_id.clone();
        let round = RoundEntry { plan, committed_before: 0, aborted_before: 0 };
        let entry = TaskEntry { document: self.document.clone(), round: RoundNumber::FIRST, outcome: None };
        let key = durable::task(&self.task.task_id);
        Ok(Batch::new()
            .expect_absent(key.clone())
            .put(key, durable::encode(&entry)?)
            .put(durable::round(&round_id), durable::encode(&round)?)
            .put(durable::params(checkpoint), bytes))
    }
}

/// The first checkpoint where the operator gave none: zeros, which only a linear model can be trained from.
pub fn zeros_for(task: &Task) -> Result<ParamVector, Error> {
    if !task.model.hidden.is_empty() {
        return Err(Error::NoInitialParams);
    }
    task.validate()?;
    Ok(ParamVector::zeros(task.model.param_count()))
}

impl Outcome {
    /// As participants see it.
    pub(crate) fn state(outcome: Option<&Self>) -> TaskState {
        match outcome {
            None => TaskState::Running,
            Some(Self::Released { release_id, .. }) => TaskState::Released(release_id.clone()),
            Some(Self::Refused { .. }) => TaskState::Refused,
            Some(Self::Cancelled { .. }) => TaskState::Cancelled,
            Some(Self::Failed { .. }) => TaskState::Failed,
        }
    }
}

/// The entry of a task, which must be there.
pub(crate) fn entry(store: &dyn shared::store::Store, task_id: &TaskId) -> Result<TaskEntry, Error> {
    durable::read(store, &durable::task(task_id))?.ok_or_else(|| Error::UnknownTask(task_id.clone()))
}
