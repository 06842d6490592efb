//! Conversions of what an upload or a download is made of: the opening, pieces, progress.

use prost::bytes::Bytes;

use super::{at_most, digest, required};
use crate::view::{Piece, UpdateOpen, UpdatePart, UploadProgress};
use crate::{CHUNK_BYTES, DIGEST_BYTES, MAX_CHUNKS, MAX_DEALING_BYTES, WireError, proto};

/// Where `offset` lies within its chunk.
fn within_chunk(offset: u64) -> usize {
    u64::try_from(CHUNK_BYTES).ok().and_then(|chunk| usize::try_from(offset % chunk).ok()).unwrap_or(CHUNK_BYTES)
}

impl TryFrom<proto::UpdateOpen> for UpdateOpen {
    type Error = WireError;

    fn try_from(message: proto::UpdateOpen) -> Result<Self, WireError> {
        let len = message.chunk_digests.len();
        if len == 0 || !len.is_multiple_of(DIGEST_BYTES) || len / DIGEST_BYTES > MAX_CHUNKS {
            return Err(WireError::malformed(
                "chunk_digests",
                format!("{len} bytes, not 1 to {MAX_CHUNKS} times {DIGEST_BYTES}"),
            ));
        }
        let digests = message.chunk_digests.chunks_exact(DIGEST_BYTES).map(|bytes| digest("chunk_digests", bytes));
        at_most("dealing", message.dealing.len(), MAX_DEALING_BYTES)?;
        Ok(Self {
            header: required("header", message.header)?.try_into()?,
            chunk_digests: digests.collect::<Result<_, _>>()?,
            dealing: message.dealing,
        })
    }
}

impl From<UpdateOpen> for proto::UpdateOpen {
    fn from(open: UpdateOpen) -> Self {
        let chunk_digests = open.chunk_digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        Self { header: Some(open.header.into()), chunk_digests, dealing: open.dealing }
    }
}

impl TryFrom<proto::UpdatePart> for UpdatePart {
    type Error = WireError;

    fn try_from(message: proto::UpdatePart) -> Result<Self, WireError> {
        match required("part", message.part)? {
            proto::update_part::Part::Open(open) => Ok(Self::Open(open.try_into()?)),
            proto::update_part::Part::Chunk(chunk) => {
                let piece = piece(chunk)?;
                if within_chunk(piece.offset).saturating_add(piece.data.len()) > CHUNK_BYTES {
                    return Err(WireError::malformed("chunk", format!("{} crosses into the next one", piece.offset)));
                }
                Ok(Self::Piece(piece))
            }
        }
    }
}

impl TryFrom<proto::UploadProgress> for UploadProgress {
    type Error = WireError;

    fn try_from(message: proto::UploadProgress) -> Result<Self, WireError> {
        match required("progress", message.progress)? {
            proto::upload_progress::Progress::Waiting(proto::Waiting {}) => Ok(Self::Waiting),
            proto::upload_progress::Progress::DurableBytes(bytes) => Ok(Self::Durable(bytes)),
            proto::upload_progress::Progress::Receipt(receipt) => Ok(Self::Receipt(receipt.try_into()?)),
        }
    }
}

impl From<UploadProgress> for proto::UploadProgress {
    fn from(progress: UploadProgress) -> Self {
        let progress = match progress {
            UploadProgress::Waiting => proto::upload_progress::Progress::Waiting(proto::Waiting {}),
            UploadProgress::Durable(bytes) => proto::upload_progress::Progress::DurableBytes(bytes),
            UploadProgress::Receipt(receipt) => proto::upload_progress::Progress::Receipt(receipt.into()),
        };
        Self { progress: Some(progress) }
    }
}

/// A piece, when it is neither empty nor too large.
pub(crate) fn piece(chunk: proto::Chunk) -> Result<Piece, WireError> {
    if !(1..=CHUNK_BYTES).contains(&chunk.data.len()) {
        return Err(WireError::malformed("chunk", format!("{} bytes, not 1 to {CHUNK_BYTES}", chunk.data.len())));
    }
    Ok(Piece { offset: chunk.offset, data: chunk.data })
}

