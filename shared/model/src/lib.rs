//! The detection model: a wide-and-deep perceptron, its private training step, its scores and the reasons for them.
//!
//! The output layer reads the last hidden layer (deep) beside the raw inputs (wide; Cheng et al. 2016, "Wide & Deep
//! Learning for Recommender Systems"), and hidden layers end in a ReLU.
//!
//! Two kinds of reference networks for sequences of tokens, recurrent and attending, train privately through the same
//! code ([`Architecture`]); no task asks for them yet.
//!
//! Nothing here draws noise, samples batches or reads data: the caller passes a [`Noise`] source and Poisson-sampled
//! batches. Rows, labels and parameters that are not finite are refused, never repaired.

mod affine;
mod architecture;
mod attention;
mod attribution;
mod batch;
mod embedding;
mod error;
#[cfg(test)]
mod fixture;
mod gradient;
mod gru;
mod init;
mod layer;
mod layer_norm;
mod lstm;
mod model;
mod network;
mod norm;
mod number;
mod pass;
mod sequence;
mod tensor;
mod trainer;

pub use architecture::Architecture;
pub use attribution::MAX_STEPS;
pub use batch::Batch;
pub use error::{ModelError, NoiseError};
pub use gradient::{clipped_gradient_sum, plain_gradient};
pub use init::initial_params;
pub use model::Model;
pub use norm::Norms;
pub use pass::Pass;
pub use sequence::{Body, MAX_STEPS as MAX_SEQUENCE, SequenceModel, SequenceSpec};
pub use trainer::{LocalTerm, Noise, PrivateStep, StepSettings, Trainer};
