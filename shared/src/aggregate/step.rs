//! One round's arithmetic from end to end: the accepted updates, the checkpoint and what the server kept, in; the
//! candidate and what the server keeps next, out, block by block. Whoever runs a round and whoever checks it later run
//! this, so that both get the same bits.

use std::collections::BTreeMap;

use super::fed_avg::nearest_f32;
use super::{AggregateError, Combination, RoundChange, RowMeta, Rows, Rule, ServerStep, effective_steps};
use crate::encoding::EncodingError;
use crate::params::ParamError;
use crate::round::AcceptedUpdate;
use crate::task::Task;
use crate::{Digest, ParticipantId};

/// How many entries of each vector stand together in a server state, and are computed at a time.
pub const STEP_BLOCK: usize = 1 << 14;

/// Reads numbers: fills the slice from an entry on.
pub type Read<'a> = dyn Fn(usize, &mut [f32]) -> Result<(), AggregateError> + Sync + 'a;
/// Takes the next numbers, in order.
pub type Write<'a> = dyn FnMut(&[f32]) -> Result<(), AggregateError> + 'a;
/// Reads bytes of an update's payload: fills the slice from an offset on. The update is named by its place.
pub type ReadPayload<'a> = dyn Fn(usize, usize, &mut [u8]) -> Result<(), AggregateError> + Sync + 'a;

/// What fixes a round's result, beside the vectors themselves.
#[derive(Debug, Clone, Copy)]
pub struct RoundStep<'a> {
    /// The terms.
    pub task: &'a Task,
    /// Whose updates count; their order is the order of the rows.
    pub accepted: &'a BTreeMap<ParticipantId, AcceptedUpdate>,
    /// Root of the Merkle tree over them, as the round's record names it.
    pub updates_root: Digest,
}

/// Where a round's vectors come from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The parameters that the round started from.
    pub checkpoint: &'a Read<'a>,
    /// What the server kept from the round before; `None` before the first.
    pub state: Option<&'a Read<'a>>,
}

/// Where a round's results go.
pub struct Outputs<'a> {
    /// The candidate's parameters.
    pub candidate: &'a mut Write<'a>,
    /// What the server keeps: [`RoundStep::state_len`] numbers. For each [`STEP_BLOCK`] of entries, the block of each
    /// vector of the server's step, then that of the combined vector where the rule looks back at it.
    pub state: &'a mut Write<'a>,
}

impl RoundStep<'_> {
    /// The rows, in order.
    pub fn meta(&self) -> Vec<RowMeta> {
        let momentum = self.task.recipe.momentum;
        let meta = |(participant_id, update): (&ParticipantId, &AcceptedUpdate)| RowMeta {
            participant_id: participant_id.clone(),
            weight: update.weight,
            local_steps: effective_steps(update.local_steps, momentum),
        };
        self.accepted.iter().map(meta).collect()
    }

    /// How many numbers the server keeps from round to round of a task; 0 where it keeps nothing.
    pub fn state_len(task: &Task) -> usize {
        vectors(task).saturating_mul(task.model.param_count())
    }

    /// Combines the updates by the task's rule, and steps. Memory: some blocks of each update; for SCAFFOLD and for a root
    /// box also two vectors of f64.
    pub fn run<'b>(
        &self,
        payloads: &ReadPayload<'_>,
        inputs: Inputs<'b>,
        outputs: Outputs<'b>,
        threads: usize,
    ) -> Result<(), AggregateError> {
        let meta = self.meta();
        let previous = inputs.state.filter(|_| looks_back(self.task));
        let rows = Payloads { task: self.task, updates: self.accepted.values().collect(), payloads, previous };
        let mut stepper = self.stepper(inputs, outputs);
        self.combination(&meta, threads).run(&rows, |_, block| stepper.push(block))?;
        stepper.finish()
    }

    /// The rule's part, for a caller whose updates lie elsewhere than in files; `meta` is [`Self::meta`]'s.
    pub fn combination<'b>(&'b self, meta: &'b [RowMeta], threads: usize) -> Combination<'b> {
        let seed = shuffle_seed(self.updates_root);
        Combination { aggregation: &self.task.aggregation, meta, seed, threads }
    }

    /// The part after the rule, for a caller that combines the updates itself.
    pub fn stepper<'b>(&self, inputs: Inputs<'b>, outputs: Outputs<'b>) -> Stepper<'b> {
        Stepper {
            server: self.task.aggregation.server,
            looks_back: looks_back(self.task),
            entries: self.task.model.param_count(),
            share: share(self.accepted.len(), self.task.cohort.len()),
            inputs,
            outputs,
            combined: Vec::new(),
            done: 0,
        }
    }
}

