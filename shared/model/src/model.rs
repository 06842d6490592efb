//! The model as a value: its parameters, and the logit they give a row. Refuses parameters of another shape, rows of
//! another width, and rows that are not finite.

use burn::tensor::Tensor;
use shared::ParamVector;
use shared::params::{MAX_PARAMS, ParamError};
use shared::task::ModelSpec;

use crate::ModelError;
use crate::architecture::Architecture;
use crate::batch::{CHUNK_ROWS, check_rows};
use crate::layer::size;
use crate::network::Network;
use crate::pass::Pass;
use crate::tensor::{matrix, values};

/// A wide-and-deep perceptron with its parameters. Threads may share it.
#[derive(Debug, Clone)]
pub struct Model {
    spec: ModelSpec,
    params: ParamVector,
    network: Network,
}

impl Model {
    /// The model of `spec` with `params`, in the order that [`initial_params`](crate::initial_params) gives them: layer
    /// after layer the weight matrix (one row per input), then the bias; the output layer reads the last hidden layer
    /// and, after it, the model's inputs.
    pub fn new(spec: &ModelSpec, params: &ParamVector) -> Result<Self, ModelError> {
        let expected = spec.param_count();
        if spec.inputs == 0 || spec.hidden.contains(&0) || expected > MAX_PARAMS {
            return Err(ModelError::Spec { inputs: spec.inputs, hidden: spec.hidden.clone(), params: expected });
        }
        if params.len() != expected {
            return Err(ParamError::WrongLength { expected, found: params.len() }.into());
        }
        let network = Network::new(spec, params.as_slice());
        Ok(Self { spec: spec.clone(), params: params.clone(), network })
    }

    /// The model's shape.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The model's parameters, bit for bit those it was made of.
    pub fn params(&self) -> ParamVector {
        self.params.clone()
    }

    /// The logits of `rows` (row-major, a multiple of `spec.inputs` values).
    ///
    /// A row's logit depends on the rows beside it and on the processor by a few units in the last place only.
    pub fn logits(&self, rows: &[f32]) -> Result<Vec<f32>, ModelError> {
        let inputs = self.inputs();
        check_rows(rows, inputs)?;
        let mut logits = Vec::with_capacity(rows.len() / inputs);
        for chunk in rows.chunks(CHUNK_ROWS.saturating_mul(inputs)) {
            logits.extend(values(self.network.forward(matrix(chunk, inputs), &mut Pass::scores()))?);
        }
        match logits.iter().position(|logit| !logit.is_finite()) {
            Some(row) => Err(ModelError::Overflow { row }),
            None => Ok(logits),
        }
    }

    /// The probability that one row is an attack.
    pub fn probability(&self, row: &[f32]) -> Result<f32, ModelError> {
        match self.logits(row)?.as_slice() {
            [logit] => Ok(1.0 / (1.0 + (-logit).exp())),
            _ => Err(ModelError::RowLength { expected: self.inputs(), found: row.len() }),
        }
    }

    /// The width of a row.
    pub(crate) fn inputs(&self) -> usize {
        size(self.spec.inputs)
    }

    /// The layers as tensors outside autodiff.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }
}

impl Architecture for Model {
    type Value = f32;

    fn params(&self) -> ParamVector {
        self.params()
    }

    fn with_params(&self, params: &ParamVector) -> Result<Self, ModelError> {
        Self::new(&self.spec, params)
    }

    fn param_count(&self) -> usize {
        self.params.len()
    }

    fn row_len(&self) -> usize {
        self.inputs()
    }

    fn check_rows(&self, rows: &[f32]) -> Result<(), ModelError> {
        check_rows(rows, self.inputs())
    }

