//! A task's rounds as a live stream of server-sent events: the present view first, then each change, and a heartbeat in
//! between. The stream ends with the task, with the coordinator, or when its reader goes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use serde::{Deserialize, Serialize};
use shared::{TaskId, Timestamp};
use shared_wire::HEARTBEAT;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::rounds::RoundView;
use super::tasks::state_name;
use super::{Refusal, Shared};
use crate::Coordinator;
use crate::round::Snapshot;
use crate::round::actor::Handle;

/// How many views may wait for a slow reader, who then sees fewer of them.
const WAITING: usize = 2;

/// A task's newest round after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RoundChange {
    /// How far the task is.
    pub(crate) task_state: String,
    /// How many of its rounds are committed.
    pub(crate) rounds_done: u32,
    /// When this was sent.
    #[schema(value_type = String)]
    pub(crate) sent_at: Timestamp,
    /// The round.
    #[serde(flatten)]
    pub(crate) round: RoundView,
}

/// Follow a task's rounds: an event `round` for the present view and for each change, comments as heartbeats
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/watch", tag = "rounds", params(("task_id" = String, Path)),
    responses(
        (status = 200, description = "events named `round`", content_type = "text/event-stream", body = RoundChange),
        (status = 404, description = "no such task", content_type = "application/problem+json")
    )
)]
pub(crate) async fn watch(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
) -> Result<Sse<impl tokio_stream::Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let handle = coordinator.task(&TaskId::new(task_id)?)?.handle;
    let (events, stream) = mpsc::channel(WAITING);
    let tracker = coordinator.tracker.clone();
    tracker.spawn(send(coordinator, handle, events));
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat")))
}

async fn send(coordinator: Arc<Coordinator>, mut handle: Handle, events: mpsc::Sender<Result<Event, Infallible>>) {
    let mut told = None;
    loop {
        let snapshot = handle.snapshots.borrow_and_update().clone();
        let last = snapshot.outcome.is_some();
        let change = change(&snapshot, coordinator.now());
        if told.as_ref() != Some(&change.round) || last {
            let Ok(event) = Event::default().event("round").json_data(&change) else { return };
            told = Some(change.round);
            if events.send(Ok(event)).await.is_err() || last {
                return;
            }
        }
        tokio::select! {
            () = events.closed() => return,
            () = coordinator.stop.cancelled() => return,
            changed = handle.snapshots.changed() => if changed.is_err() && handle.snapshots.borrow().outcome.is_none() {
                // The actor is gone with the process.
                return;
            },
            // Who joined, delivered or was lost is not announced: phases are.
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
    }
}

fn change(snapshot: &Snapshot, now: Timestamp) -> RoundChange {
    RoundChange {
        task_state: state_name(snapshot).to_owned(),
        rounds_done: snapshot.rounds_done,
        sent_at: now,
        round: RoundView::of(&snapshot.state),
    }
}