/// What shuffles a round's rows: it depends on every accepted update, so that no participant can foresee beside whom its
/// update will stand, and whoever has the round's record computes the same.
fn shuffle_seed(updates_root: Digest) -> u64 {
    updates_root.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Makes the candidate and the next server state out of the combined vector, as it comes.
pub struct Stepper<'a> {
    server: ServerStep,
    looks_back: bool,
    entries: usize,
    share: f64,
    inputs: Inputs<'a>,
    outputs: Outputs<'a>,
    /// What has come and is not used yet. For SCAFFOLD, whose halves belong together, all of it.
    combined: Vec<f64>,
    done: usize,
}

impl Stepper<'_> {
    /// Takes the next block of the combined vector.
    pub fn push(&mut self, block: &[f64]) -> Result<(), AggregateError> {
        self.combined.extend_from_slice(block);
        if matches!(self.server, ServerStep::Scaffold { .. }) {
            return Ok(());
        }
        let mut used: usize = 0;
        while let Some(params) = self.combined.get(used..used.saturating_add(self.width())).map(<[f64]>::to_vec)
            && !params.is_empty()
        {
            used = used.saturating_add(params.len());
            self.step(&params, &[])?;
        }
        self.combined.drain(..used);
        Ok(())
    }

    /// Refuses a combined vector that was not whole.
    pub fn finish(mut self) -> Result<(), AggregateError> {
        if matches!(self.server, ServerStep::Scaffold { .. }) {
            let combined = std::mem::take(&mut self.combined);
            let (params, variates) = combined.split_at_checked(self.entries).ok_or(AggregateError::StateMismatch)?;
            for (params, variates) in params.chunks(STEP_BLOCK).zip(variates.chunks(STEP_BLOCK)) {
                self.step(params, variates)?;
            }
        }
        let whole = self.done == self.entries && self.combined.is_empty();
        if whole { Ok(()) } else { Err(AggregateError::StateMismatch) }
    }

    /// How many entries the next block has.
    fn width(&self) -> usize {
        self.entries.saturating_sub(self.done).min(STEP_BLOCK)
    }

    fn step(&mut self, params: &[f64], variates: &[f64]) -> Result<(), AggregateError> {
        let width = params.len();
        let mut state = self.state(width)?;
        let mut vectors: Vec<&mut [f32]> = state.iter_mut().map(Vec::as_mut_slice).collect();
        let mut candidate = vec![0.0; width];
        self.server.apply(RoundChange { params, variates, share: self.share }, &mut vectors, &mut candidate)?;
        let mut checkpoint = vec![0.0; width];
        (self.inputs.checkpoint)(self.done, &mut checkpoint)?;
        candidate.iter_mut().zip(&checkpoint).for_each(|(change, start)| *change += start);
        if self.looks_back {
            state.push(params.iter().copied().map(nearest_f32).collect());
        }
        self.all_finite(&candidate)?;
        state.iter().try_for_each(|vector| self.all_finite(vector))?;
        (self.outputs.candidate)(&candidate)?;
        state.iter().try_for_each(|vector| (self.outputs.state)(vector))?;
        self.done = self.done.saturating_add(width);
        Ok(())
    }

    fn all_finite(&self, block: &[f32]) -> Result<(), AggregateError> {
        match block.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(ParamError::NotFinite { index: self.done.saturating_add(index) }.into()),
            None => Ok(()),
        }
    }

    /// The step's own vectors as the round before left them.
    fn state(&self, width: usize) -> Result<Vec<Vec<f32>>, AggregateError> {
        let initial = self.server.initial_state();
        let vectors = initial.len().saturating_add(usize::from(self.looks_back));
        let read = |(vector, (_, first)): (usize, &(&'static str, f32))| {
            let mut block = vec![*first; width];
            if let Some(state) = self.inputs.state {
                state(state_offset(vectors, vector, self.done, width), &mut block)?;
            }
            Ok(block)
        };
        initial.iter().enumerate().map(read).collect()
    }
}

