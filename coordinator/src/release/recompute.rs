//! A release computed again without somebody's updates, from the updates of the others as they were sent.
//!
//! The task's rounds are replayed from the first in which a left-out update counted, so from the last checkpoint that
//! none of them had influenced; every round after it takes its recomputed predecessor's candidate and server state.
//! This is FedEraser without its calibration (Liu et al. 2021, "FedEraser: Enabling Efficient Client-Level Data Removal
//! from Federated Learning Models", section III): no site trains anew. Its limits: what the others learned from
//! checkpoints that the left-out updates had shaped stays in their updates; no site has evaluated the result; and it
//! can be done only while the updates of every round that is replayed are kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::audit::AuditKind;
use shared::release::{Recomputation, Release, RoundRecord};
use shared::round::{Collected, Tally};
use shared::store::Batch;
use shared::task::Task;
use shared::{ParticipantId, ReleaseId, RoundId, RoundNumber, Timestamp};
use shared_audit::transcript::updates_root;
use shared_crypto::document_digest;
use utoipa::ToSchema;

use super::{SignedRelease, find, release};
use crate::aggregate::{self, RunningSum};
use crate::blob::Params;
use crate::context::Context;
use crate::durable::{self, ParamsRole};
use crate::masking::MaskingError;
use crate::round::replay;
use crate::task::{self, SignedTask, Start};
use crate::{Coordinator, Error};

/// What is to be left out of a release.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Whose updates.
    #[schema(value_type = Vec<String>)]
    pub(crate) without: BTreeSet<ParticipantId>,
    /// Compute only the release's own round again: left-out updates of earlier rounds stay in the model.
    #[serde(default)]
    pub(crate) last_round: bool,
    /// Only check that it can be done, and which rounds it takes.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What was, or would be, computed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Recomputed {
    /// The new release; null for a dry run.
    #[schema(value_type = Option<String>)]
    pub(crate) release_id: Option<ReleaseId>,
    /// The release that it was computed from.
    #[schema(value_type = String)]
    pub(crate) replaces: ReleaseId,
    /// Whose updates are left out, those that the replaced release left out included.
    #[schema(value_type = Vec<String>)]
    pub(crate) left_out: BTreeSet<ParticipantId>,
    /// The rounds that were replayed.
    pub(crate) rounds: Vec<u32>,
    /// Whether the replay began at a checkpoint that no left-out update had influenced.
    pub(crate) from_before: bool,
}

/// The rounds to replay, as they were committed, without the updates that are left out.
struct Replay {
    task: SignedTask,
    release_id: ReleaseId,
    left_out: BTreeSet<ParticipantId>,
    rounds: Vec<RoundRecord>,
    /// Whether no left-out update counts before the first of them.
    from_before: bool,
}

impl Coordinator {
    /// Computes a release again without some participants' updates, and publishes the result. Blocks; takes as long as
    /// the rounds' aggregation took.
    pub(crate) fn recompute(&self, release_id: ReleaseId, request: &Request) -> Result<Recomputed, Error> {
        let _one_at_a_time =
            self.recomputing.try_lock().map_err(|_| Error::Busy { what: "recomputations", limit: 1 })?;
        let replay = plan(&self.context, release_id, request)?;
        let rounds = replay.rounds.iter().map(|record| record.round_id.number.0).collect();
        let (replaces, left_out) = (replay.release_id.clone(), replay.left_out.clone());
        let mut recomputed =
            Recomputed { release_id: None, replaces, left_out, rounds, from_before: replay.from_before };
        if !request.dry_run {
            let memory = aggregate::memory(&replay.task.task);
            self.context.budget.allow(memory);
            let published = publish(&self.context, &replay, self.now());
            self.context.budget.disallow(memory);
            recomputed.release_id = Some(published?.release_id);
        }
        Ok(recomputed)
    }
}

/// Finds the rounds to replay, and whether all that they need is still there.
fn plan(context: &Context, release_id: ReleaseId, request: &Request) -> Result<Replay, Error> {
    let store = &*context.store;
    let coordinator = context.signer.public();
    let signed = find(store, release_id.clone())?;
    let record: RoundRecord = coordinator.open(&signed.round_record)?;
    let before = record.recomputed.map(|before| before.left_out).unwrap_or_default();
    let left_out: BTreeSet<_> = request.without.union(&before).cloned().collect();
    let task_id = &record.round_id.task_id;
    let task = SignedTask::stored(task::entry(store, task_id)?.document, &context.operator)?;
    if task.task.secure_aggregation.is_some() {
        return Err(MaskingError::Inseparable(release_id).into());
    }
    let mut rounds = Vec::new();
    for number in (1..=record.round_id.number.0).map(RoundNumber) {
        let round_id = RoundId { task_id: task_id.clone(), number };
        if let Some(document) = durable::read(store, &durable::record(&round_id))? {
            rounds.push(coordinator.open::<RoundRecord>(&document)?);
        }
    }
    let counts = |record: &RoundRecord| left_out.iter().any(|id| record.accepted.contains_key(id));
    let first = rounds.iter().position(counts).ok_or_else(|| Error::NothingToLeaveOut(release_id.clone()))?;
    let from = if request.last_round { rounds.len().saturating_sub(1) } else { first };
    let mut rounds = rounds.split_off(from);
    for record in &mut rounds {
        record.accepted.retain(|id, _| !left_out.contains(id));
        is_there(context, &task.task, record)?;
    }
    Ok(Replay { task, release_id, left_out, rounds, from_before: from <= first })
}

