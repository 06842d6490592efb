//! Conversions of what a watched round is made of: tasks, views, heartbeats.

use shared::{TaskId, Timestamp};

use super::{optional_bytes, optional_digest, release_id, required, round_id, task_id};
use crate::view::{Activity, Heartbeat, Phase, RoundView, TaskState, TaskView};
use crate::{WireError, proto};

fn micros(timestamp: Option<Timestamp>) -> i64 {
    timestamp.map_or(0, Timestamp::as_micros)
}

fn task_state(state: proto::TaskState, release: String) -> Result<TaskState, WireError> {
    match state {
        proto::TaskState::Running => Ok(TaskState::Running),
        proto::TaskState::Paused => Ok(TaskState::Paused),
        proto::TaskState::Released => Ok(TaskState::Released(release_id(release)?)),
        proto::TaskState::Refused => Ok(TaskState::Refused),
        proto::TaskState::Cancelled => Ok(TaskState::Cancelled),
        proto::TaskState::Failed => Ok(TaskState::Failed),
        proto::TaskState::Unspecified => Err(WireError::malformed("state", "unknown")),
    }
}

fn task_state_parts(state: &TaskState) -> (proto::TaskState, String) {
    match state {
        TaskState::Running => (proto::TaskState::Running, String::new()),
        TaskState::Paused => (proto::TaskState::Paused, String::new()),
        TaskState::Released(release_id) => (proto::TaskState::Released, release_id.to_string()),
        TaskState::Refused => (proto::TaskState::Refused, String::new()),
        TaskState::Cancelled => (proto::TaskState::Cancelled, String::new()),
        TaskState::Failed => (proto::TaskState::Failed, String::new()),
    }
}

impl TryFrom<proto::TaskView> for TaskView {
    type Error = WireError;

    fn try_from(message: proto::TaskView) -> Result<Self, WireError> {
        let state = task_state(message.state(), message.release_id.clone())?;
        let document = required("document", message.document)?.try_into()?;
        Ok(Self { document, state, rounds_done: message.rounds_done })
    }
}

impl From<TaskView> for proto::TaskView {
    fn from(view: TaskView) -> Self {
        let (state, release_id) = task_state_parts(&view.state);
        let document = Some(view.document.into());
        Self { document, state: state.into(), rounds_done: view.rounds_done, release_id }
    }
}

impl TryFrom<proto::RoundView> for RoundView {
    type Error = WireError;

    fn try_from(message: proto::RoundView) -> Result<Self, WireError> {
        let phase = message.phase();
        if phase == Phase::Unspecified {
            return Err(WireError::malformed("phase", "unknown"));
        }
        Ok(Self {
            phase,
            checkpoint: super::digest("checkpoint", &message.checkpoint)?,
            control: optional_digest("control", &message.control)?,
            candidate: optional_digest("candidate", &message.candidate)?,
            deadline: (message.deadline_us != 0).then(|| Timestamp::from_micros(message.deadline_us)),
            quorum: message.quorum,
            joined: message.joined,
            accepted: message.accepted,
            invited: message.invited,
            caller_joined: message.caller_joined,
            caller_accepted: message.caller_accepted,
            caller_done: message.caller_done,
            task_state: task_state(message.task_state(), message.release_id)?,
            round_id: round_id(message.task_id, message.round)?,
            rounds_done: message.rounds_done,
            sent_at: Timestamp::from_micros(message.sent_us),
        })
    }
}

impl From<RoundView> for proto::RoundView {
    fn from(view: RoundView) -> Self {
        let (task_state, release_id) = task_state_parts(&view.task_state);
        Self {
            task_id: view.round_id.task_id.into(),
            round: view.round_id.number.0,
            phase: view.phase.into(),
            checkpoint: view.checkpoint.as_bytes().to_vec(),
            control: optional_bytes(view.control),
            candidate: optional_bytes(view.candidate),
            deadline_us: micros(view.deadline),
            quorum: view.quorum,
            joined: view.joined,
            accepted: view.accepted,
            invited: view.invited,
            caller_joined: view.caller_joined,
            caller_accepted: view.caller_accepted,
            caller_done: view.caller_done,
            task_state: task_state.into(),
            rounds_done: view.rounds_done,
            release_id,
            sent_us: view.sent_at.as_micros(),
        }
    }
}

