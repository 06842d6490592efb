//! Reference classifiers of token sequences: embedding, a recurrent or attending body, one logit. Refuses tokens beyond
//! the vocabulary and sequences of another length.

mod spec;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use shared::ParamVector;
use shared::params::ParamError;

use crate::ModelError;
use crate::affine::Affine;
use crate::architecture::Architecture;
use crate::attention::Attention;
use crate::batch::CHUNK_ROWS;
use crate::embedding::Embedding;
use crate::gru::Gru;
use crate::layer_norm::LayerNorm;
use crate::lstm::Lstm;
use crate::pass::Pass;
use crate::tensor::{matrix, values};

use spec::Cut;
pub use spec::{Body, MAX_STEPS, SequenceSpec};

/// A sequence classifier with its parameters.
#[derive(Debug, Clone)]
pub struct SequenceModel {
    spec: SequenceSpec,
    params: ParamVector,
    tokens: Embedding,
    layers: Layers,
    head: Affine,
}

#[derive(Debug, Clone)]
enum Layers {
    Gru(Box<Gru>),
    Lstm(Box<Lstm>),
    Transformer(Box<Transformer>),
}

/// One block with its normalisation before each part (Xiong et al. 2020, "On Layer Normalization in the Transformer
/// Architecture"), and learnt positions.
#[derive(Debug, Clone)]
struct Transformer {
    positions: Embedding,
    before_attention: LayerNorm,
    attention: Attention,
    before_perceptron: LayerNorm,
    up: Affine,
    down: Affine,
}

impl SequenceModel {
    /// The model of `spec` with `params`, layer after layer as the forward pass meets them.
    pub fn new(spec: &SequenceSpec, params: &ParamVector) -> Result<Self, ModelError> {
        spec.validate()?;
        let (expected, found) = (spec.param_count(), params.len());
        if found != expected {
            return Err(ParamError::WrongLength { expected, found }.into());
        }
        let mut cut = Cut::new(params.as_slice());
        let tokens = cut.embedding(spec.vocabulary(), spec.width());
        let layers = Layers::cut(spec, &mut cut);
        let head = cut.affine(spec.width(), 1);
        Ok(Self { spec: spec.clone(), params: params.clone(), tokens, layers, head })
    }

    /// A model that has learnt nothing; the same seed gives the same bits.
    pub fn initial(spec: &SequenceSpec, seed: u64) -> Result<Self, ModelError> {
        spec.validate()?;
        Self::new(spec, &spec.initial_params(seed))
    }

    /// The logits of `rows`, sequences of tokens one after the other.
    pub fn logits(&self, rows: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.check_rows(rows)?;
        let chunks = rows.chunks(CHUNK_ROWS * self.row_len());
        let logits = chunks.map(|rows| values(self.forward(rows, &mut Pass::scores())));
        Ok(logits.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

impl SequenceModel {
    /// The embedded tokens, step by step, and a state of zeros.
    fn unrolled(&self, rows: &[u32], pass: &mut Pass) -> (Vec<Tensor<2>>, Tensor<2>) {
        let (steps, width) = (self.spec.steps(), self.spec.width());
        let at = |step| rows.iter().skip(step).step_by(steps).copied().collect();
        let by_step: Vec<Vec<u32>> = (0..steps).map(at).collect();
        let state = matrix(&vec![0.0; rows.len() / steps * width], width);
        (self.tokens.forward(&by_step, rows, pass), pass.constant(state))
    }
}

impl Layers {
    fn cut(spec: &SequenceSpec, cut: &mut Cut<'_>) -> Self {
        let width = spec.width();
        match spec.body {
            Body::Gru => {
                let (gates, candidate) = (cut.affine(2 * width, 2 * width), cut.affine(2 * width, width));
                Self::Gru(Box::new(Gru { gates, candidate }))
            }
            Body::Lstm => Self::Lstm(Box::new(Lstm(cut.affine(2 * width, 4 * width)))),
            Body::Transformer { .. } => Self::Transformer(Box::new(Transformer::cut(spec, cut))),
        }
    }
}

impl Transformer {
    fn cut(spec: &SequenceSpec, cut: &mut Cut<'_>) -> Self {
        let width = spec.width();
        Self {
            positions: cut.embedding(spec.steps(), width),
            before_attention: cut.layer_norm(width),
            attention: Attention {
                query: cut.affine(width, width),
                key: cut.affine(width, width),
                value: cut.affine(width, width),
                output: cut.affine(width, width),
                heads: spec.heads(),
            },
            before_perceptron: cut.layer_norm(width),
            up: cut.affine(width, 2 * width),
            down: cut.affine(2 * width, width),
        }
    }

    /// The mean over the steps of what the block makes of `tokens`, `steps` rows for each example.
    fn forward(&self, tokens: Tensor<2>, steps: usize, pass: &mut Pass) -> Tensor<2> {
        let [rows, width] = tokens.dims();
        let positions: Vec<u32> = (0..).take(steps).collect::<Vec<u32>>().repeat(rows / steps);
        let positions = self.positions.forward(std::slice::from_ref(&positions), &positions, pass);
        let inputs = positions.into_iter().fold(tokens, |sum, positions| sum + positions);
        let normal = self.before_attention.forward(inputs.clone(), steps, pass);
        let mixed = inputs + self.attention.forward(normal, steps, pass);
        let normal = self.before_perceptron.forward(mixed.clone(), steps, pass);
        let up = relu(self.up.forward(normal, steps, pass));
        let outputs = mixed + self.down.forward(up, steps, pass);
        outputs.reshape([rows / steps, steps, width]).mean_dim(1).reshape([rows / steps, width])
    }
}

impl Architecture for SequenceModel {
    type Value = u32;

    fn params(&self) -> ParamVector {
        self.params.clone()
    }

    fn with_params(&self, params: &ParamVector) -> Result<Self, ModelError> {
        Self::new(&self.spec, params)
    }

    fn param_count(&self) -> usize {
        self.params.len()
    }

    fn row_len(&self) -> usize {
        self.spec.steps()
    }

    fn check_rows(&self, rows: &[u32]) -> Result<(), ModelError> {
        let expected = self.spec.steps();
        if !rows.len().is_multiple_of(expected) {
            return Err(ModelError::RowLength { expected, found: rows.len() });
        }
        match rows.iter().position(|token| *token >= self.spec.vocabulary) {
            Some(index) => Err(ModelError::Token { row: index / expected, column: index % expected }),
            None => Ok(()),
        }
    }

    fn forward(&self, rows: &[u32], pass: &mut Pass) -> Tensor<2> {
        let last = match &self.layers {
            Layers::Gru(cell) => {
                let (inputs, state) = self.unrolled(rows, pass);
                cell.forward(inputs, state, pass)
            }
            Layers::Lstm(cell) => {
                let (inputs, state) = self.unrolled(rows, pass);
                cell.forward(inputs, state, pass)
            }
            Layers::Transformer(block) => {
                let tokens = self.tokens.forward(&[rows.to_vec()], rows, pass);
                block.forward(Tensor::cat(tokens, 0), self.spec.steps(), pass)
            }
        };
        self.head.forward(last, 1, pass)
    }
}
