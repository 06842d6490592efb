//! Conversions between messages and domain types. A message that does not convert is refused and never reaches a caller.

use prost::bytes::Bytes;
use shared::document::{KeyId, SignedDocument};
use shared::{Digest, ReleaseId, RoundId, RoundNumber, TaskId, Timestamp};

use crate::proto;
use crate::view::{Enrolled, Phase, ReleaseBundle, RoundView, TaskState, TaskView};
use crate::{CHUNK_BYTES, DIGEST_BYTES, WireError};

/// One part of an update as the coordinator reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdatePart {
    /// The signed [`shared::update::UpdateHeader`]; first and once.
    Header(SignedDocument),
    /// A piece of the parameters.
    Chunk {
        /// Where it begins.
        offset: u64,
        /// At most [`CHUNK_BYTES`].
        data: Bytes,
    },
}

pub(crate) fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, WireError> {
    let bytes: [u8; DIGEST_BYTES] = bytes
        .try_into()
        .map_err(|_| WireError::malformed(field, format!("{} bytes, not {DIGEST_BYTES}", bytes.len())))?;
    Ok(Digest(bytes))
}

pub(crate) fn task_id(text: String) -> Result<TaskId, WireError> {
    TaskId::new(text).map_err(|error| WireError::malformed("task_id", error))
}

pub(crate) fn release_id(text: String) -> Result<ReleaseId, WireError> {
    ReleaseId::new(text).map_err(|error| WireError::malformed("release_id", error))
}

pub(crate) fn round_id(task: String, round: u32) -> Result<RoundId, WireError> {
    Ok(RoundId { task_id: task_id(task)?, number: RoundNumber(round) })
}

fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or_else(|| WireError::malformed(field, "missing"))
}

fn micros(timestamp: Option<Timestamp>) -> i64 {
    timestamp.map_or(0, Timestamp::as_micros)
}

impl TryFrom<proto::SignedDocument> for SignedDocument {
    type Error = WireError;

    fn try_from(message: proto::SignedDocument) -> Result<Self, WireError> {
        let key_id = KeyId(digest("key_id", &message.key_id)?);
        Ok(Self { body: message.body, key_id, signature: hex::encode(message.signature) })
    }
}

impl From<SignedDocument> for proto::SignedDocument {
    fn from(document: SignedDocument) -> Self {
        // A signature that is not hexadecimal cannot be valid; it travels as none and fails verification.
        let signature = hex::decode(&document.signature).unwrap_or_default();
        Self { body: document.body, key_id: document.key_id.0.as_bytes().to_vec(), signature }
    }
}

impl From<proto::EnrolResponse> for Enrolled {
    fn from(message: proto::EnrolResponse) -> Self {
        let proto::EnrolResponse { certificate_pem, ca_certificate_pem, operator_key, coordinator_key } = message;
        Self { certificate_pem, ca_certificate_pem, operator_key, coordinator_key }
    }
}

impl From<Enrolled> for proto::EnrolResponse {
    fn from(enrolled: Enrolled) -> Self {
        let Enrolled { certificate_pem, ca_certificate_pem, operator_key, coordinator_key } = enrolled;
        Self { certificate_pem, ca_certificate_pem, operator_key, coordinator_key }
    }
}

