//! What can go wrong in privacy arithmetic. Every variant means that nothing was released.

use shared::Explain;
use shared::privacy::Guarantee;

/// Why noise, an accountant or the ledger refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PrivacyError {
    /// A mechanism's parameter is outside what the accountants cover.
    #[error("`{value}` is no valid {parameter}: it must be {expected}")]
    Mechanism {
        /// The parameter's name.
        parameter: &'static str,
        /// What was given.
        value: f64,
        /// The values that are valid, in words.
        expected: &'static str,
    },
    /// No noise multiplier that the accountants cover gives the guarantee.
    #[error("no noise multiplier up to `{largest}` gives epsilon `{epsilon}` at delta `{delta}`")]
    Unreachable {
        /// The ε asked for.
        epsilon: f64,
        /// The δ asked for.
        delta: f64,
        /// The greatest noise multiplier that was tried.
        largest: f64,
    },
    /// The noise's standard deviation is outside [`crate::noise::STD_DEV_RANGE`].
    #[error("`{0}` is no standard deviation that noise can have")]
    StandardDeviation(f64),
    /// A value to be protected is NaN or infinite.
    #[error("value {index} is not a finite number")]
    NotFinite {
        /// The first such value.
        index: usize,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    NoRandomness,
    /// opendp refused to make or to run the mechanism.
    #[error("the counts could not be released: {0}")]
    Counts(String),
    /// The debit would spend more than the budget.
    #[error(
        "the debit would spend epsilon {:.4} of a budget of {:.4} (delta {:e}), of which {:.4} is spent",
        would_be.epsilon, budget.epsilon, budget.delta, spent.epsilon
    )]
    BudgetExceeded {
        /// What is spent, and stays spent.
        spent: Guarantee,
        /// What would be spent after the debit.
        would_be: Guarantee,
        /// What may be spent.
        budget: Guarantee,
    },
    /// A debit does not follow the one before it.
    #[error("debit {found} where debit {expected} should follow")]
    OutOfSequence {
        /// The next debit's sequence number.
        expected: u64,
        /// The one that was given.
        found: u64,
    },
}

impl Explain for PrivacyError {
    fn code(&self) -> &'static str {
        match self {
            Self::Mechanism { .. } => "privacy-mechanism-invalid",
            Self::Unreachable { .. } => "privacy-unreachable",
            Self::StandardDeviation(_) => "privacy-noise-range",
            Self::NotFinite { .. } => "privacy-not-finite",
            Self::NoRandomness => "privacy-no-randomness",
            Self::Counts(_) => "privacy-counts",
            Self::BudgetExceeded { .. } => "privacy-budget-exceeded",
            Self::OutOfSequence { .. } => "privacy-ledger-sequence",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Mechanism { .. } => "correct the task's privacy terms or training recipe",
            Self::Unreachable { .. } => "allow a larger epsilon, or train with fewer steps or a lower sampling rate",
            Self::StandardDeviation(_) => "choose a clipping norm and a noise multiplier of ordinary size",
            Self::NotFinite { .. } => "training diverged: lower the learning rate or the clipping norm",
            Self::NoRandomness => "check that the process may call getrandom; nothing is released without it",
            Self::Counts(_) => "choose a rho above 0, such as 0.01",
            Self::BudgetExceeded { .. } => {
                "train on new records, ask for fewer steps or more noise, or let the data's owner decide on a new budget"
            }
            Self::OutOfSequence { .. } => {
                "the ledger has a gap or a repeated entry: restore it from its last good copy"
            }
        }
    }
}