/// The pieces of `bytes` from `offset` on, in order; none crosses a multiple of [`CHUNK_BYTES`]. Copies nothing.
pub(crate) fn pieces(bytes: Bytes, offset: u64) -> impl Iterator<Item = Piece> + Send + 'static {
    let mut start = usize::try_from(offset).unwrap_or(usize::MAX);
    std::iter::from_fn(move || {
        let end = bytes.len().min((start / CHUNK_BYTES).saturating_add(1).saturating_mul(CHUNK_BYTES));
        let data = (start < end).then(|| bytes.slice(start..end))?;
        let offset = u64::try_from(start).ok()?;
        start = end;
        Some(Piece { offset, data })
    })
}

impl From<Piece> for proto::Chunk {
    fn from(piece: Piece) -> Self {
        Self { offset: piece.offset, data: piece.data }
    }
}

#[cfg(test)]
mod tests {
    use shared::Digest;
    use shared::document::{KeyId, SignedDocument};

    use super::*;

    fn open(chunks: usize) -> UpdateOpen {
        let header = SignedDocument { body: "{}".into(), key_id: KeyId(Digest([1; 32])), signature: "00".repeat(64) };
        UpdateOpen { header, chunk_digests: vec![Digest([7; 32]); chunks], dealing: Bytes::new() }
    }

    #[test]
    fn an_opening_survives_the_wire_up_to_the_largest_model() {
        for chunks in [1, MAX_CHUNKS] {
            assert_eq!(UpdateOpen::try_from(proto::UpdateOpen::from(open(chunks))).unwrap(), open(chunks));
        }
    }

    #[test]
    fn an_opening_with_no_too_many_or_torn_digests_is_refused() {
        for chunks in [0, MAX_CHUNKS + 1] {
            assert!(UpdateOpen::try_from(proto::UpdateOpen::from(open(chunks))).is_err(), "{chunks}");
        }
        let mut torn = proto::UpdateOpen::from(open(2));
        torn.chunk_digests.pop();
        assert!(UpdateOpen::try_from(torn).is_err());
    }

    #[test]
    fn pieces_cover_the_bytes_once_and_in_order_from_any_offset() {
        let bytes = Bytes::from((0..CHUNK_BYTES * 2 + 5).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<_>>());
        for offset in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 7, CHUNK_BYTES * 2, CHUNK_BYTES * 2 + 5, CHUNK_BYTES * 9] {
            let mut joined = bytes.slice(..offset.min(bytes.len())).to_vec();
            for found in pieces(bytes.clone(), u64::try_from(offset).unwrap()) {
                assert_eq!(found.offset, u64::try_from(joined.len()).unwrap());
                let part = proto::UpdatePart { part: Some(proto::update_part::Part::Chunk(found.into())) };
                let UpdatePart::Piece(found) = UpdatePart::try_from(part).unwrap() else { panic!("no piece") };
                joined.extend_from_slice(&found.data);
            }
            assert_eq!(joined, bytes);
        }
    }

    #[test]
    fn a_piece_that_is_empty_oversize_or_crosses_a_chunk_is_refused() {
        let part = |offset, len| {
            let chunk = proto::Chunk { offset, data: vec![0; len].into() };
            UpdatePart::try_from(proto::UpdatePart { part: Some(proto::update_part::Part::Chunk(chunk)) })
        };
        assert!(part(0, CHUNK_BYTES).is_ok());
        assert!(part(u64::try_from(CHUNK_BYTES).unwrap() - 1, 1).is_ok());
        for (offset, len) in [(0, 0), (0, CHUNK_BYTES + 1), (1, CHUNK_BYTES), (u64::MAX, 2)] {
            assert!(part(offset, len).is_err(), "{offset} {len}");
        }
        assert!(UpdatePart::try_from(proto::UpdatePart { part: None }).is_err());
    }
}
