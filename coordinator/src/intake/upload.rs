//! An update on its way in: its header is checked before a byte is taken, each chunk before it is written, and nothing
//! is ever in memory but one chunk. Where the aggregate is a sum, each chunk is folded into it at once.
//!
//! What was taken stays in its file when the sender, the link or the coordinator goes away. What is found there later is
//! checked again, chunk by chunk, and believed as far as it is right.

use std::cell::RefCell;
use std::sync::Arc;

use shared::aggregate::{AggregateError, InRange};
use shared::document::SignedDocument;
use shared::encoding::Decoder;
use shared::round::{AcceptedUpdate, IllegalTransition, RoundEvent, RoundPlan, RoundState};
use shared::store::{Key, Store};
use shared::task::Task;
use shared::update::{CHUNK_BYTES, UpdateHeader, UpdateReceipt};
use shared::{Digest, RoundId, Timestamp};
use shared_crypto::ChunkDigests;
use shared_wire::Bytes;

use super::{IntakeError, Place, same};
use crate::Error;
use crate::aggregate::{self, Chunk, RunningSum, Values};
use crate::blob::Blob;
use crate::budget::Held;
use crate::context::Context;
use crate::durable::{self, Evidence};
use crate::masking;
use crate::round::driver::{Proposal, SyncedFile};
use crate::round::{self, Snapshot};
use crate::task::{RoundEntry, SignedTask};

/// The event's name in refusals.
const UPDATE: &str = "update_accepted";
/// How much may be taken before it is made durable, so that a long update is not all at stake.
const SYNC_BYTES: u64 = 16 * 1024 * 1024;
/// What one upload holds in memory: the chunk that is worked on and the one that comes behind it, and, in the thread that
/// works on it, the first one's values, of which a chunk has two in a byte at most.
pub(crate) const UPLOAD_BYTES: usize = 2 * CHUNK_BYTES + 2 * CHUNK_BYTES * size_of::<f32>();

thread_local! {
    /// Where a thread decodes chunks.
    static VALUES: RefCell<Values> = RefCell::default();
}

/// What came of opening an update.
pub(crate) enum Opened {
    /// It was accepted before; this is the receipt.
    Known(SignedDocument),
    /// It may be sent.
    Upload(Box<Upload>),
}

/// An update that is being received.
pub(crate) struct Upload {
    document: SignedDocument,
    header: UpdateHeader,
    digests: ChunkDigests,
    blob: Blob,
    /// What its bytes are made into as they come; nothing where they are masked.
    reading: Option<Reading>,
    /// What becomes durable together with the update.
    writes: Vec<(Key, Vec<u8>)>,
    /// Everything before this is checked and written.
    taken: u64,
    /// Everything before this is on disk.
    durable: u64,
    place: Place,
    _memory: Held,
}

/// What an update's bytes are made into as they come.
struct Reading {
    decoder: Decoder,
    fold: Option<Fold>,
}

/// Where an update's values go as they come.
struct Fold {
    sum: Arc<RunningSum>,
    /// The round that the sum is for.
    round_id: RoundId,
}

/// What opens an update.
pub(crate) struct Open {
    /// The header, signed by its sender, whose signature was checked.
    pub(crate) document: SignedDocument,
    pub(crate) header: UpdateHeader,
    pub(crate) chunk_digests: Vec<Digest>,
    /// For a masked update, the dealing of the secret of its own mask.
    pub(crate) dealing: Bytes,
    /// The sender's place among those who send.
    pub(crate) place: Place,
    /// The sum of the round that goes on.
    pub(crate) sum: Arc<RunningSum>,
}

