//! Parameters as raw bytes: taken in as they come, piece by piece into a file, and sent the same way. No model is ever
//! whole in memory, and none travels as JSON.

use std::io;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shared::Digest;
use shared::params::MAX_PARAMS;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::{Refusal, Shared};
use crate::blob::{BLOCK_BYTES, Blob, ParamsWriter};
use crate::{Coordinator, Error};

/// How many pieces wait for a slow reader or disk.
const WAITING: usize = 4;
/// The largest model, in bytes.
const MAX_BYTES: usize = MAX_PARAMS.saturating_mul(size_of::<f32>());

/// Parameters that the coordinator has now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ParamsView {
    /// Names them: BLAKE3 of their bytes.
    #[schema(value_type = String)]
    pub(crate) digest: Digest,
    /// How many bytes there are.
    pub(crate) bytes: u64,
}

/// Send parameters: little-endian f32 values and nothing else. They stay until the coordinator restarts, and as long as
/// a task or release names them
#[utoipa::path(put, path = "/api/v1/params", tag = "tasks",
    request_body(content_type = "application/octet-stream", content = String),
    responses(
        (status = 201, body = ParamsView),
        (status = 422, description = "more than the largest model has", content_type = "application/problem+json")
    )
)]
pub(crate) async fn put(
    State(coordinator): Shared,
    body: Body,
) -> Result<(StatusCode, axum::Json<ParamsView>), Refusal> {
    let (pieces, mut inbox) = mpsc::channel::<Bytes>(WAITING);
    let writing = coordinator.blocking(move |coordinator| {
        let (mut writer, mut bytes) = (ParamsWriter::new(&coordinator.context.blobs)?, 0);
        while let Some(piece) = inbox.blocking_recv() {
            if piece.is_empty() {
                return Ok(ParamsView { digest: writer.finish()?.digest(), bytes });
            }
            bytes = bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            writer.write(&piece)?;
        }
        // The sender went away in the middle: what is not finished is removed.
        Err(Error::Unavailable)
    });
    let (written, received) = tokio::join!(writing, receive(body, pieces));
    received?;
    Ok((StatusCode::CREATED, axum::Json(written?)))
}

/// Hands the body on as it comes, and at its end an empty piece.
async fn receive(body: Body, pieces: mpsc::Sender<Bytes>) -> Result<(), Error> {
    let (mut body, mut left) = (body.into_data_stream(), MAX_BYTES);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| Error::Upload(error.to_string()))?;
        left = left.checked_sub(piece.len()).ok_or_else(|| Error::Upload(format!("more than {MAX_BYTES} bytes")))?;
        if !piece.is_empty() && pieces.send(piece).await.is_err() {
            // The writer failed and tells why itself.
            return Ok(());
        }
    }
    let _ = pieces.send(Bytes::new()).await;
    Ok(())
}

/// The answer that sends a file of the coordinator's, piece by piece as it is read.
pub(super) fn download(coordinator: &Coordinator, blob: Blob) -> Result<Response, Error> {
    let len = blob.len()?;
    let (pieces, stream) = mpsc::channel(WAITING);
    coordinator.tracker.spawn_blocking(move || {
        let mut at: u64 = 0;
        while at < len {
            let left = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
            let mut piece = vec![0; left.min(BLOCK_BYTES)];
            let next = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            let read = blob.read_at(at, &mut piece).map(|()| Bytes::from(piece)).map_err(io::Error::other);
            at = next;
            let failed = read.is_err();
            if pieces.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_LENGTH, HeaderValue::from(len))];
    Ok((headers, Body::from_stream(ReceiverStream::new(stream))).into_response())
}
