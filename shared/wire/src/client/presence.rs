//! What a site is doing just now, told to the coordinator once a heartbeat.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use shared::{Clock, TaskId};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::view::{Activity, Heartbeat};
use crate::{HEARTBEAT, convert, proto};

/// What a site is doing just now. All clones are one.
#[derive(Clone)]
pub struct Presence {
    clock: Arc<dyn Clock>,
    doing: Arc<RwLock<(Activity, u8)>>,
}

impl Presence {
    /// A site that is idle.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, doing: Arc::new(RwLock::new((Activity::Idle, 0))) }
    }

    /// Says what the site does from now on, and how far that is: 0 to 100.
    pub fn set(&self, activity: Activity, percent: u8) {
        *self.doing.write().unwrap_or_else(PoisonError::into_inner) = (activity, percent.min(100));
    }

    fn heartbeat(&self) -> Heartbeat {
        let (activity, percent) = *self.doing.read().unwrap_or_else(PoisonError::into_inner);
        Heartbeat { sent_at: self.clock.now(), activity, percent }
    }

    /// A heartbeat for `task_id` at once and then every [`HEARTBEAT`], until `over`.
    pub(super) fn heartbeats(&self, task_id: TaskId, over: CancellationToken) -> Heartbeats {
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Heartbeats { presence: self.clone(), task_id, beat, over: Box::pin(over.cancelled_owned()) }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("doing", &self.doing).finish_non_exhaustive()
    }
}

/// The heartbeats of one watch.
pub(super) struct Heartbeats {
    presence: Presence,
    task_id: TaskId,
    beat: Interval,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Stream for Heartbeats {
    type Item = proto::Heartbeat;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<proto::Heartbeat>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        ready!(self.beat.poll_tick(cx));
        Poll::Ready(Some(convert::heartbeat(&self.task_id, self.presence.heartbeat())))
    }
}
