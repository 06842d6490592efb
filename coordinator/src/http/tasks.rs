//! Tasks: list, create, show, cancel.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::task::{InvalidTask, Task};
use shared::{ParamVector, TaskId};
use shared_ops::problem::Json;
use shared_wire::TaskState;
use utoipa::ToSchema;

use super::{Refusal, Shared};
use crate::coordinator::Running;
use crate::task::{Outcome, zeros_for};
use crate::{Coordinator, Error};

/// A task and how far it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TaskView {
    /// The task's id.
    pub(crate) task_id: String,
    /// One line for people.
    pub(crate) title: String,
    /// `running`, `released`, `refused`, `cancelled` or `failed`.
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
    pub(crate) digest: String,
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
    document: shared::document::SignedDocument,
}

/// A task to be signed and begun.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTask {
    /// The task; `created_at` is set by the coordinator.
    #[schema(value_type = Object)]
    task: Map<String, Value>,
    /// The first checkpoint: base64 of little-endian f32 values. A linear model begins at zero without it.
    initial_params: Option<String>,
}

fn view(running: &Running) -> TaskView {
    let snapshot = running.handle.snapshot();
    let state = Outcome::state(snapshot.outcome.as_ref());
    let (name, release_id) = match &state {
        TaskState::Running => ("running", None),
        TaskState::Released(release_id) => ("released", Some(release_id.to_string())),
        TaskState::Refused => ("refused", None),
        TaskState::Cancelled => ("cancelled", None),
        TaskState::Failed => ("failed", None),
    };
    let task = &running.task.task;
    TaskView {
        task_id: task.task_id.to_string(),
        title: task.title.clone(),
        state: name.to_owned(),
        rounds: task.rounds,
        rounds_done: snapshot.rounds_done,
        round: snapshot.state.plan().round_id.number.0,
        phase: snapshot.state.phase().to_owned(),
        release_id,
        digest: running.task.digest.to_string(),
    }
}

fn detail(coordinator: &Coordinator, task_id: &TaskId) -> Result<TaskDetail, Error> {
    let running = coordinator.task(task_id)?;
    let outcome = running.handle.snapshot().outcome;
    Ok(TaskDetail { view: view(&running), outcome, document: running.task.document.clone() })
}

/// All tasks, by id
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", responses((status = 200, body = [TaskView])))]
pub(crate) async fn list(State(coordinator): Shared) -> axum::Json<Vec<TaskView>> {
    axum::Json(coordinator.tasks().iter().map(view).collect())
}

/// Sign a task and announce its first round
#[utoipa::path(post, path = "/api/v1/tasks", tag = "tasks", request_body = NewTask, responses(
    (status = 201, body = TaskDetail),
    (status = 409, description = "there is a task with this id", content_type = "application/problem+json"),
    (status = 422, description = "the task cannot be run", content_type = "application/problem+json")
))]
pub(crate) async fn create(
    State(coordinator): Shared,
    Json(new): Json<NewTask>,
) -> Result<(StatusCode, axum::Json<TaskDetail>), Refusal> {
    let (task, initial) = parse(&coordinator, new)?;
    let task_id = task.task_id.clone();
    coordinator.blocking(move |coordinator| coordinator.create_task(task, &initial)).await?;
    Ok((StatusCode::CREATED, axum::Json(detail(&coordinator, &task_id)?)))
}

fn parse(coordinator: &Coordinator, new: NewTask) -> Result<(Task, ParamVector), Error> {
    let NewTask { mut task, initial_params } = new;
    task.insert("created_at".to_owned(), Value::String(coordinator.now().to_string()));
    let task: Task = serde_json::from_value(Value::Object(task))
        .map_err(|error| InvalidTask { field: "task", reason: error.to_string() })?;
    task.validate()?;
    let initial = match initial_params {
        None => zeros_for(&task)?,
        Some(text) => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| Error::InitialParams)?;
            ParamVector::from_le_bytes(&bytes, task.model.param_count())?
        }
    };
    Ok((task, initial))
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

/// End a task; its open round is aborted
#[utoipa::path(post, path = "/api/v1/tasks/{task_id}/cancel", tag = "tasks", params(("task_id" = String, Path)),
    responses(
        (status = 200, body = TaskDetail),
        (status = 404, description = "no such task", content_type = "application/problem+json"),
        (status = 409, description = "the task has ended", content_type = "application/problem+json")
    )
)]
pub(crate) async fn cancel(
    State(coordinator): State<Arc<Coordinator>>,
    Path(task_id): Path<String>,
) -> Result<axum::Json<TaskDetail>, Refusal> {
    let task_id = TaskId::new(task_id)?;
    coordinator.task(&task_id)?.handle.cancel().await?;
    Ok(axum::Json(detail(&coordinator, &task_id)?))
}