/// Whether a round can be computed again: enough updates, and all of them kept, with the checkpoint before it.
fn is_there(context: &Context, task: &Task, record: &RoundRecord) -> Result<(), Error> {
    let (left, quorum) = (record.accepted.len(), task.quorum);
    if u32::try_from(left).is_ok_and(|left| left < quorum) {
        return Err(Error::LeavesNoQuorum { round_id: record.round_id.clone(), left, quorum });
    }
    let gone = |_| Error::TranscriptGone(record.round_id.clone());
    context.blobs.params(record.checkpoint).map_err(gone)?;
    record.accepted.iter().try_for_each(|(participant_id, update)| {
        let trained_in = RoundId { task_id: task.task_id.clone(), number: update.trained_in };
        context.blobs.update(&trained_in, participant_id, update.payload).map(|_| ()).map_err(gone)
    })
}

/// Replays the rounds and publishes what comes out of the last one.
fn publish(context: &Context, replay: &Replay, now: Timestamp) -> Result<Release, Error> {
    let mut records = Vec::with_capacity(replay.rounds.len());
    // What was computed stays on disk as long as this holds it, and then because the release names it.
    let mut held: Vec<Params> = Vec::new();
    let mut start: Option<Start> = None;
    for committed in &replay.rounds {
        let (record, made) = again(context, replay, committed, start, now)?;
        start = Some(Start { checkpoint: record.candidate, server_state: record.server_state });
        held.extend([Some(made.candidate), made.server_state].into_iter().flatten());
        records.push(context.signer.sign(&record)?);
    }
    let last = records.last().ok_or_else(|| Error::NothingToLeaveOut(replay.release_id.clone()))?;
    let record: RoundRecord = context.signer.public().open(last)?;
    let release = Release {
        replaces: Some(replay.release_id.clone()),
        ..release(&replay.task.task, &record, document_digest(last), now)
    };
    let signed = SignedRelease { release: context.signer.sign(&release)?, round_record: last.clone() };
    let mut batch = Batch::new()
        .put(durable::release(&release.release_id), durable::encode(&signed)?)
        .put(durable::params_use(release.params, ParamsRole::Shared, &release.release_id), "");
    for (document, committed) in records.iter().zip(&replay.rounds) {
        let round_id = &committed.round_id;
        let key = durable::recomputed_record(&release.release_id, round_id.number);
        let content = serde_json::json!({
            "event": "recomputed", "round_id": round_id, "record": document_digest(document),
            "release_id": release.release_id,
        });
        let (entry_key, entry) = context.journal.entry(AuditKind::Round, now, &content)?;
        batch = batch.put(key, durable::encode(document)?).put(entry_key, entry);
    }
    // The transcripts of the replayed rounds begin with what the rounds before them ended with.
    for params in &held {
        batch = batch.put(durable::params_use(params.digest(), ParamsRole::Server, &release.release_id), "");
    }
    let content = serde_json::json!({
        "event": "recomputed", "release_id": release.release_id, "release": document_digest(&signed.release),
        "replaces": replay.release_id, "left_out": replay.left_out,
    });
    let (key, entry) = context.journal.entry(AuditKind::Release, now, &content)?;
    context.store.apply(batch.put(key, entry))?;
    context.journal.drain_or_defer();
    tracing::info!(release_id = %release.release_id, replaces = %replay.release_id, "release recomputed");
    drop(held);
    Ok(release)
}

/// One round again: from `start`, or, for the first, from what it was committed from.
fn again(
    context: &Context,
    replay: &Replay,
    committed: &RoundRecord,
    start: Option<Start>,
    now: Timestamp,
) -> Result<(RoundRecord, aggregate::Made), Error> {
    let original = durable::read(&*context.store, &durable::record(&committed.round_id))?
        .ok_or_else(|| Error::UnknownRound(committed.round_id.clone()))?;
    let before = Start { checkpoint: committed.checkpoint, server_state: committed.server_state_before };
    let Start { checkpoint, server_state } = start.unwrap_or(before);
    let mut plan = self::replay(&*context.store, &committed.round_id)?.entry.plan;
    plan.checkpoint = checkpoint;
    plan.server_state = server_state;
    let accepted = committed.accepted.clone();
    let round =
        Collected { plan: Arc::new(plan), accepted: accepted.clone(), dropped: BTreeSet::new(), lost: BTreeSet::new() };
    let made = aggregate::candidate(context, &replay.task.task, &round, &RunningSum::default())?;
    let record = RoundRecord {
        checkpoint,
        server_state_before: server_state,
        updates_root: updates_root(&accepted)?,
        accepted,
        candidate: made.candidate.digest(),
        server_state: made.server_state.as_ref().map(Params::digest),
        // Nobody evaluated this candidate.
        tally: Tally::default(),
        committed_at: now,
        recomputed: Some(Recomputation { replaces: document_digest(&original), left_out: replay.left_out.clone() }),
        ..committed.clone()
    };
    Ok((record, made))
}
