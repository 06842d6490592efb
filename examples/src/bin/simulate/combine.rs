//! From accepted updates to the next checkpoint, by the coordinator's own rules.

use shared::ParamVector;
use shared::ParticipantId;
use shared::aggregate::{AggregateError, Aggregation, Combination, RoundChange, RowMeta, Rule, Slices};
use shared::round::AcceptedUpdate;

/// An accepted update in memory.
pub(crate) type Row<'a> = (&'a ParticipantId, &'a AcceptedUpdate, &'a [f32]);

/// Applies rules, and keeps what they remember from round to round.
pub(crate) struct Combiner {
    threads: usize,
    seed: u64,
    /// The vector that the previous round was combined to.
    previous: Vec<f32>,
}

impl Combiner {
    pub(crate) fn new(threads: usize, seed: u64) -> Self {
        Self { threads, seed, previous: Vec::new() }
    }

    /// The checkpoint after `rows`, which come in the participants' order.
    pub(crate) fn candidate(
        &mut self,
        aggregation: &Aggregation,
        checkpoint: &ParamVector,
        rows: &[Row<'_>],
    ) -> Result<ParamVector, AggregateError> {
        let remembers = matches!(aggregation.rule, Rule::CenteredClipping { .. });
        self.previous.resize(if remembers { checkpoint.len() } else { 0 }, 0.0);
        let slices = rows.iter().map(|(_, _, values)| *values);
        let slices = Slices::new(slices.chain(remembers.then_some(self.previous.as_slice())).collect())?;
        let meta: Vec<RowMeta> = rows.iter().map(|(participant_id, update, _)| meta(participant_id, update)).collect();
        let combination = Combination { aggregation, meta: &meta, seed: self.seed, threads: self.threads };
        let mut candidate = Vec::with_capacity(checkpoint.len());
        let mut combined = Vec::with_capacity(self.previous.len());
        combination.run(&slices, |start, change| {
            if remembers {
                combined.extend(change.iter().copied().map(narrow));
            }
            step(aggregation, checkpoint, start, change, &mut candidate)
        })?;
        drop(slices);
        self.previous = combined;
        Ok(ParamVector::new(candidate)?)
    }
}

/// One block of the next checkpoint. The rules of this program have no server state.
fn step(
    aggregation: &Aggregation,
    checkpoint: &ParamVector,
    start: usize,
    change: &[f64],
    candidate: &mut Vec<f32>,
) -> Result<(), AggregateError> {
    let mut applied = vec![0.0; change.len()];
    aggregation.server.apply(RoundChange { params: change, variates: &[], share: 1.0 }, &mut [], &mut applied)?;
    let from = checkpoint.as_slice().get(start..).unwrap_or_default();
    candidate.extend(from.iter().zip(&applied).map(|(from, by)| from + by));
    Ok(())
}

fn meta(participant_id: &ParticipantId, update: &AcceptedUpdate) -> RowMeta {
    RowMeta {
        participant_id: participant_id.clone(),
        weight: update.weight,
        local_steps: f64::from(update.local_steps),
    }
}

#[expect(clippy::as_conversions, reason = "rounds to nearest; a combination of f32 updates is in range")]
fn narrow(value: f64) -> f32 {
    value as f32
}
