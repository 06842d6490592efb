//! Bytes as they come from the other side, as domain types: what the service does to every message, one function per
//! kind. Whatever the bytes are, the answer is a value within its limits or a reason.

use prost::Message;
use shared::Digest;
use shared::document::SignedDocument;

use crate::view::{
    EnrolAnswer, Heartbeat, JoinRequest, Piece, ProofRequest, ReleaseBundle, RoundView, SealedShare, TaskView,
    UpdatePart, UploadProgress,
};
use crate::{WireError, convert, proto};

fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, WireError> {
    M::decode(bytes).map_err(|error| WireError::malformed("message", error))
}

/// A signed document: the body of most calls.
pub fn signed_document(bytes: &[u8]) -> Result<SignedDocument, WireError> {
    message::<proto::SignedDocument>(bytes)?.try_into()
}

/// The answer to an enrolment or a renewal.
pub fn enrol_answer(bytes: &[u8]) -> Result<EnrolAnswer, WireError> {
    message::<proto::EnrolResponse>(bytes)?.try_into()
}

/// A task in a list.
pub fn task_view(bytes: &[u8]) -> Result<TaskView, WireError> {
    message::<proto::TaskView>(bytes)?.try_into()
}

/// A view of a round.
pub fn round_view(bytes: &[u8]) -> Result<RoundView, WireError> {
    message::<proto::RoundView>(bytes)?.try_into()
}

/// A participant's heartbeat.
pub fn heartbeat(bytes: &[u8]) -> Result<Heartbeat, WireError> {
    message::<proto::Heartbeat>(bytes)?.try_into()
}

/// What joins a round.
pub fn join_request(bytes: &[u8]) -> Result<JoinRequest, WireError> {
    message::<proto::JoinRequest>(bytes)?.try_into()
}

/// What proves what a hidden update is.
pub fn proof_request(bytes: &[u8]) -> Result<ProofRequest, WireError> {
    message::<proto::ProofRequest>(bytes)?.try_into()
}

/// What was sealed for one participant in a masked round.
pub fn sealed_shares(bytes: &[u8]) -> Result<Vec<SealedShare>, WireError> {
    convert::shares(message(bytes)?)
}

/// A part of an update.
pub fn update_part(bytes: &[u8]) -> Result<UpdatePart, WireError> {
    message::<proto::UpdatePart>(bytes)?.try_into()
}

/// How far an update is.
pub fn upload_progress(bytes: &[u8]) -> Result<UploadProgress, WireError> {
    message::<proto::UploadProgress>(bytes)?.try_into()
}

/// A request for parameters: their digest, and where to begin.
pub fn fetch_params(bytes: &[u8]) -> Result<(Digest, u64), WireError> {
    let request = message::<proto::FetchParamsRequest>(bytes)?;
    Ok((convert::digest("digest", &request.digest)?, request.offset))
}

/// A piece of parameters.
pub fn piece(bytes: &[u8]) -> Result<Piece, WireError> {
    convert::piece(message(bytes)?)
}

/// A release with its round record, and the operator's word on it.
pub fn release_bundle(bytes: &[u8]) -> Result<ReleaseBundle, WireError> {
    message::<proto::ReleaseBundle>(bytes)?.try_into()
}