/// Checks an update's header and chunk digests against the task and the round as it stands, and finds what is there of
/// it already. Blocks.
pub(crate) fn open_upload(
    context: &Context,
    task: &SignedTask,
    snapshot: &Snapshot,
    open: Open,
) -> Result<Opened, Error> {
    let Open { document, header, chunk_digests, dealing, place, sum } = open;
    same("task", &task.digest, &header.task_digest)?;
    check_terms(&task.task, &header)?;
    let digests = ChunkDigests::new(header.byte_count, chunk_digests)?;
    let found = digests.payload();
    if found != header.payload {
        return Err(IntakeError::OtherPayload { signed: header.payload, found }.into());
    }
    if let Some(receipt) = known(&*context.store, &header, snapshot)? {
        return Ok(Opened::Known(receipt));
    }
    check_round(&*context.store, &header, snapshot)?;
    let writes = masking::check_update(context, &task.task, &document, &header, &dealing)?;
    context.senders.begin(&header.round_id, &header.participant_id, header.payload)?;
    let blob = context.blobs.create_update(&header)?;
    let memory = context.budget.hold(u64::try_from(UPLOAD_BYTES).unwrap_or(u64::MAX));
    let reading = match header.masked {
        Some(_) => None,
        None => Some(Reading::begin(context, &task.task, snapshot.state.plan(), &header, sum)?),
    };
    let mut upload =
        Upload { document, header, digests, blob, reading, writes, taken: 0, durable: 0, place, _memory: memory };
    upload.resume(context)?;
    Ok(Opened::Upload(Box::new(upload)))
}

impl Reading {
    fn begin(
        context: &Context,
        task: &Task,
        plan: &RoundPlan,
        header: &UpdateHeader,
        sum: Arc<RunningSum>,
    ) -> Result<Self, Error> {
        let decoder = Decoder::new(header.encoding, task.update_len());
        if !aggregate::folds(task) {
            return Ok(Self { decoder, fold: None });
        }
        sum.begin(context, task, plan, &header.participant_id, accepted(header, plan))?;
        Ok(Self { decoder, fold: Some(Fold { sum, round_id: plan.round_id.clone() }) })
    }
}

/// What the header says of the update itself.
fn check_terms(task: &Task, header: &UpdateHeader) -> Result<(), IntakeError> {
    if !task.encodings.contains(&header.encoding) {
        return Err(IntakeError::Encoding);
    }
    let len = task.update_len();
    let values = task.secure_aggregation.as_ref().map_or(len, |terms| terms.words(len));
    let expected = u64::try_from(header.encoding.encoded_len(values)).unwrap_or(u64::MAX);
    if header.byte_count != expected {
        return Err(IntakeError::Length { expected, found: header.byte_count });
    }
    let (found, allowed) = (header.local_steps, task.recipe.local_steps);
    if (1..=allowed).contains(&found) { Ok(()) } else { Err(IntakeError::LocalSteps { allowed, found }) }
}

/// Whether the round that goes on takes the update, be it of this round or late from an earlier one.
fn check_round(store: &dyn Store, header: &UpdateHeader, snapshot: &Snapshot) -> Result<(), Error> {
    let plan = snapshot.state.plan();
    same("task", &plan.round_id.task_id, &header.round_id.task_id)?;
    snapshot.state.apply(&event(header, plan, Timestamp::EPOCH)?)?;
    if plan.round_id == header.round_id {
        return Ok(same("checkpoint", &plan.checkpoint, &header.checkpoint)?);
    }
    let join = durable::evidence(&header.round_id, Evidence::Join, &header.participant_id);
    if store.get(&join)?.is_none() {
        return Err(IllegalTransition::NotTakingPart(header.participant_id.clone()).into());
    }
    let trained_in: Option<RoundEntry> = durable::read(store, &durable::round(&header.round_id))?;
    let trained_in = trained_in.ok_or_else(|| Error::UnknownRound(header.round_id.clone()))?;
    Ok(same("checkpoint", &trained_in.plan.checkpoint, &header.checkpoint)?)
}

