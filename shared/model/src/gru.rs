//! An unrolled gated recurrent unit (Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder").

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use crate::affine::Affine;
use crate::pass::Pass;

/// The cell's parameters. Both layers read a step's inputs and, after them, the state.
#[derive(Debug, Clone)]
pub(crate) struct Gru {
    /// To the reset gate and the update gate: `(inputs + width) × 2·width`.
    pub(crate) gates: Affine,
    /// To the candidate, from the state times the reset gate: `(inputs + width) × width`.
    pub(crate) candidate: Affine,
}

impl Gru {
    /// The state after the last of the steps, each a row per example.
    pub(crate) fn forward(&self, steps: Vec<Tensor<2>>, state: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let [_, width] = state.dims();
        let (mut gates, mut candidate) = (self.gates.unroll(pass), self.candidate.unroll(pass));
        let last = steps.into_iter().fold(state, |state, inputs| {
            let gate = sigmoid(gates.step(Tensor::cat(vec![inputs.clone(), state.clone()], 1)));
            let (reset, update) = (gate.clone().narrow(1, 0, width), gate.narrow(1, width, width));
            let proposed = candidate.step(Tensor::cat(vec![inputs, reset * state.clone()], 1)).tanh();
            proposed.clone() + update * (state - proposed)
        });
        gates.finish(1, pass);
        candidate.finish(1, pass);
        last
    }
}