    fn forward(&self, rows: &[f32], pass: &mut Pass) -> Tensor<2> {
        let rows = pass.constant(matrix(rows, self.inputs()));
        self.network.forward(rows, pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Examples, model};
    use crate::initial_params;
    use shared::Explain;

    fn spec(inputs: u32, hidden: &[u32]) -> ModelSpec {
        ModelSpec { inputs, hidden: hidden.to_vec() }
    }

    #[test]
    fn parameters_survive_the_model_bit_for_bit() {
        let spec = spec(9, &[7, 5]);
        let params = initial_params(&spec, 1);
        let model = Model::new(&spec, &params).unwrap();
        assert_eq!(model.params().to_le_bytes(), params.to_le_bytes());
    }

    #[test]
    fn the_logit_of_a_small_model_is_what_the_hand_computes() {
        let spec = spec(2, &[2]);
        // Hidden weights by input row, hidden bias, output weights (hidden then inputs), output bias.
        let params = vec![1.0, -1.0, 2.0, 0.5, 0.25, 0.0, 10.0, 100.0, 0.5, -0.5, 3.0];
        let model = Model::new(&spec, &ParamVector::new(params).unwrap()).unwrap();
        // Hidden: 1·1 + 2·2 + 0.25 = 5.25; −1·1 + 0.5·2 = 0.
        assert_eq!(model.logits(&[1.0, 2.0]).unwrap(), [52.5 + 0.5 - 1.0 + 3.0]);
        // Hidden: 1 − 2 + 0.25 < 0; −1 − 0.5 < 0.
        assert_eq!(model.logits(&[1.0, -1.0]).unwrap(), [0.5 + 0.5 + 3.0]);
    }

    #[test]
    fn a_row_scores_the_same_alone_and_in_a_batch_of_several_chunks() {
        let model = model(96, &[64, 32]);
        let examples = Examples::random(96, 2 * CHUNK_ROWS + 3, 5);
        let together = model.logits(&examples.rows).unwrap();
        assert_eq!(together.len(), 2 * CHUNK_ROWS + 3);
        for (row, logit) in examples.rows.chunks(96).zip(together) {
            let alone = model.logits(row).unwrap()[0];
            assert!((alone - logit).abs() < 1e-5 * logit.abs().max(1.0), "{alone} is not {logit}");
        }
        assert!(model.logits(&[]).unwrap().is_empty());
    }

    #[test]
    fn probability_stays_within_zero_and_one() {
        let spec = spec(1, &[]);
        let model = Model::new(&spec, &ParamVector::new(vec![1.0, 0.0]).unwrap()).unwrap();
        for (row, expected) in [(-1e30, 0.0), (0.0, 0.5), (1e30, 1.0)] {
            assert_eq!(model.probability(&[row]).unwrap(), expected);
        }
        assert!(matches!(model.probability(&[0.0, 0.0]), Err(ModelError::RowLength { expected: 1, found: 2 })));
        assert!(matches!(model.probability(&[]), Err(ModelError::RowLength { expected: 1, found: 0 })));
    }

    #[test]
    fn what_is_no_model_or_no_row_is_refused() {
        let zeros = ParamVector::zeros;
        assert!(matches!(Model::new(&spec(0, &[]), &zeros(1)), Err(ModelError::Spec { .. })));
        assert!(matches!(Model::new(&spec(1, &[0]), &zeros(1)), Err(ModelError::Spec { .. })));
        assert!(matches!(Model::new(&spec(u32::MAX, &[u32::MAX]), &zeros(1)), Err(ModelError::Spec { .. })));
        assert_eq!(Model::new(&spec(2, &[]), &zeros(2)).unwrap_err().code(), "params-wrong-length");
        let model = Model::new(&spec(2, &[]), &ParamVector::new(vec![f32::MAX, f32::MAX, 0.0]).unwrap()).unwrap();
        assert!(matches!(model.logits(&[0.0; 3]), Err(ModelError::RowLength { expected: 2, found: 3 })));
        assert!(matches!(model.logits(&[0.0, f32::NAN]), Err(ModelError::InputNotFinite { row: 0, column: 1 })));
        assert!(matches!(model.logits(&[0.0, 0.0, 2.0, 2.0]), Err(ModelError::Overflow { row: 1 })));
    }

    #[test]
    fn a_model_may_be_shared_between_threads() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Model>();
        shareable::<ModelError>();
    }
}
