//! The digests of an update's chunks: with them each chunk can be checked as it comes, in any place it is kept.
//!
//! They decide nothing by themselves: what a participant signs is [`ChunkDigests::payload`].

use shared::update::CHUNK_BYTES;
use shared::{Digest, Explain};

use crate::{BulkWriter, bulk_digest};

/// The digest ([`bulk_digest`]) of each chunk of [`CHUNK_BYTES`] of an update, in order; the last chunk may be shorter, none is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkDigests {
    byte_count: u64,
    digests: Vec<Digest>,
}

/// Why digests or bytes do not belong to an update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not as many digests as the update has chunks.
    #[error("{found} chunk digests where the update has {expected} chunks")]
    Count {
        /// How many chunks the update has.
        expected: u64,
        /// How many digests there are.
        found: usize,
    },
    /// A chunk's bytes are not those that its digest was made of.
    #[error("chunk {0} is not the one that was announced")]
    OtherChunk(u64),
}

impl Explain for ChunkError {
    fn code(&self) -> &'static str {
        match self {
            Self::Count { .. } => "chunk-count",
            Self::OtherChunk(_) => "chunk-digest",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Count { .. } => "send one digest for each chunk, the last and shorter one included",
            Self::OtherChunk(_) => "send the bytes that the digests were made of; the chunks before stay good",
        }
    }
}

impl ChunkDigests {
    /// The digests of an update of `byte_count` bytes, as somebody names them.
    pub fn new(byte_count: u64, digests: Vec<Digest>) -> Result<Self, ChunkError> {
        let expected = byte_count.div_ceil(chunk_bytes());
        match u64::try_from(digests.len()) == Ok(expected) {
            true => Ok(Self { byte_count, digests }),
            false => Err(ChunkError::Count { expected, found: digests.len() }),
        }
    }

    /// The digests of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let byte_count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { byte_count, digests: bytes.chunks(CHUNK_BYTES).map(bulk_digest).collect() }
    }

    /// What is signed for the whole update: the digest of the digests, one after the other.
    pub fn payload(&self) -> Digest {
        let mut writer = PayloadWriter::new();
        self.digests.iter().for_each(|digest| writer.push(*digest));
        writer.finish()
    }

    /// How many bytes the update has.
    pub fn byte_count(&self) -> u64 {
        self.byte_count
    }

    /// The digests, in order.
    pub fn as_slice(&self) -> &[Digest] {
        &self.digests
    }

    /// How long the chunk is that begins at `offset`; `None` where no chunk begins.
    pub fn chunk_at(&self, offset: u64) -> Option<usize> {
        let rest =
            self.byte_count.checked_sub(offset).filter(|rest| *rest > 0 && offset.is_multiple_of(chunk_bytes()))?;
        Some(usize::try_from(rest).unwrap_or(usize::MAX).min(CHUNK_BYTES))
    }

    /// Checks the bytes of the chunk that begins at `offset`, and gives their digest.
    pub fn check(&self, offset: u64, chunk: &[u8]) -> Result<Digest, ChunkError> {
        let number = offset / chunk_bytes();
        let named = usize::try_from(number).ok().and_then(|number| self.digests.get(number));
        let whole = self.chunk_at(offset) == Some(chunk.len());
        let found = bulk_digest(chunk);
        if whole && named == Some(&found) { Ok(found) } else { Err(ChunkError::OtherChunk(number)) }
    }
}

/// What is signed for a whole update ([`ChunkDigests::payload`]), computed as its chunks come.
#[derive(Debug, Clone, Default)]
pub struct PayloadWriter(BulkWriter);

impl PayloadWriter {
    /// No chunk so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk's digest in.
    pub fn push(&mut self, chunk: Digest) {
        self.0.update(chunk.as_bytes());
    }

    /// The digest of all chunks taken in.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

/// [`CHUNK_BYTES`] as an offset.
fn chunk_bytes() -> u64 {
    u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        (0..CHUNK_BYTES * 2 + 5).map(|index| u8::try_from(index % 251).unwrap()).collect()
    }

    #[test]
    fn chunks_are_checked_one_by_one_and_in_their_places() {
        let bytes = bytes();
        let digests = ChunkDigests::of(&bytes);
        let mut offset = 0;
        for chunk in bytes.chunks(CHUNK_BYTES) {
            assert_eq!(digests.chunk_at(offset), Some(chunk.len()));
            digests.check(offset, chunk).unwrap();
            offset += u64::try_from(chunk.len()).unwrap();
        }
        assert_eq!((offset, digests.chunk_at(offset)), (digests.byte_count(), None));
        assert_eq!(digests.chunk_at(1), None);
        assert_eq!(digests.check(chunk_bytes(), &bytes[..CHUNK_BYTES]), Err(ChunkError::OtherChunk(1)));
        assert_eq!(digests.check(0, &bytes[..7]), Err(ChunkError::OtherChunk(0)));
    }

    #[test]
    fn the_payload_names_every_chunk_and_their_order() {
        let digests = ChunkDigests::of(&bytes());
        let joined: Vec<u8> = digests.as_slice().iter().flat_map(|digest| *digest.as_bytes()).collect();
        assert_eq!(digests.payload(), bulk_digest(&joined));
        let mut turned = digests.as_slice().to_vec();
        turned.swap(0, 1);
        assert_ne!(ChunkDigests::new(digests.byte_count(), turned).unwrap().payload(), digests.payload());
    }

    #[test]
    fn too_few_and_too_many_digests_are_refused() {
        let count = |bytes: u64, digests| ChunkDigests::new(bytes, vec![Digest([0; 32]); digests]).is_ok();
        assert!(count(0, 0) && count(1, 1) && count(chunk_bytes(), 1) && count(chunk_bytes() + 1, 2));
        assert!(!count(0, 1) && !count(1, 0) && !count(chunk_bytes() + 1, 1) && !count(u64::MAX, 3));
    }
}
