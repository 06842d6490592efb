//! Layer normalisation (Ba et al. 2016): each row to mean 0 and variance 1, then scaled and shifted.

use burn::tensor::Tensor;

use crate::ModelError;
use crate::norm::add_row_squares;
use crate::pass::{Pass, Site};
use crate::tensor::values;

/// Added to a row's variance, so that a constant row stays finite.
const EPSILON: f64 = 1e-5;

/// The layer's parameters, `1 × width` each.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    pub(crate) scale: Tensor<2>,
    pub(crate) shift: Tensor<2>,
}

impl LayerNorm {
    /// Of `inputs`, `steps` rows for each example, one after the other.
    pub(crate) fn forward(&self, inputs: Tensor<2>, steps: usize, pass: &mut Pass) -> Tensor<2> {
        let centred = inputs.clone() - inputs.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let normal = centred / (variance + EPSILON).sqrt();
        let scale = pass.param(&self.scale);
        if !pass.clips() {
            return normal * scale + pass.param(&self.shift);
        }
        let [rows, _] = normal.dims();
        let tap = self.shift.clone().repeat_dim(0, rows).autodiff().require_grad();
        pass.tapped(vec![tap.clone()], || Box::new(LayerNormSite { normal: normal.clone().inner(), steps }));
        normal * scale + tap
    }
}

/// An example's gradient by the scale is the sum of `normal ∘ slopes` over its steps; by the shift it is that of the
/// slopes.
#[derive(Debug)]
struct LayerNormSite {
    normal: Tensor<2>,
    steps: usize,
}

impl LayerNormSite {
    fn sum_over_steps(&self, rows: Tensor<2>) -> Tensor<2> {
        let [count, width] = rows.dims();
        rows.reshape([count / self.steps, self.steps, width]).sum_dim(1).reshape([count / self.steps, width])
    }
}

impl Site for LayerNormSite {
    fn add_squared_norms(&self, slopes: &Tensor<2>, sums: &mut [f64]) -> Result<(), ModelError> {
        add_row_squares(self.sum_over_steps(self.normal.clone() * slopes.clone()), sums)?;
        add_row_squares(self.sum_over_steps(slopes.clone()), sums)
    }

    fn gradient(&self, slopes: Tensor<2>) -> Result<Vec<f32>, ModelError> {
        let mut sum = values((self.normal.clone() * slopes.clone()).sum_dim(0))?;
        sum.extend(values(slopes.sum_dim(0))?);
        Ok(sum)
    }
}
