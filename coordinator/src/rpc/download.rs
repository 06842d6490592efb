//! Parameters on their way out, read from their file piece by piece, as fast as the caller takes them.
//!
//! Pieces are shared by all who fetch the same parameters at about the same time, and only so many are read at a time:
//! a model is in memory once at most, however many participants fetch it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use shared::Digest;
use shared_wire::server::Answers;
use shared_wire::{Bytes, Status};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;

use super::Rpc;
use crate::blob::{BLOCK_BYTES, Blob};
use crate::budget::Held;
use crate::durable::{self, ParamsRole};
use crate::{Coordinator, Error};

/// The pieces that somebody is being sent, by the parameters' digest and the piece's offset.
#[derive(Default)]
pub(super) struct Pieces(Mutex<BTreeMap<(Digest, u64), Weak<Piece>>>);

/// Bytes of parameters, in memory until the last who is sent them has them.
struct Piece {
    bytes: Vec<u8>,
    _memory: Held,
}

impl Pieces {
    fn get(&self, digest: Digest, offset: u64) -> Option<Arc<Piece>> {
        self.lock().get(&(digest, offset)).and_then(Weak::upgrade)
    }

    fn put(&self, digest: Digest, offset: u64, piece: &Arc<Piece>) {
        let mut pieces = self.lock();
        pieces.retain(|_, piece| piece.strong_count() > 0);
        pieces.insert((digest, offset), Arc::downgrade(piece));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Digest, u64), Weak<Piece>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of parameters that are meant for participants, from `offset` on.
pub(super) async fn parts(rpc: &Rpc, digest: Digest, offset: u64) -> Result<Answers<Bytes>, Error> {
    let (blob, len) = rpc.coordinator.blocking(move |coordinator| open(coordinator, digest)).await?;
    let reader = Arc::new(Reader {
        coordinator: Arc::clone(&rpc.coordinator),
        places: Arc::clone(&rpc.downloads),
        pieces: Arc::clone(&rpc.pieces),
        digest,
        blob,
        len,
    });
    let parts = tokio_stream::iter(cuts(offset, len)).then(move |(piece, skip)| Arc::clone(&reader).part(piece, skip));
    Ok(Box::pin(parts))
}

/// The offsets of the pieces from the one that holds the byte `offset` on, and how many bytes of each to leave out; no
/// pieces where there is no such byte.
fn cuts(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize)> {
    let skip = usize::try_from(offset).unwrap_or(usize::MAX) % BLOCK_BYTES;
    let first = offset.saturating_sub(u64::try_from(skip).unwrap_or(0));
    let end = if offset < len { len } else { first };
    (first..end).step_by(BLOCK_BYTES).map(move |piece| (piece, if piece == first { skip } else { 0 }))
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
    pieces: Arc<Pieces>,
    digest: Digest,
    blob: Blob,
    len: u64,
}

impl Reader {
    /// The piece that begins at `offset`, without its first bytes.
    async fn part(self: Arc<Self>, offset: u64, skip: usize) -> Result<Bytes, Status> {
        let piece = match self.pieces.get(self.digest, offset) {
            Some(piece) => piece,
            None => self.turn(offset).await?,
        };
        Ok(Bytes::from_owner(Whole(piece)).slice(skip..))
    }

    /// Reads a piece when it is its turn.
    async fn turn(self: Arc<Self>, offset: u64) -> Result<Arc<Piece>, Error> {
        // The semaphore is never closed.
        let _place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Error::Unavailable)?;
        let coordinator = Arc::clone(&self.coordinator);
        coordinator.blocking(move |coordinator| self.read(coordinator, offset)).await
    }

    /// Reads a piece, unless somebody else did meanwhile.
    fn read(&self, coordinator: &Coordinator, offset: u64) -> Result<Arc<Piece>, Error> {
        if let Some(piece) = self.pieces.get(self.digest, offset) {
            return Ok(piece);
        }
        let len = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let memory = coordinator.context.budget.hold(u64::try_from(len).unwrap_or(u64::MAX));
        let mut bytes = vec![0; len];
        self.blob.read_at(offset, &mut bytes)?;
        let piece = Arc::new(Piece { bytes, _memory: memory });
        self.pieces.put(self.digest, offset, &piece);
        Ok(piece)
    }
}

/// A piece as the wire takes it.
struct Whole(Arc<Piece>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes are sent from `offset` on of `len`.
    fn sent(offset: u64, len: u64) -> u64 {
        let block = u64::try_from(BLOCK_BYTES).unwrap();
        let bytes = |(piece, skip): (u64, usize)| (len - piece).min(block).checked_sub(u64::try_from(skip).unwrap());
        cuts(offset, len).map(|cut| bytes(cut).expect("no more is left out than a piece has")).sum()
    }

    #[test]
    fn from_any_byte_on_exactly_the_rest_is_sent_and_beyond_the_end_nothing() {
        let block = u64::try_from(BLOCK_BYTES).unwrap();
        for len in [0, 1, block - 1, block, block + 1, 3 * block + 5] {
            for offset in [0, 1, block - 1, block, block + 1, len.saturating_sub(1), len, len + 10, u64::MAX] {
                assert_eq!(sent(offset, len), len.saturating_sub(offset), "from {offset} of {len}");
            }
        }
    }
}