impl Upload {
    /// Everything before this byte is on disk: where the sender goes on after a break.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether all of it has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.taken == self.header.byte_count
    }

    pub(crate) fn header(&self) -> &UpdateHeader {
        &self.header
    }

    /// The header as it was signed, and as it reads.
    pub(crate) fn signed(&self) -> (SignedDocument, UpdateHeader) {
        (self.document.clone(), self.header.clone())
    }

    /// Whether the round that goes on would still take the update, which may be long on its way.
    pub(crate) fn still_fits(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let state = &snapshot.state;
        state.plan().staleness(self.header.round_id.number)?;
        match &**state {
            RoundState::Collecting(state) if state.excluded.contains(&self.header.participant_id) => {
                Err(IllegalTransition::NotTakingPart(self.header.participant_id.clone()).into())
            }
            RoundState::Collecting(_) => Ok(()),
            state => Err(IllegalTransition::WrongPhase { phase: state.phase(), event: UPDATE }.into()),
        }
    }

    /// Goes through what the file holds, as far as it is right.
    fn resume(&mut self, context: &Context) -> Result<(), Error> {
        let there = self.blob.len()?;
        if there == 0 {
            return Ok(());
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Some(len) = self.digests.chunk_at(self.taken) {
            let Some(chunk) = chunk.get_mut(..len).filter(|_| self.end_of(len) <= there) else { break };
            self.blob.read_at(self.taken, chunk)?;
            let Ok(digest) = self.digests.check(self.taken, chunk) else { break };
            self.use_chunk(digest, chunk)?;
        }
        if self.taken > 0 { self.sync(context) } else { Ok(()) }
    }

    /// Takes the next chunk. Blocks.
    pub(crate) fn take(&mut self, context: &Context, offset: u64, data: &[u8]) -> Result<(), Error> {
        if offset != self.taken || self.digests.chunk_at(offset) != Some(data.len()) {
            return Err(IntakeError::OutOfOrder { expected: self.taken, found: offset }.into());
        }
        let digest = self.digests.check(offset, data)?;
        self.blob.write_at(offset, data)?;
        aggregate::counted(|| self.use_chunk(digest, data))?;
        if self.taken.saturating_sub(self.durable) >= SYNC_BYTES { self.sync(context) } else { Ok(()) }
    }

    /// Decodes the next chunk, which is checked and written, unless it is masked, and folds it where updates are folded
    /// as they come.
    fn use_chunk(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
        if let Some(reading) = &mut self.reading {
            let UpdateHeader { participant_id, payload, .. } = &self.header;
            let (payload, offset, len) = (*payload, self.taken, bytes.len());
            VALUES.with_borrow_mut(|values| {
                values.clear();
                decode(&mut reading.decoder, bytes, values)?;
                let Some(Fold { sum, round_id }) = &reading.fold else { return Ok(()) };
                sum.fold(round_id, &Chunk { participant_id, payload, offset, len, digest, values })
            })?;
        }
        self.taken = self.end_of(bytes.len());
        Ok(())
    }

    fn end_of(&self, len: usize) -> u64 {
        self.taken.saturating_add(u64::try_from(len).unwrap_or(u64::MAX))
    }

    /// Makes what was taken durable. What could not be made durable is removed: after a failure nobody knows what is on
    /// disk, and a second attempt may claim success.
    fn sync(&mut self, context: &Context) -> Result<(), Error> {
        if let Err(error) = self.blob.sync() {
            let UpdateHeader { round_id, participant_id, payload, .. } = &self.header;
            context.blobs.remove_update(round_id, participant_id, *payload)?;
            return Err(error);
        }
        self.durable = self.taken;
        Ok(())
    }

    /// Makes the whole update durable and gives what it asks of the round that collects, with the receipt that becomes
    /// durable together with it. Blocks.
    pub(crate) fn finish(mut self, context: &Context, plan: &RoundPlan) -> Result<Proposal, Error> {
        if !self.is_complete() {
            return Err(IntakeError::Incomplete { expected: self.header.byte_count, found: self.taken }.into());
        }
        if self.durable < self.taken {
            self.sync(context)?;
        }
        let Self { document, header, reading, mut writes, place, .. } = self;
        reading.map_or(Ok(()), |reading| reading.decoder.finish())?;
        let at = context.clock.now();
        let event = event(&header, plan, at)?;
        let UpdateHeader { round_id: trained_in, participant_id, payload, .. } = header;
        let receipt = context.signer.sign(&UpdateReceipt {
            round_id: plan.round_id.clone(),
            participant_id: participant_id.clone(),
            payload,
            accepted_at: at,
        })?;
        let receipt_key = durable::evidence(&trained_in, Evidence::Receipt, &participant_id);
        writes.extend([
            (durable::evidence(&trained_in, Evidence::Update, &participant_id), durable::encode(&document)?),
            (receipt_key, durable::encode(&receipt)?),
        ]);
        let proposal = Proposal::new(plan.round_id.clone(), event, writes);
        Ok(proposal.with_file(SyncedFile { trained_in, participant_id, payload, _place: place }))
    }
}

