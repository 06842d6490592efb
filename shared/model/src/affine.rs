//! An affine layer, `outputs = inputs · weights + bias`, over single rows or over the steps of sequences.

use burn::tensor::Tensor;

use crate::ModelError;
use crate::norm::{gram_norms, materialised_norms, row_norms};
use crate::pass::{Pass, Site, by_example};
use crate::tensor::values;

/// The layer's parameters.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    /// `inputs × outputs`.
    pub(crate) weights: Tensor<2>,
    /// `1 × outputs`.
    pub(crate) bias: Tensor<2>,
}

/// The layer within a pass, to be applied once or, unrolled, once per step.
#[derive(Debug)]
pub(crate) struct Unrolled {
    weights: Tensor<2>,
    bias: Tensor<2>,
    clips: bool,
    inputs: Vec<Tensor<2>>,
    taps: Vec<Tensor<2>>,
}

impl Affine {
    /// Of `inputs`, a row per example, or `steps` rows for each, one after the other.
    pub(crate) fn forward(&self, inputs: Tensor<2>, steps: usize, pass: &mut Pass) -> Tensor<2> {
        let mut layer = self.unroll(pass);
        let outputs = layer.step(inputs);
        layer.finish(steps, pass);
        outputs
    }

    /// Enters the pass, to apply the layer step by step.
    pub(crate) fn unroll(&self, pass: &mut Pass) -> Unrolled {
        let weights = pass.param(&self.weights);
        // A tap holds the bias, so that it costs no addition of its own.
        let bias = if pass.clips() { self.bias.clone() } else { pass.param(&self.bias) };
        Unrolled { weights, bias, clips: pass.clips(), inputs: Vec::new(), taps: Vec::new() }
    }
}

impl Unrolled {
    /// Of one step's inputs, a row per example.
    pub(crate) fn step(&mut self, inputs: Tensor<2>) -> Tensor<2> {
        if !self.clips {
            return inputs.matmul(self.weights.clone()) + self.bias.clone();
        }
        let [rows, _] = inputs.dims();
        let tap = self.bias.clone().repeat_dim(0, rows).autodiff().require_grad();
        self.inputs.push(inputs.clone().inner());
        self.taps.push(tap.clone());
        inputs.matmul(self.weights.clone()) + tap
    }

    /// Leaves the pass. `steps` is how many rows each example had in a single step.
    pub(crate) fn finish(self, steps: usize, pass: &mut Pass) {
        let steps = steps * self.inputs.len();
        pass.tapped(self.taps, || Box::new(AffineSite { inputs: by_example(self.inputs), steps }));
    }
}

/// An example's gradient by the weights is `inputsᵀ · slopes` over its steps; by the bias it is the sum of the slopes.
#[derive(Debug)]
struct AffineSite {
    inputs: Tensor<2>,
    steps: usize,
}

impl Site for AffineSite {
    fn add_squared_norms(&self, slopes: &Tensor<2>, sums: &mut [f64]) -> Result<(), ModelError> {
        let ([_, inputs], [_, outputs]) = (self.inputs.dims(), slopes.dims());
        if self.steps == 1 {
            row_norms(&self.inputs, slopes, sums)
        } else if 2 * self.steps * self.steps < inputs * outputs {
            gram_norms(&self.inputs, slopes, self.steps, sums)
        } else {
            materialised_norms(&self.inputs, slopes, self.steps, sums)
        }
    }

    fn gradient(&self, slopes: Tensor<2>) -> Result<Vec<f32>, ModelError> {
        let mut sum = values(self.inputs.clone().transpose().matmul(slopes.clone()))?;
        sum.extend(values(slopes.sum_dim(0))?);
        Ok(sum)
    }
}