fn activity(activity: proto::Activity) -> Result<Activity, WireError> {
    match activity {
        proto::Activity::Idle => Ok(Activity::Idle),
        proto::Activity::Fetching => Ok(Activity::Fetching),
        proto::Activity::Training => Ok(Activity::Training),
        proto::Activity::Sending => Ok(Activity::Sending),
        proto::Activity::Evaluating => Ok(Activity::Evaluating),
        proto::Activity::Unspecified => Err(WireError::malformed("activity", "unknown")),
    }
}

impl From<Activity> for proto::Activity {
    fn from(activity: Activity) -> Self {
        match activity {
            Activity::Idle => Self::Idle,
            Activity::Fetching => Self::Fetching,
            Activity::Training => Self::Training,
            Activity::Sending => Self::Sending,
            Activity::Evaluating => Self::Evaluating,
        }
    }
}

impl TryFrom<proto::Heartbeat> for Heartbeat {
    type Error = WireError;

    fn try_from(message: proto::Heartbeat) -> Result<Self, WireError> {
        let percent = u8::try_from(message.percent).ok().filter(|percent| *percent <= 100);
        Ok(Self {
            sent_at: Timestamp::from_micros(message.sent_us),
            activity: activity(message.activity())?,
            percent: percent.ok_or_else(|| WireError::malformed("percent", format!("{}", message.percent)))?,
        })
    }
}

/// The first heartbeat of a watch, with the task that it names.
pub(crate) fn first_heartbeat(message: proto::Heartbeat) -> Result<(TaskId, Heartbeat), WireError> {
    Ok((task_id(message.task_id.clone())?, message.try_into()?))
}

/// A heartbeat as a message that names its task.
pub(crate) fn heartbeat(task_id: &TaskId, heartbeat: Heartbeat) -> proto::Heartbeat {
    proto::Heartbeat {
        task_id: task_id.to_string(),
        sent_us: heartbeat.sent_at.as_micros(),
        activity: proto::Activity::from(heartbeat.activity).into(),
        percent: heartbeat.percent.into(),
    }
}

#[cfg(test)]
mod tests {
    use shared::{Digest, ReleaseId, RoundId, RoundNumber};

    use super::*;

    fn view() -> RoundView {
        RoundView {
            round_id: RoundId { task_id: TaskId::new("t").unwrap(), number: RoundNumber(3) },
            phase: Phase::Aggregated,
            checkpoint: Digest([1; 32]),
            control: Some(Digest([3; 32])),
            candidate: Some(Digest([2; 32])),
            deadline: Some(Timestamp::from_micros(7)),
            quorum: 2,
            joined: 3,
            accepted: 2,
            invited: true,
            caller_joined: true,
            caller_accepted: false,
            caller_done: true,
            task_state: TaskState::Released(ReleaseId::new("r").unwrap()),
            rounds_done: 2,
            sent_at: Timestamp::from_micros(9),
        }
    }

    #[test]
    fn a_view_survives_the_wire() {
        let bare =
            RoundView { control: None, candidate: None, deadline: None, task_state: TaskState::Paused, ..view() };
        for view in [view(), bare] {
            assert_eq!(RoundView::try_from(proto::RoundView::from(view.clone())).unwrap(), view);
        }
    }

    #[test]
    fn a_view_with_a_broken_field_is_refused() {
        let message = proto::RoundView::from(view());
        let broken = [
            proto::RoundView { phase: 0, ..message.clone() },
            proto::RoundView { phase: 99, ..message.clone() },
            proto::RoundView { checkpoint: vec![1; 31], ..message.clone() },
            proto::RoundView { candidate: vec![1; 33], ..message.clone() },
            proto::RoundView { control: vec![1; 1], ..message.clone() },
            proto::RoundView { task_id: "../t".into(), ..message.clone() },
            proto::RoundView { release_id: String::new(), ..message },
        ];
        for message in broken {
            assert!(RoundView::try_from(message.clone()).is_err(), "{message:?}");
        }
    }

    #[test]
    fn a_heartbeat_says_what_a_participant_does_and_nothing_impossible() {
        let task = TaskId::new("t").unwrap();
        let beat = Heartbeat { sent_at: Timestamp::from_micros(5), activity: Activity::Training, percent: 40 };
        let message = heartbeat(&task, beat);
        assert_eq!(first_heartbeat(message.clone()).unwrap(), (task, beat));
        let broken = [
            proto::Heartbeat { task_id: String::new(), ..message.clone() },
            proto::Heartbeat { activity: 0, ..message.clone() },
            proto::Heartbeat { percent: 101, ..message },
        ];
        for message in broken {
            assert!(first_heartbeat(message.clone()).is_err(), "{message:?}");
        }
    }
}