/// How many vectors the server keeps.
fn vectors(task: &Task) -> usize {
    task.aggregation.server.initial_state().len().saturating_add(usize::from(looks_back(task)))
}

/// Whether the rule looks back at what the last round's updates were combined to. Not for SCAFFOLD, whose combined
/// vector is twice as long as the model.
fn looks_back(task: &Task) -> bool {
    let clips = matches!(task.aggregation.rule, Rule::CenteredClipping { .. });
    clips && !matches!(task.aggregation.server, ServerStep::Scaffold { .. })
}

/// Where, in a state of `vectors`, a block of a vector stands whose first entry is `start` of the vector.
fn state_offset(vectors: usize, vector: usize, start: usize, width: usize) -> usize {
    start.saturating_mul(vectors).saturating_add(vector.saturating_mul(width))
}

#[expect(clippy::as_conversions, reason = "cohorts are far below 2^53")]
fn share(accepted: usize, cohort: usize) -> f64 {
    accepted as f64 / cohort.max(1) as f64
}

/// The updates as rows, and behind them the combined vector of the round before where the rule looks back at it.
struct Payloads<'a> {
    task: &'a Task,
    updates: Vec<&'a AcceptedUpdate>,
    payloads: &'a ReadPayload<'a>,
    previous: Option<&'a Read<'a>>,
}

impl Rows for Payloads<'_> {
    type Element = f32;

    fn count(&self) -> usize {
        self.updates.len().saturating_add(usize::from(self.previous.is_some()))
    }

    fn dimension(&self) -> usize {
        self.task.update_len()
    }

    fn read<'a>(&'a self, row: usize, start: usize, scratch: &'a mut [f32]) -> Result<&'a [f32], AggregateError> {
        match (self.updates.get(row), self.previous) {
            (Some(update), _) => self.read_update(row, update, start, scratch)?,
            (None, Some(state)) => self.read_previous(state, start, scratch)?,
            (None, None) => return Err(AggregateError::Unreadable { row, reason: "there is no such row".to_owned() }),
        }
        Ok(scratch)
    }
}

impl Payloads<'_> {
    fn read_update(
        &self,
        row: usize,
        update: &AcceptedUpdate,
        start: usize,
        into: &mut [f32],
    ) -> Result<(), AggregateError> {
        let read = |offset: usize, bytes: &mut [u8]| (self.payloads)(row, offset, bytes).map_err(Fault::Read);
        update.encoding.decode_range(self.dimension(), start, into, read).map_err(|fault| match fault {
            Fault::Read(error) => error,
            Fault::Encoding(error) => AggregateError::Unreadable { row, reason: error.to_string() },
        })
    }

    /// The last vector of each block of the state, block after block.
    fn read_previous(&self, state: &Read<'_>, start: usize, into: &mut [f32]) -> Result<(), AggregateError> {
        let (vectors, entries) = (vectors(self.task), self.task.model.param_count());
        let (mut at, mut rest) = (start, into);
        while !rest.is_empty() {
            let block = at.saturating_sub(at % STEP_BLOCK);
            let width = entries.saturating_sub(block).min(STEP_BLOCK);
            let within = at.saturating_sub(block);
            let count = width.saturating_sub(within).min(rest.len());
            let split = rest.split_at_mut_checked(count).filter(|_| count > 0);
            let (piece, later) = split.ok_or(AggregateError::StateMismatch)?;
            let offset = state_offset(vectors, vectors.saturating_sub(1), block, width);
            state(offset.saturating_add(within), piece)?;
            (at, rest) = (at.saturating_add(count), later);
        }
        Ok(())
    }
}

/// What can fail while a row is decoded.
enum Fault {
    Read(AggregateError),
    Encoding(EncodingError),
}

