//! Sends one update: opens it, waits for a place, sends what is missing, and waits for the receipt.

use std::pin::pin;

use prost::bytes::Bytes;
use shared::document::SignedDocument;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::link::Link;
use super::{ANSWER, answer, next};
use crate::proto::{self, federation_client::FederationClient, update_part::Part};
use crate::view::{Piece, UpdateOpen, UploadProgress};
use crate::{WireError, convert};

/// How many parts wait for the connection to take them.
const WAITING: usize = 1;

/// See [`super::Client::submit_update`].
pub(super) async fn submit(
    mut calls: FederationClient<Link>,
    open: UpdateOpen,
    payload: Bytes,
    mut on_progress: impl FnMut(u64, u64) + Send,
) -> Result<SignedDocument, WireError> {
    let total = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    let (parts, outbound) = mpsc::channel(WAITING);
    let opening = proto::UpdatePart { part: Some(Part::Open(open.into())) };
    let sent = async { parts.send(opening).await.map_err(|error| WireError::unreachable(&error)) };
    let called = answer(ANSWER, calls.submit_update(ReceiverStream::new(outbound)));
    let ((), mut answers) = tokio::try_join!(sent, called)?;
    let offset = match place(&mut answers).await? {
        Place::Given(offset) if offset <= total => offset,
        Place::Given(offset) => return Err(WireError::malformed("durable_bytes", format!("{offset} of {total}"))),
        Place::Needless(receipt) => return Ok(receipt),
    };
    on_progress(offset, total);
    let mut sending = pin!(send(parts, convert::pieces(payload, offset)));
    let mut following = pin!(follow(answers, |durable| on_progress(durable, total)));
    tokio::select! {
        receipt = &mut following => receipt,
        () = &mut sending => following.await,
    }
}

/// What the coordinator says when it no longer says to wait.
enum Place {
    /// Send from this byte on.
    Given(u64),
    /// The update is durable already.
    Needless(SignedDocument),
}

async fn place(answers: &mut Streaming<proto::UploadProgress>) -> Result<Place, WireError> {
    loop {
        match progress(answers).await? {
            UploadProgress::Waiting => {}
            UploadProgress::Durable(offset) => return Ok(Place::Given(offset)),
            UploadProgress::Receipt(receipt) => return Ok(Place::Needless(receipt)),
        }
    }
}

/// Sends all pieces, at the coordinator's pace. When the call ends early, its answer says why.
async fn send(parts: mpsc::Sender<proto::UpdatePart>, pieces: impl Iterator<Item = Piece>) {
    for piece in pieces {
        let part = proto::UpdatePart { part: Some(Part::Chunk(piece.into())) };
        if parts.send(part).await.is_err() {
            return;
        }
    }
}

/// Follows how much is durable, to the receipt.
async fn follow(
    mut answers: Streaming<proto::UploadProgress>,
    mut on_durable: impl FnMut(u64) + Send,
) -> Result<SignedDocument, WireError> {
    loop {
        match progress(&mut answers).await? {
            UploadProgress::Waiting => {}
            UploadProgress::Durable(bytes) => on_durable(bytes),
            UploadProgress::Receipt(receipt) => return Ok(receipt),
        }
    }
}

async fn progress(answers: &mut Streaming<proto::UploadProgress>) -> Result<UploadProgress, WireError> {
    let message = next(ANSWER, answers).await?;
    message.ok_or_else(|| WireError::malformed("progress", "ended without a receipt"))?.try_into()
}
