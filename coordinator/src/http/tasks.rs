//! Tasks: list, create, check, show, pause, resume, cancel.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::document::SignedDocument;
use shared::task::{InvalidTask, Task};
use shared::{Digest, ParticipantId, TaskId};
use shared_ops::problem::Json;
use shared_wire::TaskState;
use utoipa::ToSchema;

use super::page::{Page, PageQuery};
use super::{Refusal, Shared};
use crate::coordinator::Running;
use crate::round::Snapshot;
use crate::task::{Outcome, zeros_for};
use crate::{Coordinator, Error};

/// A task and how far it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TaskView {
    /// The task's id.
    #[schema(value_type = String)]
    pub(crate) task_id: TaskId,
    /// One line for people.
    pub(crate) title: String,
    /// `running`, `paused`, `released`, `refused`, `cancelled` or `failed`.
    pub(crate) state: String,
    /// How many rounds there are.
    pub(crate) rounds: u32,
    /// How many of them are committed.
    pub(crate) rounds_done: u32,
    /// The newest round's number.
    pub(crate) round: u32,
    /// The newest round's phase.
    pub(crate) phase: String,
    /// Its release, once there is one.
    pub(crate) release_id: Option<String>,
    /// The digest of the signed task.
    #[schema(value_type = String)]
    pub(crate) digest: Digest,
}

/// A task as it was signed, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskDetail {
    /// How far it is.
    #[serde(flatten)]
    view: TaskView,
    /// How it ended, with reasons; null while it runs.
    #[schema(value_type = Option<Object>)]
    outcome: Option<Outcome>,
    /// The signed document: `body` holds the task as canonical JSON.
    #[schema(value_type = Object)]
    document: SignedDocument,
}

/// A task to be signed and begun.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTask {
    /// The task; `created_at` is set by the coordinator.
    #[schema(value_type = Object)]
    task: Map<String, Value>,
    /// Digest of the first checkpoint: parameters that were sent before with `PUT /api/v1/params`, or that the
    /// coordinator has anyway, such as a release's. A linear model begins at zero without it.
    #[schema(value_type = Option<String>)]
    initial_params: Option<Digest>,
}

/// What would begin.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TaskPlan {
    /// The task's id.
    #[schema(value_type = String)]
    pub(crate) task_id: TaskId,
    /// How many parameters the model has.
    pub(crate) params: usize,
    /// How many bytes an update has, in each of the encodings that the task offers.
    pub(crate) update_bytes: Vec<usize>,
    /// How many participants would be invited to a round.
    pub(crate) invited: usize,
    /// Members of the cohort who are not enrolled and approved now.
    #[schema(value_type = Vec<String>)]
    pub(crate) absent: Vec<ParticipantId>,
    /// ε of all rounds together at the ceiling's δ, by the accountant; null where training adds no noise.
    pub(crate) epsilon: Option<f64>,
    /// What is allowed and yet probably not meant.
    pub(crate) warnings: Vec<String>,
}

/// The name of a task's state.
pub(super) fn state_name(snapshot: &Snapshot) -> &'static str {
    match Outcome::state(snapshot.outcome.as_ref(), snapshot.paused) {
        TaskState::Running => "running",
        TaskState::Paused => "paused",
        TaskState::Released(_) => "released",
        TaskState::Refused => "refused",
        TaskState::Cancelled => "cancelled",
        TaskState::Failed => "failed",
    }
}

fn view(running: &Running) -> TaskView {
    let snapshot = running.handle.snapshot();
    let release_id = match &snapshot.outcome {
        Some(Outcome::Released { release_id, .. }) => Some(release_id.to_string()),
        _ => None,
    };
    let task = &running.task.task;
    TaskView {
        task_id: task.task_id.clone(),
        title: task.title.clone(),
        state: state_name(&snapshot).to_owned(),
        rounds: task.rounds,
        rounds_done: snapshot.rounds_done,
        round: snapshot.state.plan().round_id.number.0,
        phase: snapshot.state.phase().to_owned(),
        release_id,
        digest: running.task.digest,
    }
}

fn detail(coordinator: &Coordinator, task_id: &TaskId) -> Result<TaskDetail, Error> {
    let running = coordinator.task(task_id)?;
    let outcome = running.handle.snapshot().outcome;
    Ok(TaskDetail { view: view(&running), outcome, document: running.task.document.clone() })
}

/// All tasks, by id
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(PageQuery),
    responses((status = 200, body = Page<TaskView>)))]
pub(crate) async fn list(
    State(coordinator): Shared,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<Page<TaskView>>, Refusal> {
    let tasks = page.cut(coordinator.tasks(), |running| running.task.task.task_id.clone())?;
    Ok(axum::Json(tasks.map(|running| view(&running))))
}

/// Sign a task and announce its first round
#[utoipa::path(post, path = "/api/v1/tasks", tag = "tasks", request_body = NewTask, responses(
    (status = 201, body = TaskDetail),
    (status = 404, description = "there are no such parameters", content_type = "application/problem+json"),
    (status = 409, description = "there is a task with this id", content_type = "application/problem+json"),
    (status = 422, description = "the task cannot be run", content_type = "application/problem+json")
))]
pub(crate) async fn create(
    State(coordinator): Shared,
    Json(new): Json<NewTask>,
) -> Result<(StatusCode, axum::Json<TaskDetail>), Refusal> {
    let create = move |coordinator: &Coordinator| {
        let task = parse(coordinator, new.task)?;
        let task_id = task.task_id.clone();
        match new.initial_params {
            Some(initial) => coordinator.create_task_from(task, initial)?,
            None => coordinator.create_task(task.clone(), &zeros_for(&task)?)?,
        };
        detail(coordinator, &task_id)
    };
    Ok((StatusCode::CREATED, axum::Json(coordinator.blocking(create).await?)))
}

