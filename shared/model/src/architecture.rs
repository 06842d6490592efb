//! What a model must tell for training: the one interface behind ordinary and private steps.

use burn::tensor::Tensor;
use shared::ParamVector;

use crate::{ModelError, Pass};

/// A model of one logit per example, as a function of one flat parameter vector.
pub trait Architecture: Sized {
    /// What a row consists of: features, or tokens.
    type Value: Copy;

    /// The parameters, in their order.
    fn params(&self) -> ParamVector;

    /// The same model with other parameters. Refuses a vector of another length.
    fn with_params(&self, params: &ParamVector) -> Result<Self, ModelError>;

    /// How many parameters there are.
    fn param_count(&self) -> usize;

    /// How many values a row has.
    fn row_len(&self) -> usize;

    /// Refuses values that are not whole rows of what the model reads.
    fn check_rows(&self, rows: &[Self::Value]) -> Result<(), ModelError>;

    /// The logits of `rows`, `n × 1`. Every layer enters `pass` once, in the order of the parameters.
    fn forward(&self, rows: &[Self::Value], pass: &mut Pass) -> Tensor<2>;
}
