//! Multi-head self-attention (Vaswani et al. 2017, "Attention Is All You Need", section 3.2), every step to every step.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use crate::affine::Affine;
use crate::number::count;
use crate::pass::Pass;

/// The layer's projections, `width × width` each.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    pub(crate) query: Affine,
    pub(crate) key: Affine,
    pub(crate) value: Affine,
    pub(crate) output: Affine,
    /// Divides the width.
    pub(crate) heads: usize,
}

impl Attention {
    /// Of `inputs`, `steps` rows for each example, one after the other.
    pub(crate) fn forward(&self, inputs: Tensor<2>, steps: usize, pass: &mut Pass) -> Tensor<2> {
        let [rows, width] = inputs.dims();
        let head = width / self.heads;
        let mut project = |layer: &Affine| {
            let rows_of_heads = layer.forward(inputs.clone(), steps, pass);
            rows_of_heads.reshape([rows / steps, steps, self.heads, head]).swap_dims(1, 2)
        };
        let [query, key, value] = [&self.query, &self.key, &self.value].map(&mut project);
        // Divided before the product, whose entries are the many.
        let scores: Tensor<4> = (query / count(head).sqrt()).matmul(key.swap_dims(2, 3));
        let mixed = softmax(scores, 3).matmul(value).swap_dims(1, 2).reshape([rows, width]);
        self.output.forward(mixed, steps, pass)
    }
}
