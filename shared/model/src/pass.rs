//! What a forward pass is for: scores, gradients of the parameters, or gradients clipped per example. The layers are
//! written once for all of them.
//!
//! Autodiff gives gradients of leaves only and keeps none of single examples. For clipping the parameters are therefore
//! constants, and each pre-activation is tapped by a leaf with a row per example: a row enters its own example alone, so
//! that its gradient is that example's slope. One forward and one backward pass, and no gradient of a single example is
//! ever formed unless it is the smaller thing to form (see [`Site`]).

use burn::tensor::activation::sigmoid;
use burn::tensor::{Gradients, Tensor};

use crate::ModelError;
use crate::tensor::{matrix, take_gradient, values};

/// One forward pass through a model.
#[derive(Debug)]
pub struct Pass(Purpose);

#[derive(Debug)]
enum Purpose {
    /// Parameters are constants, outside autodiff.
    Scores,
    /// Parameters are constants; gradients reach the inputs.
    Inputs,
    /// Parameters are leaves, in the order of the parameter vector.
    Gradient(Vec<Tensor<2>>),
    /// Parameters are constants and pre-activations are tapped, in the order of the parameter vector.
    Clipping(Vec<Tapped>),
}

/// A layer's parameters as one pass met them.
#[derive(Debug)]
struct Tapped {
    taps: Vec<Tensor<2>>,
    site: Box<dyn Site>,
}

/// What clipping needs of a layer after the forward pass. `slopes` are the derivatives of each example's loss by what was
/// tapped: `examples · T` rows, those of an example one after the other.
pub(crate) trait Site: std::fmt::Debug {
    /// Adds the squared norm of each example's gradient by the layer's parameters to `sums`, one per example.
    fn add_squared_norms(&self, slopes: &Tensor<2>, sums: &mut [f64]) -> Result<(), ModelError>;

    /// The sum over the examples of the gradient by the layer's parameters, flat. It is linear in `slopes`, so that
    /// slopes times a factor per example give the clipped sum (book-keeping).
    fn gradient(&self, slopes: Tensor<2>) -> Result<Vec<f32>, ModelError>;
}

/// A layer's site with its slopes.
pub(crate) struct Trace {
    site: Box<dyn Site>,
    slopes: Tensor<2>,
}

impl Pass {
    pub(crate) fn scores() -> Self {
        Self(Purpose::Scores)
    }

    pub(crate) fn inputs() -> Self {
        Self(Purpose::Inputs)
    }

    pub(crate) fn gradient() -> Self {
        Self(Purpose::Gradient(Vec::new()))
    }

    pub(crate) fn clipping() -> Self {
        Self(Purpose::Clipping(Vec::new()))
    }

    /// Whether pre-activations are tapped.
    pub(crate) fn clips(&self) -> bool {
        matches!(self.0, Purpose::Clipping(_))
    }

    /// A parameter as this pass uses it; each is asked for once, in the order of the parameter vector.
    pub(crate) fn param(&mut self, value: &Tensor<2>) -> Tensor<2> {
        match &mut self.0 {
            Purpose::Scores => value.clone(),
            Purpose::Inputs | Purpose::Clipping(_) => value.clone().autodiff(),
            Purpose::Gradient(leaves) => {
                let leaf = value.clone().autodiff().require_grad();
                leaves.push(leaf.clone());
                leaf
            }
        }
    }

    /// Numbers that are no parameters and need no gradient, as this pass computes with them.
    pub(crate) fn constant(&self, value: Tensor<2>) -> Tensor<2> {
        if matches!(self.0, Purpose::Scores) { value } else { value.autodiff() }
    }

    /// Keeps what clipping needs of a layer; called once per layer, in the order of the parameter vector.
    pub(crate) fn tapped(&mut self, taps: Vec<Tensor<2>>, site: impl FnOnce() -> Box<dyn Site>) {
        if let Purpose::Clipping(tapped) = &mut self.0 {
            tapped.push(Tapped { taps, site: site() });
        }
    }

    /// The gradient of the summed loss by all parameters, flat.
    pub(crate) fn summed_gradient(self, logits: Tensor<2>, labels: &[f32]) -> Result<Vec<f32>, ModelError> {
        let Purpose::Gradient(leaves) = self.0 else { return Ok(Vec::new()) };
        let mut gradients = backward(logits, labels);
        let mut sum = Vec::new();
        for leaf in leaves {
            sum.extend(values(take_gradient(&leaf, &mut gradients))?);
        }
        Ok(sum)
    }

    /// What each layer saw, from the backward pass of the summed loss.
    pub(crate) fn traces(self, logits: Tensor<2>, labels: &[f32]) -> Vec<Trace> {
        let Purpose::Clipping(tapped) = self.0 else { return Vec::new() };
        let mut gradients = backward(logits, labels);
        let mut slopes = |taps: Vec<Tensor<2>>| by_example(taps.iter().map(|tap| take_gradient(tap, &mut gradients)));
        tapped.into_iter().map(|Tapped { taps, site }| Trace { slopes: slopes(taps), site }).collect()
    }
}

impl Trace {
    pub(crate) fn add_squared_norms(&self, sums: &mut [f64]) -> Result<(), ModelError> {
        self.site.add_squared_norms(&self.slopes, sums)
    }

    /// The sum of the examples' gradients, each times its factor.
    pub(crate) fn scaled_sum(self, factors: &[f32]) -> Result<Vec<f32>, ModelError> {
        let [rows, _] = self.slopes.dims();
        let steps = rows / factors.len().max(1);
        let by_row: Vec<f32> = factors.iter().flat_map(|factor| std::iter::repeat_n(*factor, steps)).collect();
        self.site.gradient(self.slopes * matrix(&by_row, 1))
    }
}

/// One matrix of steps (a row per example each) for another: the steps of an example one below the other.
pub(crate) fn by_example(steps: impl IntoIterator<Item = Tensor<2>>) -> Tensor<2> {
    let steps: Vec<Tensor<2>> = steps.into_iter().collect();
    let count = steps.len();
    let wide = Tensor::cat(steps, 1);
    let [rows, width] = wide.dims();
    wide.reshape([rows * count, width / count.max(1)])
}

/// The backward pass of the summed binary cross-entropy, from its derivative by the logits, `σ(z) − y`. Neither
/// overflows, and at `z = 0` it is right where a loss written with `max` and `abs` is not differentiable.
fn backward(logits: Tensor<2>, labels: &[f32]) -> Gradients {
    let residuals = sigmoid(logits.clone().inner()) - matrix(labels, 1);
    (logits * residuals.autodiff()).sum().backward()
}
