//! The updates of a round: each signed by its participant, each the one that the record counts, and the tree over them.

use shared::encoding::{Decoder, EncodingError};
use shared::release::RoundRecord;
use shared::round::AcceptedUpdate;
use shared::task::Task;
use shared::update::{CHUNK_BYTES, UpdateHeader};
use shared::{Digest, ParticipantId, canonical};
use shared_crypto::{PayloadWriter, PublicKey, bulk_digest};

use super::archive::{Entry, ReadAt};
use super::documents::{Sections, same, same_digest};
use super::{TranscriptError, TranscriptKeys, name};
use crate::merkle::leaf_hash;
use crate::tree::Frontier;

/// The root of the Merkle tree (RFC 6962) over the canonical JSON of each `(participant_id, accepted)`, in order.
pub fn updates_root<'a>(
    accepted: impl IntoIterator<Item = (&'a ParticipantId, &'a AcceptedUpdate)>,
) -> Result<Digest, canonical::CanonicalError> {
    let mut tree = Frontier::empty();
    for update in accepted {
        tree.push(leaf_hash(&canonical::encode(&update)?));
    }
    Ok(tree.root())
}

/// Takes all updates in, in the record's order, each checked: signature, digest, spelling. Gives where their encoded
/// bytes stand. Memory: one chunk.
pub(super) fn checked<R: ReadAt + ?Sized>(
    sections: &mut Sections<'_, R>,
    keys: &TranscriptKeys,
    task: &Task,
    record: &RoundRecord,
) -> Result<Vec<Entry>, TranscriptError> {
    let mut updates = Vec::with_capacity(record.accepted.len());
    for (participant_id, accepted) in &record.accepted {
        let section = name::update_header(participant_id);
        let key = key_of(keys, participant_id)?;
        let (_, header) = sections.signed::<UpdateHeader>(&section, key)?;
        fits(&section, &header, participant_id, accepted, record)?;
        let payload = sections.take(&name::update_payload(participant_id))?;
        decodes(sections, participant_id, accepted, &payload, task.update_len())?;
        updates.push(payload);
    }
    Ok(updates)
}

pub(super) fn key_of<'a>(
    keys: &'a TranscriptKeys,
    participant_id: &ParticipantId,
) -> Result<&'a PublicKey, TranscriptError> {
    keys.participants.get(participant_id).ok_or_else(|| TranscriptError::Key(format!("key of `{participant_id}`")))
}

/// Whether a header is about the update that the record counts.
pub(super) fn fits(
    section: &str,
    header: &UpdateHeader,
    participant_id: &ParticipantId,
    accepted: &AcceptedUpdate,
    record: &RoundRecord,
) -> Result<(), TranscriptError> {
    let what = |field: &'static str| move || format!("the {field} in `{section}`");
    same(what("participant"), participant_id, &header.participant_id)?;
    same(what("task"), &record.round_id.task_id, &header.round_id.task_id)?;
    same(what("round"), &accepted.trained_in, &header.round_id.number)?;
    same(what("task digest"), &record.task_digest, &header.task_digest)?;
    same(what("payload digest"), &accepted.payload, &header.payload)?;
    same(what("byte count"), &accepted.byte_count, &header.byte_count)?;
    same(what("encoding"), &accepted.encoding, &header.encoding)?;
    same(what("number of local steps"), &accepted.local_steps, &header.local_steps)?;
    // A late update started from the checkpoint of its own round, which stands in that round's transcript.
    if accepted.trained_in == record.round_id.number && record.recomputed.is_none() {
        same(what("checkpoint"), &record.checkpoint, &header.checkpoint)?;
    }
    Ok(())
}

/// Checks an update's bytes: the digest of their chunks' digests, and that they are an update, as intake did.
fn decodes<R: ReadAt + ?Sized>(
    sections: &Sections<'_, R>,
    participant_id: &ParticipantId,
    accepted: &AcceptedUpdate,
    payload: &Entry,
    len: usize,
) -> Result<(), TranscriptError> {
    same(|| format!("the length of `{}`", payload.name), &accepted.byte_count, &payload.len)?;
    let unfit = |source| TranscriptError::Update { participant_id: participant_id.clone(), source };
    let (mut writer, mut decoder) = (PayloadWriter::new(), Decoder::new(accepted.encoding, len));
    sections.pieces(payload, CHUNK_BYTES, |piece| {
        writer.push(bulk_digest(piece));
        decoder.push(piece, |_, _| -> Result<(), EncodingError> { Ok(()) }).map_err(unfit)
    })?;
    same_digest(&payload.name, accepted.payload, writer.finish())?;
    decoder.finish().map_err(unfit)
}
