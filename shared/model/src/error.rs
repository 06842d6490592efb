//! Why a model cannot be built, trained or asked.

use shared::Explain;
use shared::params::ParamError;

/// Why a noise source failed, in its own words.
pub type NoiseError = Box<dyn Explain + Send + Sync>;

/// Why a model cannot be built, trained or asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The specification describes no model.
    #[error("a model with {params} parameters, {inputs} inputs and hidden layers {hidden:?} cannot be built")]
    Spec {
        /// Features in.
        inputs: u32,
        /// Widths of the hidden layers.
        hidden: Vec<u32>,
        /// Parameters that this would take.
        params: usize,
    },
    /// The specification describes no sequence classifier.
    #[error("a sequence classifier of this shape cannot be built: {0:?}")]
    SequenceSpec(crate::SequenceSpec),
    /// The parameters are not this model's.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// The values do not make whole rows.
    #[error("{found} values where rows have {expected} features")]
    RowLength {
        /// Features of a row.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A feature is NaN or infinite.
    #[error("row {row}, column {column} is not a finite number")]
    InputNotFinite {
        /// The first such row, from 0.
        row: usize,
        /// The first such column in it, from 0.
        column: usize,
    },
    /// A token is not of the vocabulary.
    #[error("row {row}, column {column} is no token of the vocabulary")]
    Token {
        /// The first such row, from 0.
        row: usize,
        /// The first such column in it, from 0.
        column: usize,
    },
    /// Not one label per row.
    #[error("{labels} labels for {rows} rows")]
    LabelCount {
        /// Rows given.
        rows: usize,
        /// Labels given.
        labels: usize,
    },
    /// A label is no probability.
    #[error("the label of row {row} is {value}, not within 0 and 1")]
    Label {
        /// The first such row, from 0.
        row: usize,
        /// Its label.
        value: f32,
    },
    /// A setting is out of its range.
    #[error("setting `{name}` is {value}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// The model's arithmetic overflowed on a row.
    #[error("row {row} has no finite logit")]
    Overflow {
        /// The first such row, from 0.
        row: usize,
    },
    /// A gradient or a parameter turned non-finite. The trainer still holds the model from before the step.
    #[error("a gradient or a parameter is no longer a finite number")]
    Diverged,
    /// The noise source failed. No step was taken.
    #[error("{0}")]
    Noise(NoiseError),
    /// The tensor engine failed.
    #[error("the tensor engine failed: {0}")]
    Engine(String),
}

impl Explain for ModelError {
    fn code(&self) -> &'static str {
        match self {
            Self::Spec { .. } => "model-spec",
            Self::SequenceSpec(_) => "model-sequence-spec",
            Self::Params(error) => error.code(),
            Self::RowLength { .. } => "model-row-length",
            Self::InputNotFinite { .. } => "model-input-not-finite",
            Self::Token { .. } => "model-token",
            Self::LabelCount { .. } => "model-label-count",
            Self::Label { .. } => "model-label-range",
            Self::Setting { .. } => "model-setting",
            Self::Overflow { .. } => "model-overflow",
            Self::Diverged => "training-diverged",
            Self::Noise(error) => error.code(),
            Self::Engine(_) => "model-engine",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Spec { .. } => "give at least one input, no hidden layer of width 0, and at most 10^8 parameters",
            Self::SequenceSpec(_) => {
                "give sizes above 0, at most 64 steps, heads that divide the width, and at most 10^8 parameters"
            }
            Self::Params(error) => error.hint(),
            Self::RowLength { .. } => "compute the features with the view that the model was trained on",
            Self::InputNotFinite { .. } => "mend the feature at that column; the feature engine must bound it",
            Self::Token { .. } => "number tokens from 0 to below the vocabulary's size",
            Self::LabelCount { .. } => "give one label per row",
            Self::Label { .. } => "label an attack 1 and anything else 0",
            Self::Setting { .. } => "set a finite number above 0, within the documented limit",
            Self::Overflow { .. } => "scale the features to a few units; the row or the parameters are far too large",
            Self::Diverged => {
                "lower the learning rate or the clipping norm and start again from the round's checkpoint"
            }
            Self::Noise(error) => error.hint(),
            Self::Engine(_) => "this is a defect of the installation; report it with the message",
        }
    }
}
