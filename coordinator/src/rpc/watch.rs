//! What a watching participant is sent: the present view, each change, a heartbeat; nothing after it is shut out.

use std::sync::Arc;

use shared_wire::server::{Answers, Certificate};
use shared_wire::{HEARTBEAT, RoundView, Status, TaskState, TaskView};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::coordinator::Running;
use crate::enrol::Participant;
use crate::round::actor::Handle;
use crate::task::Outcome;
use crate::{Coordinator, Error};

/// How many views may wait for a slow watcher.
const WAITING: usize = 2;

pub(super) fn task_view(running: &Running) -> TaskView {
    let snapshot = running.handle.snapshot();
    TaskView {
        document: running.task.document.clone(),
        state: Outcome::state(snapshot.outcome.as_ref()),
        rounds_done: snapshot.rounds_done,
    }
}

/// The views of a task's rounds, until the task ends, the watcher goes, or the coordinator stops.
pub(super) fn views(
    coordinator: Arc<Coordinator>,
    certificate: Certificate,
    participant: Participant,
    handle: Handle,
) -> Answers<RoundView> {
    let (views, stream) = mpsc::channel(WAITING);
    let tracker = coordinator.tracker.clone();
    tracker.spawn(send(coordinator, certificate, participant, handle, views));
    Box::pin(ReceiverStream::new(stream))
}

async fn send(
    coordinator: Arc<Coordinator>,
    certificate: Certificate,
    participant: Participant,
    mut handle: Handle,
    views: mpsc::Sender<Result<RoundView, Status>>,
) {
    let mut revocations = coordinator.registry.revocations();
    loop {
        let admitted = coordinator.registry.admit(certificate.as_deref(), coordinator.now());
        let view = handle.snapshots.borrow_and_update().view(&participant.participant_id, coordinator.now());
        let last = admitted.is_err() || view.task_state != TaskState::Running;
        let answer = admitted.map(|_| view).map_err(Status::from);
        if views.send(answer).await.is_err() || last {
            return;
        }
        tokio::select! {
            () = views.closed() => return,
            () = coordinator.stop.cancelled() => {
                // A watcher that does not read any more misses nothing but the reason.
                let _ = views.try_send(Err(Error::Unavailable.into()));
                return;
            }
            changed = handle.snapshots.changed() => if changed.is_err() && handle.snapshots.borrow().outcome.is_none() {
                // The actor is gone with the process.
                return;
            },
            _ = revocations.changed() => {}
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
    }
}
