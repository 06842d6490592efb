//! One update on its way in: its pieces, and what its sender is told meanwhile.

use std::pin::pin;

use shared::document::SignedDocument;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Answers;
use crate::view::{Piece, UpdateOpen, UpdatePart, UploadProgress};
use crate::{HEARTBEAT, PATIENCE, WireError, proto};

/// How many words of progress wait for a sender that does not listen.
const WAITING: usize = 2;

/// An update on its way in.
pub struct Upload {
    parts: Streaming<proto::UpdatePart>,
    durable: watch::Sender<Option<u64>>,
}

impl Upload {
    /// Waits for the opening of an update.
    pub(super) async fn open(mut parts: Streaming<proto::UpdatePart>) -> Result<(UpdateOpen, Self), Status> {
        let first = tokio::time::timeout(PATIENCE, parts.message()).await;
        let first = first.map_err(|_| WireError::silent(PATIENCE))??;
        match first.map(UpdatePart::try_from).transpose()? {
            Some(UpdatePart::Open(open)) => Ok((open, Self { parts, durable: watch::Sender::new(None) })),
            _ => Err(WireError::malformed("open", "an update begins with its opening").into()),
        }
    }

    /// Tells the sender that all bytes before `durable_bytes` are durable. The first time gives it its place: it goes on
    /// from there. Until then it is told every [`HEARTBEAT`] to wait, and from then on how much is durable.
    pub fn durable(&self, durable_bytes: u64) {
        self.durable.send_replace(Some(durable_bytes));
    }

    /// The next piece; `None` when the sender sends no more. How long to wait, and whether it is the piece that is
    /// missing, is for the caller to say. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Result<Option<Piece>, Status> {
        match self.parts.message().await?.map(UpdatePart::try_from).transpose()? {
            Some(UpdatePart::Piece(piece)) => Ok(Some(piece)),
            Some(UpdatePart::Open(_)) => Err(WireError::malformed("open", "an update is opened once").into()),
            None => Ok(None),
        }
    }

    /// What tells the sender how far its update is.
    pub(super) fn progress(&self) -> watch::Sender<Option<u64>> {
        self.durable.clone()
    }
}

/// Runs `call` until it answers or the sender goes, and tells the sender at least every [`HEARTBEAT`] how far it is.
///
/// It runs by itself, whether or not the sender listens, so that the time limits within `call` hold.
pub(super) fn run(
    progress: watch::Sender<Option<u64>>,
    call: impl Future<Output = Result<SignedDocument, Status>> + Send + 'static,
) -> Answers<proto::UploadProgress> {
    let (answers, stream) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut changes = progress.subscribe();
        let mut beat = tokio::time::interval(HEARTBEAT);
        let mut call = pin!(call);
        loop {
            tokio::select! {
                () = answers.closed() => return,
                receipt = &mut call => {
                    // Nobody to tell: the sender will ask again.
                    let _ = answers.send(receipt.map(|receipt| UploadProgress::Receipt(receipt).into())).await;
                    return;
                }
                _ = changes.changed() => {}
                _ = beat.tick() => {}
            }
            let now = changes.borrow_and_update().map_or(UploadProgress::Waiting, UploadProgress::Durable);
            // A sender that does not listen misses this word, not the next one.
            let _ = answers.try_send(Ok(now.into()));
        }
    });
    Box::pin(ReceiverStream::new(stream))
}
