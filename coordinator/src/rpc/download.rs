//! Parameters on their way out, read from their file piece by piece, as fast as the caller takes them.
//!
//! Only so many pieces are in memory at a time, whoever waits for them: a caller that stops reading holds none, and all
//! others take turns.

use std::sync::Arc;

use shared::Digest;
use shared_wire::server::Answers;
use shared_wire::{Bytes, Status};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;

use super::Rpc;
use crate::blob::{BLOCK_BYTES, Blob};
use crate::durable::{self, ParamsRole};
use crate::{Coordinator, Error};

/// The bytes of parameters that are meant for participants, from `offset` on.
pub(super) async fn parts(rpc: &Rpc, digest: Digest, offset: u64) -> Result<Answers<Bytes>, Error> {
    let (blob, len) = rpc.coordinator.blocking(move |coordinator| open(coordinator, digest)).await?;
    let reader =
        Arc::new(Reader { coordinator: Arc::clone(&rpc.coordinator), places: Arc::clone(&rpc.downloads), blob, len });
    let offsets = (offset..len).step_by(BLOCK_BYTES);
    let parts = tokio_stream::iter(offsets).then(move |offset| Arc::clone(&reader).read(offset));
    Ok(Box::pin(parts))
}

fn open(coordinator: &Coordinator, digest: Digest) -> Result<(Blob, u64), Error> {
    if !durable::params_used_as(&*coordinator.store, digest, ParamsRole::Shared)? {
        return Err(Error::UnknownParams(digest));
    }
    let blob = coordinator.context.blobs.params(digest)?;
    let len = blob.len()?;
    Ok((blob, len))
}

struct Reader {
    coordinator: Arc<Coordinator>,
    places: Arc<Semaphore>,
    blob: Blob,
    len: u64,
}

impl Reader {
    /// The piece that begins at `offset`, when it is its turn.
    async fn read(self: Arc<Self>, offset: u64) -> Result<Bytes, Status> {
        // The semaphore is never closed.
        let _place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Unavailable)?;
        let len = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let coordinator = Arc::clone(&self.coordinator);
        let piece = coordinator.blocking(move |coordinator| {
            let _memory = coordinator.context.budget.hold(u64::try_from(len).unwrap_or(u64::MAX));
            let mut piece = vec![0; len];
            self.blob.read_at(offset, &mut piece)?;
            Ok(Bytes::from(piece))
        });
        Ok(piece.await?)
    }
}
