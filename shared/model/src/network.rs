//! The model as burn tensors: the one forward pass behind training, scores and reasons.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use shared::task::ModelSpec;

use crate::ModelError;
use crate::layer::{Layer, split};

/// A model's layers as tensors. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    hidden: Vec<Dense>,
    output: Dense,
}

/// One affine layer.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    /// `inputs × outputs`.
    pub(crate) weights: Tensor<2>,
    /// `1 × outputs`.
    pub(crate) bias: Tensor<2>,
}

impl Network {
    /// The network of `spec` with exactly `spec.param_count()` parameters, outside autodiff.
    pub(crate) fn new(spec: &ModelSpec, params: &[f32]) -> Self {
        let dense = |layer: Layer<'_>| Dense {
            weights: matrix(layer.weights, layer.shape.outputs),
            bias: matrix(layer.bias, layer.shape.outputs),
        };
        let (hidden, output) = split(spec, params);
        Self { hidden: hidden.into_iter().map(dense).collect(), output: dense(output) }
    }

    /// The same network with `change` made to each tensor.
    pub(crate) fn map(&self, change: impl Fn(Tensor<2>) -> Tensor<2>) -> Self {
        let map = |layer: &Dense| Dense { weights: change(layer.weights.clone()), bias: change(layer.bias.clone()) };
        Self { hidden: self.hidden.iter().map(map).collect(), output: map(&self.output) }
    }

    /// The logits of `rows` (`n × inputs`) as `n × 1`.
    ///
    /// `bias_of(layer, inputs)` is what each layer adds to `inputs · weights`: the layer's bias for an ordinary pass.
    pub(crate) fn forward(
        &self,
        rows: Tensor<2>,
        mut bias_of: impl FnMut(&Dense, &Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let mut affine = |layer: &Dense, inputs: Tensor<2>| {
            let bias = bias_of(layer, &inputs);
            inputs.matmul(layer.weights.clone()) + bias
        };
        let deep = self
            .hidden
            .iter()
            .fold(None, |values, layer| Some(relu(affine(layer, values.unwrap_or_else(|| rows.clone())))));
        let inputs = match deep {
            Some(deep) => Tensor::cat(vec![deep, rows], 1),
            None => rows,
        };
        affine(&self.output, inputs)
    }

    /// The layers, from the inputs to the logit.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Dense> {
        self.hidden.iter().chain([&self.output])
    }
}

impl Dense {
    /// The layer's own bias, whatever its inputs: what an ordinary forward pass adds.
    pub(crate) fn own_bias(&self, _inputs: &Tensor<2>) -> Tensor<2> {
        self.bias.clone()
    }
}

/// A row-major slice as a matrix with `columns` columns, outside autodiff.
pub(crate) fn matrix(values: &[f32], columns: usize) -> Tensor<2> {
    let rows = values.len() / columns;
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, columns]), &Device::flex())
}

/// The gradient that `backward` left for `leaf`; zero where the leaf did not matter.
pub(crate) fn take_gradient(leaf: &Tensor<2>, gradients: &mut Gradients) -> Tensor<2> {
    leaf.grad_remove(gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like())
}

/// A matrix as a row-major vector.
pub(crate) fn values(matrix: Tensor<2>) -> Result<Vec<f32>, ModelError> {
    matrix.try_into_vec_as().map_err(|error| ModelError::Engine(error.to_string()))
}
