//! The weights that a task's first checkpoint holds. The same seed gives the same bits on every machine.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::ParamVector;
use shared::task::ModelSpec;

use crate::layer::size;
use crate::number::nearest_f32;

/// Weights of a model that has learnt nothing.
///
/// The deep path has the uniform weights of He et al. 2015, "Delving Deep into Rectifiers": variance 2 over a hidden
/// layer's inputs, and 1 over them for the output layer, which no ReLU follows. The linear path and every bias are 0.
/// Uniform and not Gaussian, because a square root is exact to the bit everywhere and a logarithm is not.
///
/// `spec` is one that [`Task::validate`](shared::task::Task::validate) accepts.
pub fn initial_params(spec: &ModelSpec, seed: u64) -> ParamVector {
    let mut rng = rng(seed);
    let mut params = Vec::with_capacity(spec.param_count());
    let mut fan_in = spec.inputs;
    for width in &spec.hidden {
        let weights = size(fan_in).saturating_mul(size(*width));
        params.extend(uniform(&mut rng, 2.0 / f64::from(fan_in)).take(weights));
        params.resize(params.len().saturating_add(size(*width)), 0.0);
        fan_in = *width;
    }
    if !spec.hidden.is_empty() {
        params.extend(uniform(&mut rng, 1.0 / f64::from(fan_in)).take(size(fan_in)));
    }
    params.resize(spec.param_count(), 0.0);
    finite(params)
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    let mut key = [0; 32];
    for (byte, from) in key.iter_mut().zip(seed.to_le_bytes()) {
        *byte = from;
    }
    ChaCha20Rng::from_seed(key)
}

/// Numbers drawn evenly from the interval around 0 with this variance.
pub(crate) fn uniform(rng: &mut ChaCha20Rng, variance: f64) -> impl Iterator<Item = f32> {
    let bound = (3.0 * variance).sqrt();
    std::iter::repeat_with(move || nearest_f32(f64::from(rng.next_u32().cast_signed()) / 2f64.powi(31) * bound))
}

#[expect(clippy::expect_used, reason = "every value is 0, 1 or at most the square root of 6")]
pub(crate) fn finite(params: Vec<f32>) -> ParamVector {
    ParamVector::new(params).expect("bounded weights are finite")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(hidden: &[u32]) -> ModelSpec {
        ModelSpec { inputs: 96, hidden: hidden.to_vec() }
    }

    #[test]
    fn a_seed_gives_these_bits_on_every_machine() {
        let params = initial_params(&spec(&[64, 32]), 7);
        // Computed by hand from the keystream of RFC 8439's block function: word / 2^31 · √(6/96), rounded once.
        let bits: Vec<u32> = params.as_slice().iter().take(4).map(|weight| weight.to_bits()).collect();
        assert_eq!(bits, [3_188_472_002, 1_040_789_637, 1_036_172_892, 1_021_099_361]);
    }

    #[test]
    fn two_seeds_differ_and_one_repeats() {
        assert_eq!(initial_params(&spec(&[8]), 1), initial_params(&spec(&[8]), 1));
        assert_ne!(initial_params(&spec(&[8]), 1), initial_params(&spec(&[8]), 2));
    }

    #[test]
    fn weights_have_the_variance_of_he_and_linear_path_and_biases_are_zero() {
        let params = initial_params(&spec(&[64]), 3);
        let (weights, rest) = params.as_slice().split_at(96 * 64);
        let variance = weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / (96.0 * 64.0);
        assert!((variance * 96.0 / 2.0 - 1.0).abs() < 0.05, "{variance}");
        let (bias, output) = rest.split_at(64);
        let (deep, wide) = output.split_at(64);
        assert!(bias.iter().chain(wide).all(|value| *value == 0.0));
        assert!(deep.iter().all(|weight| *weight != 0.0 && weight.abs() < 0.22));
        assert_eq!(wide.len(), 96 + 1);
    }

    #[test]
    fn a_linear_model_starts_at_zero() {
        assert_eq!(initial_params(&spec(&[]), 3), ParamVector::zeros(97));
    }
}
