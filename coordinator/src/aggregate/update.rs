//! An accepted update in its file. That it is there and unchanged is promise R1.

use shared::encoding::{Decoder, Encoding};
use shared::invariant::Invariant;
use shared::round::AcceptedUpdate;
use shared::task::Task;
use shared::update::CHUNK_BYTES;
use shared::{Digest, ParticipantId, RoundId};
use shared_crypto::{PayloadWriter, bulk_digest};
use shared_ops::metrics::violation;

use crate::Error;
use crate::blob::Blob;
use crate::context::Context;

/// One accepted update.
pub(crate) struct UpdateFile {
    blob: Blob,
    participant_id: ParticipantId,
    payload: Digest,
    byte_count: u64,
    encoding: Encoding,
    params: usize,
}

impl UpdateFile {
    /// Opens the update, which must be there.
    pub(crate) fn open(
        context: &Context,
        task: &Task,
        (participant_id, accepted): (&ParticipantId, &AcceptedUpdate),
    ) -> Result<Self, Error> {
        let trained_in = RoundId { task_id: task.task_id.clone(), number: accepted.trained_in };
        let blob = context.blobs.update(&trained_in, participant_id, accepted.payload);
        let blob =
            blob.map_err(|error| if is_absent(&error) { broken(participant_id, "is not there") } else { error })?;
        let AcceptedUpdate { payload, byte_count, encoding, .. } = *accepted;
        Ok(Self {
            blob,
            participant_id: participant_id.clone(),
            payload,
            byte_count,
            encoding,
            params: task.update_len(),
        })
    }

    /// Whether the file still holds what was acknowledged.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let mut found = PayloadWriter::new();
        self.chunks(self.byte_count, |digest, _| {
            found.push(digest);
            Ok(())
        })?;
        self.check(found.finish())
    }

    /// Whether `found` is the digest of what was acknowledged.
    pub(super) fn check(&self, found: Digest) -> Result<(), Error> {
        if found == self.payload { Ok(()) } else { Err(broken(&self.participant_id, "was changed")) }
    }

    /// Gives `sink` each chunk that begins before the byte `end`, with its digest.
    pub(super) fn chunks(
        &self,
        end: u64,
        mut sink: impl FnMut(Digest, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.blob.len()? < end {
            return Err(broken(&self.participant_id, "is not whole"));
        }
        let (mut chunk, mut offset) = (vec![0; CHUNK_BYTES], 0);
        while offset < end {
            let len = usize::try_from(self.byte_count.saturating_sub(offset)).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let chunk = chunk.get_mut(..len).unwrap_or_default();
            self.blob.read_at(offset, chunk)?;
            sink(bulk_digest(chunk), chunk)?;
            offset = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// What decodes the update from its first byte on.
    pub(super) fn decoder(&self) -> Decoder {
        Decoder::new(self.encoding, self.params)
    }

    /// Encoded bytes from `offset` on.
    pub(crate) fn read_bytes(&self, offset: usize, into: &mut [u8]) -> Result<(), Error> {
        self.blob.read_at(u64::try_from(offset).unwrap_or(u64::MAX), into)
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Disk { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

fn broken(participant_id: &ParticipantId, what: &str) -> Error {
    violation(Invariant::UpdateDurable);
    Error::Damaged { tree: "updates", reason: format!("the accepted update of `{participant_id}` {what}") }
}
