//! How a model's parameters lie in one flat vector.
//!
//! Layer after layer, from the inputs to the logit: the weight matrix, one row per layer input, then the bias. The
//! output layer's inputs are the last hidden layer followed by the model's own inputs, so that the rows of its last
//! `inputs` weights are the linear path. Without hidden layers only the linear path and one bias are left.

use shared::task::ModelSpec;

/// The size of one affine layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerShape {
    /// Values in.
    pub(crate) inputs: usize,
    /// Values out.
    pub(crate) outputs: usize,
}

/// One affine layer: `outputs = inputs · weights + bias`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer<'a> {
    /// The layer's size.
    pub(crate) shape: LayerShape,
    /// `inputs × outputs`, row-major.
    pub(crate) weights: &'a [f32],
    /// `outputs` values.
    pub(crate) bias: &'a [f32],
}

impl LayerShape {
    fn weight_count(self) -> usize {
        self.inputs.saturating_mul(self.outputs)
    }
}

/// The hidden layers of `spec`, from the inputs on.
pub(crate) fn hidden_shapes(spec: &ModelSpec) -> Vec<LayerShape> {
    let mut inputs = size(spec.inputs);
    let mut shape = |outputs| {
        let shape = LayerShape { inputs, outputs };
        inputs = outputs;
        shape
    };
    spec.hidden.iter().map(|width| shape(size(*width))).collect()
}

/// The output layer of `spec`.
pub(crate) fn output_shape(spec: &ModelSpec) -> LayerShape {
    let deep = spec.hidden.last().map_or(0, |width| size(*width));
    LayerShape { inputs: deep.saturating_add(size(spec.inputs)), outputs: 1 }
}

/// Cuts `params` into the hidden layers and the output layer of `spec`.
///
/// # Panics
/// If there are fewer than `spec.param_count()` parameters.
pub(crate) fn split<'a>(spec: &ModelSpec, params: &'a [f32]) -> (Vec<Layer<'a>>, Layer<'a>) {
    let mut rest = params;
    let mut cut = |shape: LayerShape| {
        let (weights, after) = rest.split_at(shape.weight_count());
        let (bias, after) = after.split_at(shape.outputs);
        rest = after;
        Layer { shape, weights, bias }
    };
    let hidden = hidden_shapes(spec).into_iter().map(&mut cut).collect();
    (hidden, cut(output_shape(spec)))
}

/// A width of a specification as a length.
pub(crate) fn size(width: u32) -> usize {
    usize::try_from(width).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_use_up_exactly_the_parameters_that_the_specification_counts() {
        for hidden in [vec![], vec![5], vec![7, 1], vec![64, 32, 16]] {
            let spec = ModelSpec { inputs: 9, hidden };
            let params = vec![0.0; spec.param_count()];
            let (layers, output) = split(&spec, &params);
            let sizes = layers.iter().chain([&output]).map(|layer| layer.weights.len() + layer.bias.len());
            assert_eq!(sizes.sum::<usize>(), spec.param_count(), "{spec:?}");
        }
    }
}