/// What makes an update useless is found before it is accepted: it would make the whole round's sum impossible.
fn decode(decoder: &mut Decoder, bytes: &[u8], into: &mut Values) -> Result<(), Error> {
    decoder.push(bytes, |first, values| match InRange::new(values) {
        Ok(_) => {
            into.push(first, values);
            Ok(())
        }
        Err(AggregateError::OutOfRange { index, value }) => {
            Err(AggregateError::OutOfRange { index: first.saturating_add(index), value }.into())
        }
        Err(error) => Err(error.into()),
    })
}

/// What accepting the update is to the round of `plan`.
fn event(header: &UpdateHeader, plan: &RoundPlan, at: Timestamp) -> Result<RoundEvent, Error> {
    let trained_in = header.round_id.number;
    plan.staleness(trained_in)?;
    let update = accepted(header, plan);
    Ok(RoundEvent::UpdateAccepted { participant_id: header.participant_id.clone(), update, at })
}

/// What counts of the update in the round of `plan`.
fn accepted(header: &UpdateHeader, plan: &RoundPlan) -> AcceptedUpdate {
    let trained_in = header.round_id.number;
    AcceptedUpdate {
        payload: header.payload,
        byte_count: header.byte_count,
        encoding: header.encoding,
        trained_in,
        weight: plan.weight(trained_in),
        local_steps: header.local_steps,
    }
}

/// The receipt for an update that was accepted just now.
pub(crate) fn receipt(context: &Context, header: &UpdateHeader) -> Result<SignedDocument, Error> {
    let key = durable::evidence(&header.round_id, Evidence::Receipt, &header.participant_id);
    durable::read(&*context.store, &key)?.ok_or_else(|| Error::UnknownRound(header.round_id.clone()))
}

/// The receipt for an update that was accepted before, in whatever round it counts.
///
/// Of the round that goes on, only what its state shows is durable; the store may be ahead of the disk.
pub(crate) fn known(
    store: &dyn Store,
    header: &UpdateHeader,
    snapshot: &Snapshot,
) -> Result<Option<SignedDocument>, Error> {
    let UpdateHeader { round_id, participant_id, payload, .. } = header;
    let key = durable::evidence(round_id, Evidence::Receipt, participant_id);
    let Some(document) = durable::read::<SignedDocument>(store, &key)? else { return Ok(None) };
    let receipt: UpdateReceipt = shared::canonical::decode(document.body.as_bytes())?;
    let state = &snapshot.state;
    let present = receipt.round_id == state.plan().round_id && !state.is_closed();
    if present && !round::accepted(state).is_some_and(|accepted| accepted.contains_key(participant_id)) {
        return Ok(None);
    }
    if receipt.payload == *payload {
        return Ok(Some(document));
    }
    let (participant_id, first, second) = (participant_id.clone(), receipt.payload, *payload);
    Err(IllegalTransition::Equivocation { participant_id, first, second }.into())
}
