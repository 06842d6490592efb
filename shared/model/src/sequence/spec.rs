//! The shape of a sequence classifier, how its parameters lie in one flat vector, and what they start from.

use shared::ParamVector;
use shared::params::MAX_PARAMS;

use crate::ModelError;
use crate::affine::Affine;
use crate::embedding::Embedding;
use crate::init::{finite, rng, uniform};
use crate::layer::size;
use crate::layer_norm::LayerNorm;
use crate::number::count;
use crate::tensor::matrix;

/// The longest sequence.
pub const MAX_STEPS: u32 = 64;

/// What stands between the embedding and the logit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A gated recurrent unit; the last state decides.
    Gru,
    /// A long short-term memory; the last state decides.
    Lstm,
    /// One Transformer block with a perceptron of twice the width; the mean over the steps decides.
    Transformer {
        /// Attention heads; they divide the width.
        heads: u32,
    },
}

/// The shape of a sequence classifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSpec {
    /// How many tokens there are.
    pub vocabulary: u32,
    /// Tokens of a sequence, 1 to [`MAX_STEPS`].
    pub steps: u32,
    /// Numbers per token, and of the state.
    pub width: u32,
    /// What stands between the embedding and the logit.
    pub body: Body,
}

/// One layer's parameters.
enum Shape {
    Embedding { entries: usize, width: usize },
    Affine { inputs: usize, outputs: usize },
    LayerNorm { width: usize },
}

impl SequenceSpec {
    /// How many parameters the model has.
    pub fn param_count(&self) -> usize {
        self.shapes().iter().fold(0, |sum: usize, shape| sum.saturating_add(shape.param_count()))
    }

    /// Refuses sizes of 0, heads that do not divide the width, and models or sequences that are too large.
    pub(super) fn validate(&self) -> Result<(), ModelError> {
        let fits = self.vocabulary > 0
            && (1..=MAX_STEPS).contains(&self.steps)
            && self.width > 0
            && self.width().checked_rem(self.heads()) == Some(0)
            && self.param_count() <= MAX_PARAMS;
        if fits { Ok(()) } else { Err(ModelError::SequenceSpec(self.clone())) }
    }

    /// Uniform weights of variance 1 over a layer's inputs, embeddings of variance 1 over the width, scales of 1 and else
    /// zeros.
    pub(super) fn initial_params(&self, seed: u64) -> ParamVector {
        let mut rng = rng(seed);
        let mut params = Vec::with_capacity(self.param_count());
        for shape in self.shapes() {
            let zeros = match shape {
                Shape::Embedding { entries, width } => {
                    params.extend(uniform(&mut rng, 1.0 / count(width)).take(entries * width));
                    0
                }
                Shape::Affine { inputs, outputs } => {
                    params.extend(uniform(&mut rng, 1.0 / count(inputs)).take(inputs * outputs));
                    outputs
                }
                Shape::LayerNorm { width } => {
                    params.extend(std::iter::repeat_n(1.0, width));
                    width
                }
            };
            params.extend(std::iter::repeat_n(0.0, zeros));
        }
        finite(params)
    }

    /// The layers in the order of the parameter vector, which is that of the forward pass.
    fn shapes(&self) -> Vec<Shape> {
        let width = self.width();
        let affine = |inputs: usize, outputs| Shape::Affine { inputs, outputs };
        let twice = width.saturating_mul(2);
        let mut shapes = vec![Shape::Embedding { entries: self.vocabulary(), width }];
        match self.body {
            Body::Gru => shapes.extend([affine(twice, twice), affine(twice, width)]),
            Body::Lstm => shapes.push(affine(twice, width.saturating_mul(4))),
            Body::Transformer { .. } => {
                shapes.extend([Shape::Embedding { entries: self.steps(), width }, Shape::LayerNorm { width }]);
                shapes.extend((0..4).map(|_| affine(width, width)));
                shapes.extend([Shape::LayerNorm { width }, affine(width, twice), affine(twice, width)]);
            }
        }
        shapes.push(affine(width, 1));
        shapes
    }

    /// How many parameters each weight matrix, bias, table, scale and shift has.
    #[cfg(test)]
    pub(super) fn parts(&self) -> Vec<usize> {
        let parts = |shape: &Shape| match *shape {
            Shape::Embedding { entries, width } => vec![entries * width],
            Shape::Affine { inputs, outputs } => vec![inputs * outputs, outputs],
            Shape::LayerNorm { width } => vec![width, width],
        };
        self.shapes().iter().flat_map(parts).collect()
    }

    /// Attention heads; 1 where nothing attends.
    pub(super) fn heads(&self) -> usize {
        match self.body {
            Body::Transformer { heads } => size(heads),
            Body::Gru | Body::Lstm => 1,
        }
    }

    pub(super) fn vocabulary(&self) -> usize {
        size(self.vocabulary)
    }

    pub(super) fn steps(&self) -> usize {
        size(self.steps)
    }

    pub(super) fn width(&self) -> usize {
        size(self.width)
    }
}

impl Shape {
    fn param_count(&self) -> usize {
        match *self {
            Self::Embedding { entries, width } => entries.saturating_mul(width),
            Self::Affine { inputs, outputs } => inputs.saturating_add(1).saturating_mul(outputs),
            Self::LayerNorm { width } => width.saturating_mul(2),
        }
    }
}

/// Cuts layers off a flat vector, outside autodiff.
pub(super) struct Cut<'a> {
    rest: &'a [f32],
}

impl<'a> Cut<'a> {
    pub(super) fn new(params: &'a [f32]) -> Self {
        Self { rest: params }
    }

    pub(super) fn embedding(&mut self, entries: usize, width: usize) -> Embedding {
        Embedding(matrix(self.take(entries * width), width))
    }

    pub(super) fn affine(&mut self, inputs: usize, outputs: usize) -> Affine {
        let weights = matrix(self.take(inputs * outputs), outputs);
        Affine { weights, bias: matrix(self.take(outputs), outputs) }
    }

    pub(super) fn layer_norm(&mut self, width: usize) -> LayerNorm {
        let scale = matrix(self.take(width), width);
        LayerNorm { scale, shift: matrix(self.take(width), width) }
    }

    fn take(&mut self, len: usize) -> &'a [f32] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}