impl From<EncodingError> for Fault {
    fn from(error: EncodingError) -> Self {
        Self::Encoding(error)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;
    use crate::RoundNumber;
    use crate::encoding::Encoding;

    /// More than two blocks, and a last one that is not whole.
    const PARAMS: usize = 2 * STEP_BLOCK + 5;

    fn task(rule: &serde_json::Value, server: &serde_json::Value, local: &str) -> Task {
        serde_json::from_value(json!({
            "task_id": "t", "title": "a task", "cohort": ["a", "b"], "quorum": 2, "rounds": 3, "seed": 1,
            "feature_view": {"name": "view", "version": 1, "digest": "0".repeat(64)},
            "model": {"inputs": PARAMS - 1, "hidden": []},
            "recipe": {"local_steps": 1, "sampling_rate": 0.5, "learning_rate": 0.1, "momentum": 0.0,
                       "clip_norm": 1.0, "noise_multiplier": null, "local": {"kind": local}},
            "privacy": {"unit": "record", "ceiling": {"epsilon": 3.0, "delta": 1e-5}, "evaluation_rho": 0.1},
            "aggregation": {"rule": rule, "pre": [], "server": server},
            "deadlines": {"join_ms": 1000, "collect_ms": 1000, "evaluate_ms": 1000},
            "gates": {"min_true_positive_rate": 0.5, "max_false_positive_rate": 0.5},
            "created_at": "2026-01-01T00:00:00Z"
        }))
        .unwrap()
    }

    fn ramp(len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|index| f32::from(u16::try_from(index % 97).unwrap()) * scale).collect()
    }

    fn read(values: &[f32]) -> impl Fn(usize, &mut [f32]) -> Result<(), AggregateError> + Sync {
        |start, into: &mut [f32]| {
            into.copy_from_slice(&values[start..start + into.len()]);
            Ok(())
        }
    }

    /// The root of no tree in particular.
    const ROOT: Digest = Digest([0; 32]);

    fn accepted(count: usize) -> BTreeMap<ParticipantId, AcceptedUpdate> {
        let update = AcceptedUpdate {
            payload: Digest([0; 32]),
            byte_count: 0,
            encoding: Encoding::F32,
            trained_in: RoundNumber(1),
            weight: 1,
            local_steps: 1,
        };
        "abcdef"
            .chars()
            .take(count)
            .map(|name| (ParticipantId::new(name.to_string()).unwrap(), update.clone()))
            .collect()
    }

    /// The candidate and the next state of a round of two updates, of `first` and twice that.
    fn round(task: &Task, state: Option<&[f32]>, first: &[f32]) -> (Vec<f32>, Vec<f32>) {
        round_of(task, state, first, &[1.0, 2.0], ROOT)
    }

