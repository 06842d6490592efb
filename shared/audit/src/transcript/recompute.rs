//! Computes a round again from its transcript and compares, bit for bit, with what the record says came out of it.

use std::thread;

use shared::Digest;
use shared::aggregate::{AggregateError, Inputs, Outputs, Read, RoundStep};
use shared::release::RoundRecord;
use shared::task::Task;
use shared_crypto::BulkWriter;

use super::archive::{Entry, ReadAt};
use super::documents::{Sections, same};
use super::{TranscriptError, name};

const VALUE: usize = size_of::<f32>();
/// How many words of a sum are used at a time.
const SUM_BLOCK: usize = 1 << 16;

/// What the round started from.
pub(super) struct Start {
    checkpoint: Entry,
    /// What the server kept from the round before, where there was one and it keeps anything.
    state: Option<Entry>,
}

/// What a candidate follows from.
pub(super) enum Updates {
    /// Where the encoded bytes of each update stand.
    Visible(Vec<Entry>),
    /// What masked updates add up to.
    Masked(Vec<i32>),
}

/// Takes in the checkpoint and the server's state, each with the digest that the record names.
pub(super) fn start<R: ReadAt + ?Sized>(
    sections: &mut Sections<'_, R>,
    task: &Task,
    record: &RoundRecord,
) -> Result<Start, TranscriptError> {
    let params = task.model.param_count();
    let checkpoint = vector(sections, name::CHECKPOINT, params, record.checkpoint)?;
    let values = RoundStep::state_len(task);
    same(|| "whether the server keeps something".to_owned(), &(values > 0), &record.server_state.is_some())?;
    let state = record.server_state_before;
    let state = state.map(|digest| vector(sections, name::SERVER_STATE, values, digest)).transpose()?;
    Ok(Start { checkpoint, state })
}

/// Takes in a section of this many values with this digest.
fn vector<R: ReadAt + ?Sized>(
    sections: &mut Sections<'_, R>,
    name: &str,
    values: usize,
    digest: Digest,
) -> Result<Entry, TranscriptError> {
    let entry = sections.take(name)?;
    same(|| format!("the length of `{name}`"), &bytes_of(values), &entry.len)?;
    sections.digest(&entry, digest)?;
    Ok(entry)
}

/// Whether the record's candidate and server state follow from the updates. Memory: some blocks of each update.
pub(super) fn holds<R: ReadAt + Sync + ?Sized>(
    source: &R,
    task: &Task,
    record: &RoundRecord,
    start: &Start,
    updates: &Updates,
) -> Result<(), TranscriptError> {
    let payloads = |row: usize, offset: usize, into: &mut [u8]| {
        let Updates::Visible(updates) = updates else { return Err(AggregateError::Empty) };
        let payload = updates.get(row).ok_or(AggregateError::Empty)?;
        let offset = u64::try_from(offset).unwrap_or(u64::MAX);
        let read = source.read_exact_at(into, payload.offset.saturating_add(offset));
        read.map_err(|error| AggregateError::Unreadable { row, reason: error.to_string() })
    };
    let checkpoint = |first: usize, into: &mut [f32]| values(source, &start.checkpoint, first, into);
    let state =
        start.state.as_ref().map(|entry| move |first: usize, into: &mut [f32]| values(source, entry, first, into));
    let inputs = Inputs { checkpoint: &checkpoint, state: state.as_ref().map(|read| -> &Read<'_> { read }) };
    let (mut candidate, mut kept) = (BulkWriter::new(), BulkWriter::new());
    let outputs =
        Outputs { candidate: &mut |block| write(&mut candidate, block), state: &mut |block| write(&mut kept, block) };
    let step = RoundStep { task, accepted: &record.accepted, updates_root: record.updates_root };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let run = match updates {
        Updates::Visible(_) => step.run(&payloads, inputs, outputs, threads),
        Updates::Masked(sum) => of_sum(task, &step, sum, inputs, outputs),
    };
    run.map_err(|error| TranscriptError::Aggregate(error.to_string()))?;
    same_result("candidate", Some(record.candidate), Some(candidate.finish()))?;
    same_result("server state", record.server_state, record.server_state.map(|_| kept.finish()))
}

/// The mean of masked updates, from what they add up to.
fn of_sum<'a>(
    task: &Task,
    step: &RoundStep<'_>,
    sum: &[i32],
    inputs: Inputs<'a>,
    outputs: Outputs<'a>,
) -> Result<(), AggregateError> {
    let terms = task.secure_aggregation.as_ref().ok_or(AggregateError::Empty)?;
    let mut stepper = step.stepper(inputs, outputs);
    for block in sum.chunks(SUM_BLOCK) {
        stepper.push(&terms.mean(block, step.accepted.len()))?;
    }
    stepper.finish()
}

/// Reads values of a section of little-endian f32.
fn values<R: ReadAt + ?Sized>(source: &R, entry: &Entry, first: usize, into: &mut [f32]) -> Result<(), AggregateError> {
    let mut bytes = vec![0; into.len().saturating_mul(VALUE)];
    let offset = entry.offset.saturating_add(bytes_of(first));
    let unreadable = |error: std::io::Error| AggregateError::Unreadable { row: 0, reason: error.to_string() };
    source.read_exact_at(&mut bytes, offset).map_err(unreadable)?;
    let read = bytes.as_chunks::<VALUE>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    into.iter_mut().zip(read).for_each(|(value, read)| *value = read);
    Ok(())
}

fn write(digest: &mut BulkWriter, block: &[f32]) -> Result<(), AggregateError> {
    let bytes: Vec<u8> = block.iter().flat_map(|value| value.to_le_bytes()).collect();
    digest.update(&bytes);
    Ok(())
}

fn same_result(what: &'static str, expected: Option<Digest>, found: Option<Digest>) -> Result<(), TranscriptError> {
    if expected == found {
        return Ok(());
    }
    let text = |digest: Option<Digest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
    Err(TranscriptError::Recomputed { what, expected: text(expected), found: text(found) })
}

fn bytes_of(values: usize) -> u64 {
    u64::try_from(values.saturating_mul(VALUE)).unwrap_or(u64::MAX)
}
