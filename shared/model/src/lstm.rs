//! An unrolled long short-term memory (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000).

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use crate::affine::Affine;
use crate::pass::Pass;

/// The cell's parameters: from a step's inputs and, after them, the state to the input, forget and output gates and the
/// candidate, `(inputs + width) × 4·width`.
#[derive(Debug, Clone)]
pub(crate) struct Lstm(pub(crate) Affine);

impl Lstm {
    /// The state after the last of the steps, each a row per example; the memory starts as the state does.
    pub(crate) fn forward(&self, steps: Vec<Tensor<2>>, state: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let [_, width] = state.dims();
        let mut gates = self.0.unroll(pass);
        let memory = state.clone();
        let (last, _) = steps.into_iter().fold((state, memory), |(state, memory), inputs| {
            let gates = gates.step(Tensor::cat(vec![inputs, state], 1));
            let part = |index: usize| gates.clone().narrow(1, index * width, width);
            let memory = sigmoid(part(1)) * memory + sigmoid(part(0)) * part(3).tanh();
            (sigmoid(part(2)) * memory.clone().tanh(), memory)
        });
        gates.finish(1, pass);
        last
    }
}
