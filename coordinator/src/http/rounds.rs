//! Rounds: list and show, as their events in the store leave them.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::release::RoundRecord;
use shared::round::{AbortReason, RoundState, Tally};
use shared::{Digest, ParticipantId, RoundId, RoundNumber, TaskId, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::{Refusal, Shared};
use crate::round::{accepted, candidate, joined, replay};
use crate::{Coordinator, Error, task};

/// How many rounds an answer holds, unless the caller says less.
const PAGE: u32 = 100;

/// Which rounds to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Only rounds after this number.
    after: Option<u32>,
    /// At most this many, 1 to 100.
    limit: Option<u32>,
}

/// A round and how far it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RoundView {
    /// Its number.
    pub(crate) round: u32,
    /// Its phase.
    pub(crate) phase: String,
    /// Digest of the parameters it starts from.
    #[schema(value_type = String)]
    pub(crate) checkpoint: Digest,
    /// Digest of the parameters it ends with.
    #[schema(value_type = Option<String>)]
    pub(crate) candidate: Option<Digest>,
    /// When its phase ends whoever is missing.
    #[schema(value_type = Option<String>)]
    pub(crate) deadline: Option<Timestamp>,
    /// Who joined, while the round is announced or collecting.
    #[schema(value_type = Vec<String>)]
    pub(crate) joined: BTreeSet<ParticipantId>,
    /// Whose update counts, and its digest.
    #[schema(value_type = BTreeMap<String, String>)]
    pub(crate) accepted: BTreeMap<ParticipantId, Digest>,
    /// The cohort's noised hold-out counts, once they are closed.
    #[schema(value_type = Option<Object>)]
    pub(crate) tally: Option<Tally>,
    /// Why it was aborted.
    #[schema(value_type = Option<Object>)]
    pub(crate) aborted: Option<AbortReason>,
    /// The signed record, once it is committed.
    #[schema(value_type = Option<Object>)]
    pub(crate) record: Option<SignedDocument>,
}

fn view(coordinator: &Coordinator, round_id: &RoundId) -> Result<RoundView, Error> {
    let state = replay(&*coordinator.store, round_id)?.state;
    let mut view = RoundView {
        round: round_id.number.0,
        phase: state.phase().to_owned(),
        checkpoint: state.plan().checkpoint,
        candidate: candidate(&state),
        deadline: state.deadline(),
        joined: joined(&state).cloned().unwrap_or_default(),
        accepted: accepted(&state).cloned().unwrap_or_default(),
        tally: None,
        aborted: None,
        record: None,
    };
    match &*state {
        RoundState::Evaluated(state) => view.tally = Some(state.tally),
        RoundState::Aborted(state) => view.aborted = Some(state.reason.clone()),
        RoundState::Committed(_) => {
            let document = coordinator.round_record(round_id)?;
            let record: RoundRecord = coordinator.coordinator_key().open(&document)?;
            view.accepted = record.accepted;
            view.tally = Some(record.tally);
            view.record = Some(document);
        }
        _ => {}
    }
    Ok(view)
}

fn views(coordinator: &Coordinator, task_id: &TaskId, page: &Page) -> Result<Vec<RoundView>, Error> {
    let newest = task::entry(&*coordinator.store, task_id)?.round.0;
    let first = page.after.unwrap_or(0).saturating_add(1);
    let count = page.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let last = newest.min(first.saturating_add(count).saturating_sub(1));
    let ids = (first..=last).map(|number| RoundId { task_id: task_id.clone(), number: RoundNumber(number) });
    ids.map(|round_id| view(coordinator, &round_id)).collect()
}

/// A task's rounds, by number
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/rounds", tag = "rounds", params(("task_id" = String, Path), Page),
    responses(
        (status = 200, body = [RoundView]),
        (status = 404, description = "no such task", content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Vec<RoundView>>, Refusal> {
    let task_id = TaskId::new(task_id)?;
    Ok(axum::Json(coordinator.blocking(move |coordinator| views(coordinator, &task_id, &page)).await?))
}

/// One round
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/rounds/{round}", tag = "rounds",
    params(("task_id" = String, Path), ("round" = u32, Path)),
    responses(
        (status = 200, body = RoundView),
        (status = 404, description = "no such round", content_type = "application/problem+json")
    )
)]
pub(crate) async fn show(
    State(coordinator): Shared,
    Path((task_id, round)): Path<(String, u32)>,
) -> Result<axum::Json<RoundView>, Refusal> {
    let round_id = RoundId { task_id: TaskId::new(task_id)?, number: RoundNumber(round) };
    Ok(axum::Json(coordinator.blocking(move |coordinator| view(coordinator, &round_id)).await?))
}
