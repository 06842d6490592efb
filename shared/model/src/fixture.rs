//! Models and batches for the tests: seeded, and with no parameter at zero.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::ParamVector;
use shared::task::ModelSpec;

use crate::number::nearest_f32;
use crate::{Batch, Model, initial_params};

/// Labelled rows that a [`Batch`] borrows.
pub(crate) struct Examples {
    pub(crate) inputs: usize,
    pub(crate) rows: Vec<f32>,
    pub(crate) labels: Vec<f32>,
}

impl Examples {
    /// `count` rows of values in [−2, 2), whose labels an arbitrary nonlinear rule gives.
    pub(crate) fn random(inputs: u32, count: usize, seed: u8) -> Self {
        let inputs = usize::try_from(inputs).unwrap();
        let rows = random(inputs * count, seed);
        let labels = rows.chunks(inputs).map(|row| f32::from(u8::from(row[0] * row[inputs - 1] > 0.3))).collect();
        Self { inputs, rows, labels }
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { rows: &self.rows, labels: &self.labels }
    }

    /// Each example as a batch of its own.
    pub(crate) fn singles(&self) -> impl Iterator<Item = Batch<'_>> {
        self.rows.chunks(self.inputs).zip(self.labels.chunks(1)).map(|(rows, labels)| Batch { rows, labels })
    }
}

/// A model whose linear path and biases are not zero.
pub(crate) fn model(inputs: u32, hidden: &[u32]) -> Model {
    let spec = ModelSpec { inputs, hidden: hidden.to_vec() };
    let jitter = random(spec.param_count(), 99).into_iter().map(|value| value * 0.1).collect();
    let params = initial_params(&spec, 11).plus(&ParamVector::new(jitter).unwrap()).unwrap();
    Model::new(&spec, &params).unwrap()
}

/// Values in [−2, 2).
pub(crate) fn random(len: usize, seed: u8) -> Vec<f32> {
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    (0..len).map(|_| nearest_f32(f64::from(rng.next_u32().cast_signed()) / 2f64.powi(30))).collect()
}
