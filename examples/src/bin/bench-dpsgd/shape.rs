//! The models that are measured, and what their steps take.

use participant::feature::WIDTH;
use participant::train::ExactNoise;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use shared::task::ModelSpec;
use shared_model::{
    Architecture, Batch, Body, Model, ModelError, PrivateStep, SequenceModel, SequenceSpec, StepSettings, Trainer,
    clipped_gradient_sum, initial_params, plain_gradient,
};
use shared_privacy::noise::GaussianNoise;

use crate::clock::medians;

/// Tokens of the sequence models.
pub(crate) const VOCABULARY: u32 = 256;
/// Their numbers per token, and of the state.
pub(crate) const WIDTH_OF_TOKEN: u32 = 64;
/// Attention heads of the Transformer.
pub(crate) const HEADS: u32 = 4;
const SETTINGS: StepSettings = StepSettings { learning_rate: 1e-3, momentum: 0.9 };

/// What one model's steps take; medians.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) model: String,
    pub(crate) params: usize,
    /// Milliseconds of an ordinary step.
    pub(crate) plain_ms: f64,
    /// Milliseconds of a private step, exact noise included.
    pub(crate) private_ms: f64,
    /// The clipped gradient's time over the ordinary gradient's.
    pub(crate) clipping_ratio: f64,
    /// The private step's time over the ordinary one's.
    pub(crate) step_ratio: f64,
    /// Examples of private steps per second, without noise and with.
    pub(crate) clipped_examples_per_s: f64,
    pub(crate) private_examples_per_s: f64,
}

/// Measures every model.
pub(crate) fn measure_all(batch: u16, steps: u16) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, inputs, hidden) in [("mlp", 78, vec![128, 64]), ("detector", u32::try_from(WIDTH)?, vec![16])] {
        rows.push(measure(name.to_owned(), perceptron(inputs, hidden)?, batch, steps, |rng| {
            rng.random_range(-1.0..1.0)
        })?);
    }
    for (name, body) in [("gru", Body::Gru), ("lstm", Body::Lstm), ("transformer", Body::Transformer { heads: HEADS })]
    {
        for length in [16, 64] {
            let spec =
                SequenceSpec { vocabulary: VOCABULARY, steps: length, width: WIDTH_OF_TOKEN, body: body.clone() };
            let model = SequenceModel::initial(&spec, 1)?;
            rows.push(measure(format!("{name} T={length}"), model, batch, steps, |rng| {
                rng.random_range(0..VOCABULARY)
            })?);
        }
    }
    Ok(rows)
}

fn perceptron(inputs: u32, hidden: Vec<u32>) -> anyhow::Result<Model> {
    let spec = ModelSpec { inputs, hidden };
    Ok(Model::new(&spec, &initial_params(&spec, 1))?)
}

fn measure<M: Architecture + Clone>(
    name: String,
    model: M,
    batch: u16,
    steps: u16,
    value: impl Fn(&mut ChaCha8Rng) -> M::Value,
) -> anyhow::Result<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let rows: Vec<M::Value> = (0..model.row_len() * usize::from(batch)).map(|_| value(&mut rng)).collect();
    let labels: Vec<f32> = (0..batch).map(|_| if rng.next_u32() % 2 == 0 { 0.0 } else { 1.0 }).collect();
    let examples = Batch { rows: &rows, labels: &labels };
    let step = PrivateStep { clip_norm: 1.0, noise_std: 1.0, expected_batch: f64::from(batch) };
    let mut noise = ExactNoise(GaussianNoise::from_os()?);
    let (mut ordinary, mut private) = (Trainer::new(model.clone(), SETTINGS), Trainer::new(model.clone(), SETTINGS));
    let [plain, clipped, plain_ms, private_ms] = medians(
        steps,
        [
            &mut || done(plain_gradient(&model, &examples)),
            &mut || done(clipped_gradient_sum(&model, &examples, step.clip_norm)),
            &mut || done(ordinary.step_plain(&examples)),
            &mut || done(private.step_private(&examples, &step, &mut noise)),
        ],
    )?;
    let per_second = |ms: f64| f64::from(batch) / ms * 1e3;
    Ok(Row {
        model: name,
        params: model.param_count(),
        plain_ms,
        private_ms,
        clipping_ratio: clipped / plain,
        step_ratio: private_ms / plain_ms,
        clipped_examples_per_s: per_second(clipped + plain_ms - plain),
        private_examples_per_s: per_second(private_ms),
    })
}

/// Whether it went well; what came out is of no use.
fn done<T>(result: Result<T, ModelError>) -> anyhow::Result<()> {
    result.map(drop).map_err(anyhow::Error::from)
}
