//! The perceptron as burn tensors: the one forward pass behind training, scores and reasons.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use shared::task::ModelSpec;

use crate::affine::Affine;
use crate::layer::{Layer, split};
use crate::pass::Pass;
use crate::tensor::matrix;

/// A model's layers as tensors. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    hidden: Vec<Affine>,
    output: Affine,
}

impl Network {
    /// The network of `spec` with exactly `spec.param_count()` parameters, outside autodiff.
    pub(crate) fn new(spec: &ModelSpec, params: &[f32]) -> Self {
        let affine = |layer: Layer<'_>| Affine {
            weights: matrix(layer.weights, layer.shape.outputs),
            bias: matrix(layer.bias, layer.shape.outputs),
        };
        let (hidden, output) = split(spec, params);
        Self { hidden: hidden.into_iter().map(affine).collect(), output: affine(output) }
    }

    /// The logits of `rows`, `n × 1`.
    pub(crate) fn forward(&self, rows: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let mut deep = None;
        for layer in &self.hidden {
            let inputs = deep.unwrap_or_else(|| rows.clone());
            deep = Some(relu(layer.forward(inputs, 1, pass)));
        }
        let inputs = match deep {
            Some(deep) => Tensor::cat(vec![deep, rows], 1),
            None => rows,
        };
        self.output.forward(inputs, 1, pass)
    }
}
