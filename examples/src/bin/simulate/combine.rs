//! From accepted updates to the next checkpoint: the coordinator's own arithmetic, on vectors that lie in memory.

use shared::ParamVector;
use shared::aggregate::{AggregateError, Inputs, Outputs, Read, RoundStep, Slices};

/// Steps from round to round of one task, whose server step remembers nothing of its own.
pub(crate) struct Combiner {
    threads: usize,
    /// What the server keeps: what the last round was combined to where the rule looks back at it, or else nothing.
    state: Vec<f32>,
}

impl Combiner {
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads, state: Vec::new() }
    }

    /// The checkpoint after `updates`, which come in the order of the step's accepted ones.
    pub(crate) fn candidate(
        &mut self,
        step: RoundStep<'_>,
        checkpoint: &ParamVector,
        updates: Vec<&[f32]>,
    ) -> Result<ParamVector, AggregateError> {
        let previous = (!self.state.is_empty()).then_some(self.state.as_slice());
        let rows = Slices::new(updates.into_iter().chain(previous).collect())?;
        let meta = step.meta();
        let read_checkpoint = |start: usize, into: &mut [f32]| read(checkpoint.as_slice(), start, into);
        let read_state = previous.map(|state| move |start: usize, into: &mut [f32]| read(state, start, into));
        let inputs =
            Inputs { checkpoint: &read_checkpoint, state: read_state.as_ref().map(|read| -> &Read<'_> { read }) };
        let (mut candidate, mut state) = (Vec::with_capacity(checkpoint.len()), Vec::new());
        let outputs = Outputs {
            candidate: &mut |block| append(&mut candidate, block),
            state: &mut |block| append(&mut state, block),
        };
        let mut stepper = step.stepper(inputs, outputs);
        step.combination(&meta, self.threads).run(&rows, |_, block| stepper.push(block))?;
        stepper.finish()?;
        self.state = state;
        Ok(ParamVector::new(candidate)?)
    }
}

fn read(values: &[f32], start: usize, into: &mut [f32]) -> Result<(), AggregateError> {
    let piece = values.get(start..start.saturating_add(into.len())).ok_or(AggregateError::StateMismatch)?;
    into.copy_from_slice(piece);
    Ok(())
}

fn append(to: &mut Vec<f32>, block: &[f32]) -> Result<(), AggregateError> {
    to.extend_from_slice(block);
    Ok(())
}