    /// The candidate and the next state of a round of updates, each some times `first`.
    fn round_of(
        task: &Task,
        state: Option<&[f32]>,
        first: &[f32],
        times: &[f32],
        updates_root: Digest,
    ) -> (Vec<f32>, Vec<f32>) {
        let accepted = accepted(times.len());
        let step = RoundStep { task, accepted: &accepted, updates_root };
        let row = |times: &f32| first.iter().flat_map(|value| (value * times).to_le_bytes()).collect();
        let rows: Vec<Vec<u8>> = times.iter().map(row).collect();
        let payloads = |row: usize, offset: usize, into: &mut [u8]| {
            into.copy_from_slice(&rows[row][offset..offset + into.len()]);
            Ok(())
        };
        let checkpoint = vec![1.0; PARAMS];
        let (read_checkpoint, read_state) = (read(&checkpoint), state.map(read));
        let inputs =
            Inputs { checkpoint: &read_checkpoint, state: read_state.as_ref().map(|read| -> &Read<'_> { read }) };
        let (candidate, kept) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let outputs = Outputs {
            candidate: &mut |block| {
                candidate.borrow_mut().extend_from_slice(block);
                Ok(())
            },
            state: &mut |block| {
                kept.borrow_mut().extend_from_slice(block);
                Ok(())
            },
        };
        step.run(&payloads, inputs, outputs, 2).unwrap();
        (candidate.into_inner(), kept.into_inner())
    }

    fn close(found: &[f32], expected: impl Fn(usize) -> f32) {
        assert_eq!(found.len(), PARAMS);
        let far = (0..PARAMS).find(|index| (found[*index] - expected(*index)).abs() > 1e-4);
        assert_eq!(far.map(|index| (index, found[index], expected(index))), None);
    }

    #[test]
    fn the_plain_mean_moves_the_checkpoint_and_keeps_nothing() {
        let plain = task(&json!("mean"), &json!({"plain": {"learning_rate": 0.5}}), "plain");
        let change = ramp(PARAMS, 0.01);
        let (candidate, state) = round(&plain, None, &change);
        close(&candidate, |index| 1.0 + 0.5 * 1.5 * change[index]);
        assert_eq!((state.len(), RoundStep::state_len(&plain)), (0, 0));
    }

    #[test]
    fn a_stepper_gives_the_same_bits_however_the_combined_vector_is_cut() {
        let adam = json!({"fed_adam": {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 0.001}});
        let (task, accepted) = (task(&json!("mean"), &adam, "plain"), accepted(2));
        let change = ramp(PARAMS, 0.01);
        let whole = round(&task, None, &change);
        assert_eq!(whole.1.len(), RoundStep::state_len(&task));
        let checkpoint = vec![1.0; PARAMS];
        let (mut candidate, mut kept) = (Vec::new(), Vec::new());
        let outputs = Outputs {
            candidate: &mut |block: &[f32]| {
                candidate.extend_from_slice(block);
                Ok(())
            },
            state: &mut |block: &[f32]| {
                kept.extend_from_slice(block);
                Ok(())
            },
        };
        let step = RoundStep { task: &task, accepted: &accepted, updates_root: ROOT };
        let mut sum = super::super::FedAvg::new(PARAMS);
        for times in [1.0, 2.0] {
            let row = change.iter().map(|value| value * times).collect();
            sum.add(1, &crate::ParamVector::new(row).unwrap()).unwrap();
        }
        let mut combined = vec![0.0; PARAMS];
        sum.mean_block(0, &mut combined).unwrap();
        let checkpoint = read(&checkpoint);
        let mut stepper = step.stepper(Inputs { checkpoint: &checkpoint, state: None }, outputs);
        combined.chunks(999).for_each(|block| stepper.push(block).unwrap());
        stepper.finish().unwrap();
        assert_eq!((candidate, kept), whole);
    }

    #[test]
    fn what_the_server_kept_comes_back_block_by_block() {
        let momentum = json!({"fed_adagrad": {"learning_rate": 1.0, "beta1": 0.5, "epsilon": 1.0}});
        let task = task(&json!("mean"), &momentum, "plain");
        let zeros = vec![0.0; PARAMS];
        let (_, first) = round(&task, None, &ramp(PARAMS, 0.01));
        let (_, second) = round(&task, Some(&first), &zeros);
        let momentum = |state: &[f32]| -> Vec<f32> {
            state.chunks(2 * STEP_BLOCK).flat_map(|block| block[..block.len() / 2].to_vec()).collect()
        };
        let before = momentum(&first);
        close(&momentum(&second), |index| 0.5 * before[index]);
    }

    #[test]
    fn centered_clipping_starts_from_what_the_last_round_was_combined_to() {
        let rule = json!({"centered_clipping": {"radius": 1e-9, "iterations": 1}});
        let task = task(&rule, &json!({"plain": {"learning_rate": 1.0}}), "plain");
        let previous = ramp(PARAMS, 0.02);
        let (candidate, state) = round(&task, Some(&previous), &ramp(PARAMS, 0.01));
        close(&candidate, |index| 1.0 + previous[index]);
        close(&state, |index| previous[index]);
    }

    #[test]
    fn scaffolds_halves_move_the_model_and_the_control_variate() {
        let task = task(&json!("mean"), &json!({"scaffold": {"learning_rate": 1.0}}), "scaffold");
        let update = ramp(2 * PARAMS, 0.01);
        let (candidate, control) = round(&task, None, &update);
        close(&candidate, |index| 1.0 + 1.5 * update[index]);
        close(&control, |index| 1.5 * update[PARAMS + index]);
    }

    #[test]
    fn which_updates_share_a_bucket_depends_on_the_set_of_updates_and_on_nothing_else() {
        let mut task = task(&json!("coordinate_median"), &json!({"plain": {"learning_rate": 1.0}}), "plain");
        task.aggregation.pre = vec![super::super::PreStep::Bucketing { size: 2 }];
        let change = vec![1.0; PARAMS];
        let times = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let with = |root| round_of(&task, None, &change, &times, Digest([root; 32])).0[0].to_bits();
        let results: std::collections::BTreeSet<u32> = (0..8).map(with).collect();
        assert!(results.len() > 1, "{results:?}");
        assert_eq!(with(3), with(3));
    }
}
