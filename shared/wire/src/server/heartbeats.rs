//! The heartbeats of one watching participant, and how their absence is noticed.

use shared::TaskId;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::{Status, Streaming};

use crate::convert::first_heartbeat;
use crate::view::Heartbeat;
use crate::{HEARTBEAT, PATIENCE, WireError, proto};

/// The heartbeats of one watching participant, from the first on, which named the task.
pub struct Heartbeats {
    first: Option<Heartbeat>,
    rest: Streaming<proto::Heartbeat>,
    /// Ticks when the participant has been silent for too long. Kept between calls, so that a caller that looks at many
    /// things in turn still notices.
    patience: Interval,
    /// Ticks when the next one is read: whoever sends too many waits for itself.
    pace: Interval,
}

impl Heartbeats {
    /// Waits for the first heartbeat of a watch.
    pub(super) async fn open(mut messages: Streaming<proto::Heartbeat>) -> Result<(TaskId, Self), Status> {
        let first = tokio::time::timeout(PATIENCE, messages.message()).await;
        let first = first.map_err(|_| WireError::silent(PATIENCE))??;
        let first = first.ok_or_else(|| WireError::malformed("heartbeat", "missing"))?;
        let (task_id, first) = first_heartbeat(first)?;
        let (mut patience, mut pace) = (interval(PATIENCE), interval(HEARTBEAT / 4));
        patience.reset();
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok((task_id, Self { first: Some(first), rest: messages, patience, pace }))
    }

    /// The next heartbeat; `None` when the participant ends the watch. Fails when none came for [`PATIENCE`]: the
    /// participant is dead. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Result<Option<Heartbeat>, Status> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let message = tokio::select! {
            biased;
            message = paced(&mut self.pace, &mut self.rest) => message?,
            _ = self.patience.tick() => return Err(WireError::silent(PATIENCE).into()),
        };
        self.patience.reset();
        Ok(message.map(Heartbeat::try_from).transpose()?)
    }
}

async fn paced(
    pace: &mut Interval,
    messages: &mut Streaming<proto::Heartbeat>,
) -> Result<Option<proto::Heartbeat>, Status> {
    pace.tick().await;
    messages.message().await
}
