//! The candidate of a round, computed from exactly the accepted updates in their files. It changes nothing that counts,
//! so that a crash in the middle only means computing it again.

mod cpu;
mod sum;
mod update;

pub(crate) use cpu::counted;
pub(crate) use sum::{Chunk, RunningSum, Values};

use std::cell::RefCell;
use std::sync::Mutex;

use shared::aggregate::{AggregateError, Inputs, Outputs, RoundStep, Rule};
use shared::document::SignedDocument;
use shared::round::Collected;
use shared::task::Task;
use shared_audit::transcript::updates_root;

use crate::Error;
use crate::blob::{Blob, Params, ParamsWriter};
use crate::context::Context;
use crate::masking::{MaskingError, Unmasked, unmask};
pub(crate) use update::UpdateFile;

/// How many threads work on one candidate.
const THREADS: usize = 2;
/// How many values are folded at a time.
const FOLD_BLOCK: usize = 64 * 1024;
const VALUE_BYTES: u64 = 4;

/// What a round's arithmetic made, in files that nobody names yet.
#[derive(Debug)]
pub(crate) struct Made {
    /// The candidate's parameters.
    pub(crate) candidate: Params,
    /// What the server keeps for the next round.
    pub(crate) server_state: Option<Params>,
    /// The sum that it follows from, where updates are masked, and the coordinator's word on it.
    pub(crate) sum: Option<(Params, SignedDocument)>,
}

/// What the coordinator may hold in memory for a task, in bytes: 8 a parameter for the exact sum, as much again where two
/// vectors belong together, and twice that for what is fetched just now: the checkpoint, the candidate, and what is kept
/// beside each.
pub(crate) fn memory(task: &Task) -> u64 {
    u64::try_from(task.update_len()).unwrap_or(u64::MAX).saturating_mul(32)
}

/// Whether a task's updates are folded as they come: its rule needs nothing but their sum.
pub(crate) fn folds(task: &Task) -> bool {
    task.aggregation.rule == Rule::Mean && task.secure_aggregation.is_none()
}

/// Computes the candidate and the next server state, and makes both durable. Blocks.
pub(crate) fn candidate(context: &Context, task: &Task, round: &Collected, sum: &RunningSum) -> Result<Made, Error> {
    let failure = Failure::default();
    let checkpoint = context.blobs.params(round.plan.checkpoint)?;
    let state = round.plan.server_state.map(|state| context.blobs.params(state)).transpose()?;
    let candidate = RefCell::new(ParamsWriter::new(&context.blobs)?);
    let next_state = RefCell::new(ParamsWriter::new(&context.blobs)?);
    let read_checkpoint = |start: usize, into: &mut [f32]| failure.keep(read(&checkpoint, start, into));
    let read_state =
        state.as_ref().map(|state| |start: usize, into: &mut [f32]| failure.keep(read(state, start, into)));
    let inputs = Inputs {
        checkpoint: &read_checkpoint,
        state: read_state.as_ref().map(|read| -> &shared::aggregate::Read<'_> { read }),
    };
    let outputs = Outputs {
        candidate: &mut |block: &[f32]| failure.keep(candidate.borrow_mut().write(&to_bytes(block))),
        state: &mut |block: &[f32]| failure.keep(next_state.borrow_mut().write(&to_bytes(block))),
    };
    let step = RoundStep { task, accepted: &round.accepted, updates_root: updates_root(&round.accepted)? };
    let mut unmasked = None;
    let computed = if task.secure_aggregation.is_some() {
        counted(|| of_masked(context, task, round, step, inputs, outputs)).map(|sum| unmasked = Some(sum))
    } else if folds(task) {
        counted(|| of_sum(context, task, round, sum, step, inputs, outputs))
    } else {
        of_files(context, task, round, step, inputs, outputs, &failure)
    };
    if let Some(error) = failure.take() {
        return Err(error);
    }
    computed?;
    let candidate = candidate.into_inner().finish()?;
    let keeps_state = RoundStep::state_len(task) > 0;
    let server_state = keeps_state.then(|| next_state.into_inner().finish()).transpose()?;
    Ok(Made { candidate, server_state, sum: unmasked })
}

/// The exact mean, from the sum that was folded as the updates came.
fn of_sum<'a>(
    context: &Context,
    task: &Task,
    round: &Collected,
    sum: &RunningSum,
    step: RoundStep<'_>,
    inputs: Inputs<'a>,
    outputs: Outputs<'a>,
) -> Result<(), Error> {
    let folding = sum.complete(context, task, &round.plan, &round.accepted)?;
    let mut stepper = step.stepper(inputs, outputs);
    let mut block = vec![0.0; FOLD_BLOCK];
    for start in (0..task.update_len()).step_by(FOLD_BLOCK) {
        let len = task.update_len().saturating_sub(start).min(FOLD_BLOCK);
        let block = block.get_mut(..len).unwrap_or_default();
        folding.sum.mean_block(start, block)?;
        stepper.push(block)?;
    }
    Ok(stepper.finish()?)
}

/// The mean of updates of which only the sum is known.
fn of_masked<'a>(
    context: &Context,
    task: &Task,
    round: &Collected,
    step: RoundStep<'_>,
    inputs: Inputs<'a>,
    outputs: Outputs<'a>,
) -> Result<(Params, SignedDocument), Error> {
    let terms = task.secure_aggregation.as_ref().ok_or(MaskingError::NotMasked)?;
    let Unmasked { values, file, word } = unmask(context, task, round)?;
    let mut stepper = step.stepper(inputs, outputs);
    for block in values.chunks(FOLD_BLOCK) {
        stepper.push(&terms.mean(block, round.accepted.len()))?;
    }
    stepper.finish()?;
    Ok((file, word))
}

/// Any other rule, over the files of the updates.
fn of_files<'a>(
    context: &Context,
    task: &Task,
    round: &Collected,
    step: RoundStep<'_>,
    inputs: Inputs<'a>,
    outputs: Outputs<'a>,
    failure: &Failure,
) -> Result<(), Error> {
    let files = round.accepted.iter().map(|accepted| UpdateFile::open(context, task, accepted));
    let files: Vec<UpdateFile> = files.collect::<Result<_, _>>()?;
    files.iter().try_for_each(UpdateFile::verify)?;
    let payload = |row: usize, offset: usize, into: &mut [u8]| {
        let missing = || AggregateError::Unreadable { row, reason: "there is no such update".to_owned() };
        let file = files.get(row).ok_or_else(missing)?;
        failure.keep(file.read_bytes(offset, into))
    };
    Ok(step.run(&payload, inputs, outputs, THREADS)?)
}

/// Reads little-endian values from the one at `start` on.
fn read(blob: &Blob, start: usize, into: &mut [f32]) -> Result<(), Error> {
    let mut bytes = vec![0; into.len().saturating_mul(size_of::<f32>())];
    blob.read_at(u64::try_from(start).unwrap_or(u64::MAX).saturating_mul(VALUE_BYTES), &mut bytes)?;
    into.iter_mut().zip(bytes.as_chunks().0).for_each(|(value, word)| *value = f32::from_le_bytes(*word));
    Ok(())
}

fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The first error of a disk or file within the arithmetic, which has no word for it.
#[derive(Debug, Default)]
struct Failure(Mutex<Option<Error>>);

impl Failure {
    fn keep<T>(&self, result: Result<T, Error>) -> Result<T, AggregateError> {
        result.map_err(|error| {
            let reason = error.to_string();
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
            AggregateError::Unwritable { reason }
        })
    }

    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}
