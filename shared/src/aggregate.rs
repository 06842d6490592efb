//! Aggregation rules: pure functions from the accepted updates to one change of the model.
//!
//! [`Aggregation`] is how a task names them, [`Combination`] computes them, and [`FedAvg`] is the exact sum for updates
//! that are folded in as they arrive. Refuses whatever cannot be computed for sure: too few rows, rows of different
//! lengths, entries that are no finite numbers, sums that could wrap.

mod blocks;
mod columns;
mod combine;
mod fed_avg;
mod gram;
mod krum;
mod linear;
mod mixing;
mod plan;
mod root_box;
mod rows;
mod rule;
mod server;
mod sorting;
mod step;
#[cfg(test)]
mod tests;

pub use combine::Combination;
pub use fed_avg::{Addend, FedAvg, InRange, MAX_MAGNITUDE, MAX_WEIGHT_SUM};
pub use linear::effective_steps;
pub use rows::{Element, Rows, Slices};
pub use rule::{Aggregation, InvalidAggregation, MAX_ITERATIONS, MAX_PRE_STEPS, PreStep, Rule, ServerStep};
pub use server::{RoundChange, staleness_weight};
pub use step::{Inputs, Outputs, Read, ReadPayload, RoundStep, STEP_BLOCK, Stepper, Write};

use crate::params::ParamError;
use crate::{Explain, ParticipantId};

/// Whose a row is, and what it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct RowMeta {
    /// Who sent it.
    pub participant_id: ParticipantId,
    /// Its weight, for rules that heed it.
    pub weight: u32,
    /// How many local steps it took, momentum counted in ([`effective_steps`]), for [`Rule::FedNova`].
    pub local_steps: f64,
}

/// Why updates have no aggregate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AggregateError {
    /// There is nothing to aggregate.
    #[error("no update to aggregate")]
    Empty,
    /// An update does not have the shape of the others.
    #[error(transparent)]
    Shape(#[from] ParamError),
    /// The task's aggregation cannot be computed for this many updates.
    #[error(transparent)]
    Invalid(#[from] InvalidAggregation),
    /// A parameter's magnitude exceeds what exact summation can hold (promise R2: refused, never wrapped).
    #[error("parameter {index} is {value}, beyond the exact range of ±{MAX_MAGNITUDE}")]
    OutOfRange {
        /// Which parameter of the block that was looked at.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// One more update would exceed the weights that exact summation can hold.
    #[error("the weights sum to more than {MAX_WEIGHT_SUM}")]
    TooManyUpdates,
    /// A mean was asked for while an update was added in part.
    #[error("{open} updates were begun and not ended")]
    Unfinished {
        /// How many updates.
        open: usize,
    },
    /// A run of values begins before the end of the one before it.
    #[error("a run of values at {found} where the next may begin at {expected}")]
    OutOfOrder {
        /// Where the next run may begin.
        expected: usize,
        /// Where it begins.
        found: usize,
    },
    /// An update has an entry that is no finite number.
    #[error("row {row} has an entry that is not a finite 32-bit number")]
    NotFinite {
        /// Which update.
        row: usize,
    },
    /// An update cannot be read where it is kept.
    #[error("row {row} cannot be read: {reason}")]
    Unreadable {
        /// Which update.
        row: usize,
        /// Why.
        reason: String,
    },
    /// The result cannot be written where it should be kept.
    #[error("the aggregate cannot be written: {reason}")]
    Unwritable {
        /// Why.
        reason: String,
    },
    /// There are not as many rows as descriptions of them.
    #[error("{found} rows where {expected} are described")]
    RowMismatch {
        /// How many are described.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The participant that the rule trusts sent no update.
    #[error("the root participant `{root}` sent no update")]
    RootMissing {
        /// Who that is.
        root: ParticipantId,
    },
    /// An update to be normalised by its local steps took none.
    #[error("row {row} does not say how many local steps it took")]
    NoLocalSteps {
        /// Which update.
        row: usize,
    },
    /// The server's state is not the state of this server step for this block.
    #[error("the server's state does not have the shape that its step needs")]
    StateMismatch,
}

impl Explain for AggregateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Empty => "aggregate-empty",
            Self::Shape(error) => error.code(),
            Self::Invalid(error) => error.code(),
            Self::OutOfRange { .. } => "aggregate-out-of-range",
            Self::TooManyUpdates => "aggregate-too-many-updates",
            Self::Unfinished { .. } => "aggregate-unfinished",
            Self::OutOfOrder { .. } => "aggregate-out-of-order",
            Self::NotFinite { .. } => "aggregate-not-finite",
            Self::Unreadable { .. } => "aggregate-unreadable",
            Self::Unwritable { .. } => "aggregate-unwritable",
            Self::RowMismatch { .. } => "aggregate-row-mismatch",
            Self::RootMissing { .. } => "aggregate-root-missing",
            Self::NoLocalSteps { .. } => "aggregate-no-local-steps",
            Self::StateMismatch => "aggregate-state-mismatch",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "wait for updates, or lower the task's quorum",
            Self::Shape(error) => error.hint(),
            Self::Invalid(error) => error.hint(),
            Self::OutOfRange { .. } => "clip the update; a change this large is a diverged or hostile training run",
            Self::TooManyUpdates => "split the cohort or lower the weights",
            Self::Unfinished { .. } => "end every update before asking for the mean",
            Self::OutOfOrder { .. } => "add an update's values in order, each once",
            Self::NotFinite { .. } => "leave the update out; training diverged or the row is damaged",
            Self::Unreadable { .. } => {
                "check the disk and the round's directory; the round resumes from what is durable"
            }
            Self::Unwritable { .. } => "free space where the coordinator keeps its state; the round resumes",
            Self::RowMismatch { .. } => "describe each row once; only centered clipping takes one row more",
            Self::RootMissing { .. } => "wait for the root participant, or choose a rule that needs none",
            Self::NoLocalSteps { .. } => "send the number of local steps with the update",
            Self::StateMismatch => "start from the step's initial state; it changes with the task's server step",
        }
    }
}
