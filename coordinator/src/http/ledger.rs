//! What a task costs each participant at most, as far as the coordinator can know: from the task's terms and the rounds
//! that began. The ledger at the site is the authority; it debits before it draws noise, whatever becomes of the round.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use shared::privacy::{Guarantee, Mechanism};
use shared::release::RoundRecord;
use shared::task::Task;
use shared::{ParticipantId, RoundId, RoundNumber, TaskId};
use shared_privacy::accountant::epsilon;
use utoipa::ToSchema;

use super::page::{Page, PageQuery};
use super::{Refusal, Shared};
use crate::{Coordinator, Error, durable};

/// What a task costs one participant at most.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LedgerView {
    /// Whom.
    #[schema(value_type = String)]
    pub(crate) participant_id: ParticipantId,
    /// For which task.
    #[schema(value_type = String)]
    pub(crate) task_id: TaskId,
    /// How many rounds the task has.
    pub(crate) rounds: u32,
    /// How many rounds began: the participant cannot have paid for more.
    pub(crate) rounds_started: u32,
    /// In how many committed rounds its update counts: it has paid for at least these.
    pub(crate) rounds_accepted: u32,
    /// The whole task costs it no more than this, by the terms that it admitted.
    #[schema(value_type = Object)]
    pub(crate) ceiling: Guarantee,
    /// What the rounds that began cost together, at the ceiling's δ, at most the ceiling; null where training adds no
    /// noise, so that nothing bounds the cost.
    #[schema(value_type = Option<Object>)]
    pub(crate) spent: Option<Guarantee>,
    /// Always `site`: the participant's own ledger decides, and this is only what the coordinator can tell.
    pub(crate) authority: String,
}

fn views(coordinator: &Coordinator, task_id: &TaskId, page: &PageQuery) -> Result<Page<LedgerView>, Error> {
    let running = coordinator.task(task_id)?;
    let task = &running.task.task;
    let started = running.handle.snapshot().state.plan().round_id.number.0;
    let accepted = accepted(coordinator, task_id, started)?;
    let spent = spent(task, started)?;
    let view = |participant_id: ParticipantId| LedgerView {
        task_id: task_id.clone(),
        rounds: task.rounds,
        rounds_started: started,
        rounds_accepted: accepted.get(&participant_id).copied().unwrap_or(0),
        ceiling: task.privacy.ceiling,
        spent,
        authority: "site".to_owned(),
        participant_id,
    };
    Ok(page.cut(task.cohort.iter().cloned(), Clone::clone)?.map(view))
}

/// What this many rounds cost who took part in all of them. No site pays beyond the ceiling: it stops before.
fn spent(task: &Task, rounds: u32) -> Result<Option<Guarantee>, Error> {
    let Some(training) = task.recipe.cost_per_round() else { return Ok(None) };
    let evaluation = Mechanism::ZeroConcentrated { rho: task.privacy.evaluation_rho };
    let history: Vec<Mechanism> = (0..rounds).flat_map(|_| [training, evaluation]).collect();
    let Guarantee { epsilon: ceiling, delta } = task.privacy.ceiling;
    Ok(Some(Guarantee { epsilon: epsilon(&history, delta)?.min(ceiling), delta }))
}

/// In how many committed rounds each participant's update counts.
fn accepted(coordinator: &Coordinator, task_id: &TaskId, newest: u32) -> Result<BTreeMap<ParticipantId, u32>, Error> {
    let mut counts: BTreeMap<ParticipantId, u32> = BTreeMap::new();
    for number in (1..=newest).map(RoundNumber) {
        let key = durable::record(&RoundId { task_id: task_id.clone(), number });
        let Some(document) = durable::read(&*coordinator.store, &key)? else { continue };
        let record: RoundRecord = coordinator.coordinator_key().open(&document)?;
        for participant_id in record.accepted.into_keys() {
            let count = counts.entry(participant_id).or_default();
            *count = count.saturating_add(1);
        }
    }
    Ok(counts)
}

/// What a task costs each participant of its cohort at most; the ledger at the site is the authority
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/ledger", tag = "ledger",
    params(("task_id" = String, Path), PageQuery),
    responses(
        (status = 200, body = Page<LedgerView>),
        (status = 404, description = "no such task", content_type = "application/problem+json")
    )
)]
pub(crate) async fn show(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<Page<LedgerView>>, Refusal> {
    let task_id = TaskId::new(task_id)?;
    Ok(axum::Json(coordinator.blocking(move |coordinator| views(coordinator, &task_id, &page)).await?))
}