fn task_state(state: proto::TaskState, release: String) -> Result<TaskState, WireError> {
    match state {
        proto::TaskState::Running => Ok(TaskState::Running),
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
        let candidate = (!message.candidate.is_empty()).then(|| digest("candidate", &message.candidate)).transpose()?;
        Ok(Self {
            phase,
            candidate,
            checkpoint: digest("checkpoint", &message.checkpoint)?,
            deadline: (message.deadline_us != 0).then(|| Timestamp::from_micros(message.deadline_us)),
            joined: message.joined,
            accepted: message.accepted,
            caller_joined: message.caller_joined,
            caller_accepted: message.caller_accepted,
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
            candidate: view.candidate.map(|candidate| candidate.as_bytes().to_vec()).unwrap_or_default(),
            deadline_us: micros(view.deadline),
            joined: view.joined,
            accepted: view.accepted,
            caller_joined: view.caller_joined,
            caller_accepted: view.caller_accepted,
            task_state: task_state.into(),
            rounds_done: view.rounds_done,
            release_id,
            sent_us: view.sent_at.as_micros(),
        }
    }
}

impl TryFrom<proto::UpdatePart> for UpdatePart {
    type Error = WireError;

    fn try_from(message: proto::UpdatePart) -> Result<Self, WireError> {
        match required("part", message.part)? {
            proto::update_part::Part::Header(document) => Ok(Self::Header(document.try_into()?)),
            proto::update_part::Part::Chunk(chunk) => {
                let (offset, data) = checked(chunk)?;
                Ok(Self::Chunk { offset, data })
            }
        }
    }
}

/// A chunk's offset and bytes, when it is not too large.
pub(crate) fn checked(chunk: proto::Chunk) -> Result<(u64, Bytes), WireError> {
    if chunk.data.len() > CHUNK_BYTES {
        return Err(WireError::malformed("chunk", format!("{} bytes, more than {CHUNK_BYTES}", chunk.data.len())));
    }
    Ok((chunk.offset, chunk.data))
}

/// The chunks of a byte string, in order. Shares the bytes, copies none.
pub(crate) fn chunks(bytes: Bytes) -> impl Iterator<Item = proto::Chunk> + Send + 'static {
    let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
    starts.map(move |start| proto::Chunk {
        offset: u64::try_from(start).unwrap_or(u64::MAX),
        data: bytes.slice(start..bytes.len().min(start.saturating_add(CHUNK_BYTES))),
    })
}

impl TryFrom<proto::ReleaseBundle> for ReleaseBundle {
    type Error = WireError;

    fn try_from(message: proto::ReleaseBundle) -> Result<Self, WireError> {
        Ok(Self {
            release: required("release", message.release)?.try_into()?,
            round_record: required("round_record", message.round_record)?.try_into()?,
        })
    }
}

impl From<ReleaseBundle> for proto::ReleaseBundle {
    fn from(bundle: ReleaseBundle) -> Self {
        Self { release: Some(bundle.release.into()), round_record: Some(bundle.round_record.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> RoundView {
        RoundView {
            round_id: RoundId { task_id: TaskId::new("t").unwrap(), number: RoundNumber(3) },
            phase: Phase::Aggregated,
            checkpoint: Digest([1; 32]),
            candidate: Some(Digest([2; 32])),
            deadline: Some(Timestamp::from_micros(7)),
            joined: 3,
            accepted: 2,
            caller_joined: true,
            caller_accepted: false,
            task_state: TaskState::Released(ReleaseId::new("r").unwrap()),
            rounds_done: 2,
            sent_at: Timestamp::from_micros(9),
        }
    }

    #[test]
    fn a_view_survives_the_wire() {
        assert_eq!(RoundView::try_from(proto::RoundView::from(view())).unwrap(), view());
    }

    #[test]
    fn a_view_with_a_broken_field_is_refused() {
        let message = proto::RoundView::from(view());
        let broken = [
            proto::RoundView { phase: 0, ..message.clone() },
            proto::RoundView { phase: 99, ..message.clone() },
            proto::RoundView { checkpoint: vec![1; 31], ..message.clone() },
            proto::RoundView { candidate: vec![1; 33], ..message.clone() },
            proto::RoundView { task_id: "../t".into(), ..message.clone() },
            proto::RoundView { release_id: String::new(), ..message },
        ];
        for message in broken {
            assert!(RoundView::try_from(message.clone()).is_err(), "{message:?}");
        }
    }

    #[test]
    fn chunks_cover_the_bytes_once_and_in_order() {
        let bytes = Bytes::from((0..CHUNK_BYTES * 2 + 5).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<_>>());
        let mut joined = Vec::new();
        for chunk in chunks(bytes.clone()) {
            assert_eq!(chunk.offset, u64::try_from(joined.len()).unwrap());
            joined.extend_from_slice(&checked(chunk).unwrap().1);
        }
        assert_eq!(joined, bytes);
        assert!(checked(proto::Chunk { offset: 0, data: vec![0; CHUNK_BYTES + 1].into() }).is_err());
    }
}
