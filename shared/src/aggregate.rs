//! Aggregation rules: pure functions from the accepted updates to one change of the model.

mod fed_avg;
mod median;

pub use fed_avg::{FedAvg, MAX_MAGNITUDE, MAX_WEIGHT_SUM};
pub use median::coordinate_median;

use crate::params::ParamError;
use crate::task::AggregationRule;
use crate::{Explain, ParamVector};

/// Why updates have no aggregate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AggregateError {
    /// There is nothing to aggregate.
    #[error("no update to aggregate")]
    Empty,
    /// An update does not have the shape of the others.
    #[error(transparent)]
    Shape(#[from] ParamError),
    /// A parameter's magnitude exceeds what exact summation can hold (promise R2: refused, never wrapped).
    #[error("parameter {index} is {value}, beyond the exact range of ±{MAX_MAGNITUDE}")]
    OutOfRange {
        /// Which parameter.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// One more update would exceed the weights that exact summation can hold.
    #[error("the weights sum to more than {MAX_WEIGHT_SUM}")]
    TooManyUpdates,
}

impl Explain for AggregateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Empty => "aggregate-empty",
            Self::Shape(error) => error.code(),
            Self::OutOfRange { .. } => "aggregate-out-of-range",
            Self::TooManyUpdates => "aggregate-too-many-updates",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "wait for updates, or lower the task's quorum",
            Self::Shape(error) => error.hint(),
            Self::OutOfRange { .. } => "clip the update; a change this large is a diverged or hostile training run",
            Self::TooManyUpdates => "split the cohort or lower the weights",
        }
    }
}

/// Applies `rule` to `updates`, each with the weight that the task gives its participant.
///
/// The order of the updates does not change a single bit of the result.
pub fn aggregate(rule: AggregationRule, updates: &[(u32, ParamVector)]) -> Result<ParamVector, AggregateError> {
    let len = updates.first().ok_or(AggregateError::Empty)?.1.len();
    match rule {
        AggregationRule::FedAvg => {
            let mut sum = FedAvg::new(len);
            for (weight, update) in updates {
                sum.add(*weight, update)?;
            }
            sum.finish()
        }
        AggregationRule::CoordinateMedian => {
            let rows: Vec<&[f32]> = updates.iter().map(|(_, update)| update.as_slice()).collect();
            let median = coordinate_median(&rows)?;
            Ok(ParamVector::new(median.into_iter().map(fed_avg::nearest_f32).collect())?)
        }
    }
}