/// Check a task as creating it would, and say what would begin; nothing is stored
#[utoipa::path(post, path = "/api/v1/tasks/validate", tag = "tasks", request_body = NewTask, responses(
    (status = 200, body = TaskPlan),
    (status = 404, description = "there are no such parameters", content_type = "application/problem+json"),
    (status = 409, description = "there is a task with this id", content_type = "application/problem+json"),
    (status = 422, description = "the task cannot be run", content_type = "application/problem+json")
))]
pub(crate) async fn validate(
    State(coordinator): Shared,
    Json(new): Json<NewTask>,
) -> Result<axum::Json<TaskPlan>, Refusal> {
    let check = move |coordinator: &Coordinator| {
        let task = parse(coordinator, new.task)?;
        coordinator.check_task(&task, new.initial_params)?;
        if new.initial_params.is_none() {
            zeros_for(&task)?;
        }
        plan(coordinator, &task)
    };
    Ok(axum::Json(coordinator.blocking(check).await?))
}

fn parse(coordinator: &Coordinator, mut task: Map<String, Value>) -> Result<Task, Error> {
    task.insert("created_at".to_owned(), Value::String(coordinator.now().to_string()));
    let task: Task = serde_json::from_value(Value::Object(task))
        .map_err(|error| InvalidTask { field: "task", reason: error.to_string() })?;
    task.validate()?;
    Ok(task)
}

fn plan(coordinator: &Coordinator, task: &Task) -> Result<TaskPlan, Error> {
    let is_absent = |id: &&ParticipantId| coordinator.registry.state(id) != Some(crate::enrol::State::Approved);
    let absent: Vec<ParticipantId> = task.cohort.iter().filter(is_absent).cloned().collect();
    let epsilon = task.cost().map(|cost| shared_privacy::accountant::epsilon(&cost, task.privacy.ceiling.delta));
    let epsilon = epsilon.transpose()?;
    let ceiling = task.privacy.ceiling.epsilon;
    let mut warnings = Vec::new();
    if epsilon.is_some_and(|epsilon| epsilon > ceiling) {
        warnings.push(format!("all rounds cost more than the ceiling of ε = {ceiling}: sites stop before the last"));
    }
    if epsilon.is_none() {
        warnings.push("training adds no noise: no site admits that by default".to_owned());
    }
    let there = task.cohort.len().saturating_sub(absent.len());
    if u32::try_from(there).is_ok_and(|there| there < task.quorum) {
        warnings.push(format!("{there} of the cohort can take part now, and a round needs {}", task.quorum));
    }
    Ok(TaskPlan {
        task_id: task.task_id.clone(),
        params: task.model.param_count(),
        update_bytes: task.encodings.iter().map(|encoding| encoding.encoded_len(task.update_len())).collect(),
        invited: task.participation.invited(task.cohort.len()),
        absent,
        epsilon,
        warnings,
    })
}

/// One task
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}", tag = "tasks", params(("task_id" = String, Path)), responses(
    (status = 200, body = TaskDetail),
    (status = 404, description = "no such task", content_type = "application/problem+json")
))]
pub(crate) async fn show(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
) -> Result<axum::Json<TaskDetail>, Refusal> {
    Ok(axum::Json(detail(&coordinator, &TaskId::new(task_id)?)?))
}

/// Announce no further round until the task is resumed; the open round goes on
#[utoipa::path(post, path = "/api/v1/tasks/{task_id}/pause", tag = "tasks", params(("task_id" = String, Path)),
    responses(
        (status = 200, body = TaskDetail),
        (status = 404, description = "no such task", content_type = "application/problem+json"),
        (status = 409, description = "the task has ended", content_type = "application/problem+json")
    )
)]
pub(crate) async fn pause(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
) -> Result<axum::Json<TaskDetail>, Refusal> {
    let task_id = TaskId::new(task_id)?;
    coordinator.task(&task_id)?.handle.pause().await?;
    Ok(axum::Json(detail(&coordinator, &task_id)?))
}

/// Go on with a paused task
#[utoipa::path(post, path = "/api/v1/tasks/{task_id}/resume", tag = "tasks", params(("task_id" = String, Path)),
    responses(
        (status = 200, body = TaskDetail),
        (status = 404, description = "no such task", content_type = "application/problem+json"),
        (status = 409, description = "the task has ended", content_type = "application/problem+json")
    )
)]
pub(crate) async fn resume(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
) -> Result<axum::Json<TaskDetail>, Refusal> {
    let task_id = TaskId::new(task_id)?;
    coordinator.task(&task_id)?.handle.resume().await?;
    Ok(axum::Json(detail(&coordinator, &task_id)?))
}

/// End a task; its open round is aborted
#[utoipa::path(post, path = "/api/v1/tasks/{task_id}/cancel", tag = "tasks", params(("task_id" = String, Path)),
    responses(
        (status = 200, body = TaskDetail),
        (status = 404, description = "no such task", content_type = "application/problem+json"),
        (status = 409, description = "the task has ended", content_type = "application/problem+json")
    )
)]
pub(crate) async fn cancel(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
) -> Result<axum::Json<TaskDetail>, Refusal> {
    let task_id = TaskId::new(task_id)?;
    coordinator.task(&task_id)?.handle.cancel().await?;
    Ok(axum::Json(detail(&coordinator, &task_id)?))
}
