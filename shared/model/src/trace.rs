//! What one forward and one backward pass tell of each example, layer by layer.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Gradients, Tensor};

use crate::Batch;
use crate::network::{Network, matrix, take_gradient};

/// What one layer saw of each example, row by row. The example's gradient by the layer's weights is the outer product
/// of its two rows; by the bias it is the row of slopes.
pub(crate) struct Trace {
    /// The layer's inputs, `n × inputs`.
    pub(crate) inputs: Tensor<2>,
    /// The derivatives of each example's loss by the layer's pre-activations, `n × outputs`.
    pub(crate) slopes: Tensor<2>,
}

/// The traces of all layers, from the inputs to the logit.
///
/// Autodiff gives gradients of leaves only, so each pre-activation is tapped by a leaf with a row per example: the bias,
/// repeated. A row enters its own example's pre-activation alone, so its gradient is that example's slope.
pub(crate) fn traces(network: &Network, batch: &Batch<'_>, width: usize) -> Vec<Trace> {
    let mut tapped = Vec::new();
    let logits = network.forward(matrix(batch.rows, width).autodiff(), |layer, inputs| {
        let tap = layer.bias.clone().inner().repeat_dim(0, batch.len()).autodiff().require_grad();
        tapped.push((inputs.clone().inner(), tap.clone()));
        tap
    });
    let mut gradients = backward(logits, batch.labels);
    let trace = |(inputs, tap)| Trace { inputs, slopes: take_gradient(&tap, &mut gradients) };
    tapped.into_iter().map(trace).collect()
}

/// The backward pass of the summed binary cross-entropy, from its derivative by the logits, `σ(z) − y`. Neither
/// overflows, and at `z = 0` it is right where a loss written with `max` and `abs` is not differentiable.
pub(crate) fn backward(logits: Tensor<2>, labels: &[f32]) -> Gradients {
    let residuals = sigmoid(logits.clone().inner()) - matrix(labels, 1);
    (logits * residuals.autodiff()).sum().backward()
}
