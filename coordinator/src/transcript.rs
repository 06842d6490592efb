//! A committed round's transcript, put together from the store and the files. Nothing bulky is read before it is sent.

use std::collections::BTreeMap;
use std::io::{self, Read};

use shared::document::SignedDocument;
use shared::masking::MaskedSum;
use shared::release::RoundRecord;
use shared::round::AcceptedUpdate;
use shared::{Digest, ParticipantId, RoundId};
use shared_audit::Receipt;
use shared_audit::transcript::{Content, MaskedParts, Parts, Transcript, TranscriptKeys};
use shared_crypto::{PublicKey, document_digest};

use crate::blob::Blob;
use crate::coordinator::LOG_ORIGIN;
use crate::durable::{self, Evidence, MaskingWord};
use crate::{Coordinator, Error, task};

/// The transcript of a round with this record, committed or computed again, as long as its updates are kept.
pub(crate) fn of(coordinator: &Coordinator, record_document: SignedDocument) -> Result<Transcript, Error> {
    let record: RoundRecord = coordinator.coordinator_key().open(&record_document)?;
    let round_id = &record.round_id;
    let (updates, keys) = updates(coordinator, &record)?;
    let state = record.server_state_before;
    let parts = Parts {
        keys: signed_keys(coordinator, round_id, keys)?,
        task: task::entry(&*coordinator.store, &round_id.task_id)?.document,
        receipt: receipt(coordinator, document_digest(&record_document))?,
        checkpoint: params(coordinator, round_id, record.checkpoint)?,
        server_state: state.map(|state| params(coordinator, round_id, state)).transpose()?,
        masked: masked(coordinator, &record)?,
        updates,
        evaluations: evaluations(coordinator, &record)?,
        record: record_document,
    };
    Ok(Transcript::new(parts)?)
}

type Updates = Vec<(ParticipantId, SignedDocument, Option<Content>)>;
type Keys = BTreeMap<ParticipantId, PublicKey>;

/// The accepted updates, and the keys that signed them: a participant may have another one by now.
fn updates(coordinator: &Coordinator, record: &RoundRecord) -> Result<(Updates, Keys), Error> {
    let (mut updates, mut keys) = (Vec::with_capacity(record.accepted.len()), BTreeMap::new());
    for (participant_id, accepted) in &record.accepted {
        let header = header(coordinator, &record.round_id, participant_id, accepted)?;
        let key = durable::identity_key(header.key_id);
        let found: Option<PublicKey> = durable::read(&*coordinator.store, &key)?;
        let absent =
            || Error::Damaged { tree: key.tree, reason: format!("the key of `{participant_id}` is not there") };
        keys.insert(participant_id.clone(), found.ok_or_else(absent)?);
        let trained_in = RoundId { number: accepted.trained_in, ..record.round_id.clone() };
        let bytes = match record.masked_sum {
            Some(_) => None,
            None => {
                let blob = coordinator.context.blobs.update(&trained_in, participant_id, accepted.payload);
                let blob = blob.map_err(|_| Error::TranscriptGone(record.round_id.clone()))?;
                Some(content(blob, accepted.byte_count))
            }
        };
        updates.push((participant_id.clone(), header, bytes));
    }
    Ok((updates, keys))
}

/// What a masked round's updates add up to, and who delivered.
fn masked(coordinator: &Coordinator, record: &RoundRecord) -> Result<Option<MaskedParts>, Error> {
    if record.masked_sum.is_none() {
        return Ok(None);
    }
    let word = |word| -> Result<SignedDocument, Error> {
        let found = durable::read(&*coordinator.store, &durable::masking_word(&record.round_id, word))?;
        found.ok_or_else(|| Error::TranscriptGone(record.round_id.clone()))
    };
    let (sum_word, survivors) = (word(MaskingWord::Sum)?, word(MaskingWord::Survivors)?);
    let said: MaskedSum = coordinator.coordinator_key().open(&sum_word)?;
    let sum = params(coordinator, &record.round_id, said.sum)?;
    Ok(Some(MaskedParts { word: sum_word, survivors, sum }))
}

/// The signed header, which stands under the round that the update was trained in.
fn header(
    coordinator: &Coordinator,
    round_id: &RoundId,
    participant_id: &ParticipantId,
    accepted: &AcceptedUpdate,
) -> Result<SignedDocument, Error> {
    let trained_in = RoundId { number: accepted.trained_in, ..round_id.clone() };
    let key = durable::evidence(&trained_in, Evidence::Update, participant_id);
    durable::read(&*coordinator.store, &key)?.ok_or_else(|| Error::TranscriptGone(round_id.clone()))
}

/// The evaluations of the record's candidate. Nobody evaluated one that was computed again.
fn evaluations(coordinator: &Coordinator, record: &RoundRecord) -> Result<Vec<(ParticipantId, SignedDocument)>, Error> {
    let mut evaluations = Vec::new();
    if record.recomputed.is_some() {
        return Ok(evaluations);
    }
    for participant_id in record.accepted.keys() {
        let key = durable::evidence(&record.round_id, Evidence::Evaluation, participant_id);
        let document = durable::read(&*coordinator.store, &key)?;
        evaluations.extend(document.map(|document| (participant_id.clone(), document)));
    }
    Ok(evaluations)
}

fn signed_keys(coordinator: &Coordinator, round_id: &RoundId, participants: Keys) -> Result<SignedDocument, Error> {
    Ok(coordinator.keys.coordinator.sign(&TranscriptKeys {
        round_id: round_id.clone(),
        operator: coordinator.operator_key(),
        log: coordinator.log_key(),
        log_origin: LOG_ORIGIN.to_owned(),
        participants,
    })?)
}

/// The log's proof that a record was entered: the newest entry that names it.
fn receipt(coordinator: &Coordinator, record: Digest) -> Result<Receipt, Error> {
    coordinator.journal.drain()?;
    let named = format!("\"record\":\"{record}\"");
    for index in (0..coordinator.journal.size()).rev() {
        if coordinator.journal.document(index)?.body.contains(&named) {
            return coordinator.journal.receipt(index);
        }
    }
    Err(Error::Damaged { tree: durable::OUTBOX, reason: format!("the log has no entry for the record {record}") })
}

fn params(coordinator: &Coordinator, round_id: &RoundId, digest: Digest) -> Result<Content, Error> {
    let gone = |_| Error::TranscriptGone(round_id.clone());
    let blob = coordinator.context.blobs.params(digest).map_err(gone)?;
    let len = blob.len()?;
    Ok(content(blob, len))
}

fn content(blob: Blob, len: u64) -> Content {
    Content::lazy(len, move || Ok(Box::new(Reader { blob, at: 0, end: len })))
}

/// Reads a file from its beginning to an end that was fixed when it was looked at.
struct Reader {
    blob: Blob,
    at: u64,
    end: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let piece = buffer.get_mut(..len).unwrap_or_default();
        self.blob.read_at(self.at, piece).map_err(io::Error::other)?;
        self.at = self.at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        Ok(len)
    }
}
