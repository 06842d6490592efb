//! What a watching participant is sent: the present view, each change, a heartbeat; nothing after it is shut out.
//!
//! Its own heartbeats say that it is alive. A watch on which none come ends: whoever sends none is dead.

use std::sync::Arc;

use shared_wire::server::{Answers, Certificate, Heartbeats};
use shared_wire::{HEARTBEAT, RoundView, Status, TaskView};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::coordinator::Running;
use crate::enrol::Participant;
use crate::round::actor::Handle;
use crate::task::Outcome;
use crate::{Coordinator, Error};

/// How many views may wait for a slow watcher.
const WAITING: usize = 2;

/// Boxed, because a channel holds room for 32 messages, however few may wait in it.
type Sent = Box<Result<RoundView, Status>>;

pub(super) fn task_view(running: &Running) -> TaskView {
    let snapshot = running.handle.snapshot();
    TaskView {
        document: running.task.document.clone(),
        state: Outcome::state(snapshot.outcome.as_ref(), snapshot.paused),
        rounds_done: snapshot.rounds_done,
    }
}

/// One participant's watch of one task.
pub(super) struct Watch {
    pub(super) coordinator: Arc<Coordinator>,
    pub(super) certificate: Certificate,
    pub(super) participant: Arc<Participant>,
    pub(super) handle: Handle,
}

impl Watch {
    /// The views of the task's rounds, until the task ends, the watcher goes, or the coordinator stops.
    pub(super) fn views(self, heartbeats: Heartbeats) -> Answers<RoundView> {
        let (views, stream) = mpsc::channel(WAITING);
        self.coordinator.tracker.clone().spawn(self.send(heartbeats, views));
        Box::pin(ReceiverStream::new(stream).map(|view| *view))
    }

    async fn send(mut self, mut heartbeats: Heartbeats, views: mpsc::Sender<Sent>) {
        let mut rights = self.coordinator.registry.changes();
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = true;
        loop {
            if due {
                let view = self.view();
                let last = view.as_ref().map_or(true, |view| view.task_state.is_over());
                if views.send(Box::new(view)).await.is_err() || last {
                    return;
                }
            }
            due = tokio::select! {
                () = views.closed() => return,
                () = self.coordinator.stop.cancelled() => {
                    // A watcher that does not read any more misses nothing but the reason.
                    let _ = views.try_send(Box::new(Err(Error::Unavailable.into())));
                    return;
                }
                changed = self.handle.snapshots.changed() => {
                    if changed.is_err() && self.handle.snapshots.borrow().outcome.is_none() {
                        // The actor is gone with the process.
                        return;
                    }
                    true
                }
                _ = rights.changed() => true,
                _ = beat.tick() => true,
                heartbeat = heartbeats.next() => match heartbeat {
                    Ok(Some(heartbeat)) => {
                        let (presence, now) = (&self.coordinator.presence, self.coordinator.now());
                        presence.heartbeat(&self.participant.participant_id, &heartbeat, now);
                        false
                    }
                    Ok(None) => return,
                    Err(status) => {
                        let _ = views.try_send(Box::new(Err(status)));
                        return;
                    }
                },
            };
        }
    }

    /// The present view, or why the watcher may not have it.
    fn view(&mut self) -> Result<RoundView, Status> {
        let now = self.coordinator.now();
        self.participant = self.coordinator.registry.admit(self.certificate.as_deref(), now)?;
        Ok(self.handle.snapshots.borrow_and_update().view(&self.participant.participant_id, now))
    }
}
