//! Tasks as the coordinator keeps them: signed by the operator, stored with their first round, and how they ended.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::aggregate::ServerStep;
use shared::document::SignedDocument;
use shared::invariant::Invariant;
use shared::round::RoundPlan;
use shared::store::Batch;
use shared::task::Task;
use shared::{Digest, ParamVector, ParticipantId, ReleaseId, RoundId, RoundNumber, TaskId, Timestamp};
use shared_crypto::{SigningKey, document_digest};
use shared_ops::metrics::violation;
use shared_wire::TaskState;

use crate::Error;
use crate::durable::{self, ParamsRole};

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
    /// The newest of the rounds whose files are removed.
    pub(crate) retired: RoundNumber,
    /// Whether the operator holds it: no round begins.
    pub(crate) paused: bool,
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

/// What a round starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Digest of the parameters.
    pub(crate) checkpoint: Digest,
    /// Digest of what the server kept.
    pub(crate) server_state: Option<Digest>,
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
        let opened = operator.public().open(&document);
        let task = opened.inspect_err(|_| violation(Invariant::RoundSigned))?;
        Ok(Self { digest: document_digest(&document), document, task })
    }

    /// What round `number` begins with.
    pub(crate) fn plan(
        &self,
        number: RoundNumber,
        start: Start,
        invited: BTreeSet<ParticipantId>,
        now: Timestamp,
    ) -> RoundPlan {
        let task = &self.task;
        RoundPlan {
            round_id: RoundId { task_id: task.task_id.clone(), number },
            task_digest: self.digest,
            checkpoint: start.checkpoint,
            server_state: start.server_state,
            goal: task.participation.goal.unwrap_or(u32::MAX),
            threshold: task.unmasking_threshold(),
            cohort: invited,
            root: task.root(),
            assurance: task.assurance(),
            quorum: task.quorum,
            late: task.participation.late,
            deadlines: task.deadlines,
            announced_at: now,
        }
    }

    /// The batch that stores the task and announces its first round, from a checkpoint that is in a file.
    pub(crate) fn creation(
        &self,
        checkpoint: Digest,
        invited: BTreeSet<ParticipantId>,
        now: Timestamp,
    ) -> Result<Batch, Error> {
        let plan = self.plan(RoundNumber::FIRST, Start { checkpoint, server_state: None }, invited, now);
        let key = durable::task(&self.task.task_id);
        let entry = TaskEntry {
            document: self.document.clone(),
            round: RoundNumber::FIRST,
            retired: RoundNumber(0),
            paused: false,
            outcome: None,
        };
        let batch = Batch::new().expect_absent(key.clone()).put(key, durable::encode(&entry)?);
        let batch = self.uses_of(&plan, batch);
        let round_key = durable::round(&plan.round_id);
        let round = RoundEntry { plan, committed_before: 0, aborted_before: 0 };
        Ok(batch.put(round_key, durable::encode(&round)?))
    }

    /// Says that a round needs the files that it starts from.
    pub(crate) fn uses_of(&self, plan: &RoundPlan, batch: Batch) -> Batch {
        let batch = batch.put(durable::params_use(plan.checkpoint, ParamsRole::Shared, &plan.round_id), "");
        match plan.server_state {
            Some(state) => batch.put(durable::params_use(state, self.state_role(), &plan.round_id), ""),
            None => batch,
        }
    }

    /// What the server's state is to participants: SCAFFOLD's control variate is theirs too.
    pub(crate) fn state_role(&self) -> ParamsRole {
        match self.task.aggregation.server {
            ServerStep::Scaffold { .. } => ParamsRole::Shared,
            _ => ParamsRole::Server,
        }
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
    pub(crate) fn state(outcome: Option<&Self>, paused: bool) -> TaskState {
        match outcome {
            None if paused => TaskState::Paused,
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
