//! The one step of a round whose noise the sites of a cohort share: an update on the grid of secure aggregation, and this
//! site's part of the noise.
//!
//! Whatever one unit can move is bounded by [`NoiseShare::sensitivity`]: clipped gradients are added up, scaled, brought
//! into a ball (which moves no two vectors apart) and rounded to the nearest whole steps. Neighbouring data sets have the
//! same records in the same places but for those of one unit, so that all sums without them are the same bits.

use rand_chacha::ChaCha20Rng;
use shared::task::{GRADIENTS_AT_ONCE, NoiseShare};
use shared_model::{Batch, Model, ModelError, clipped_gradient_sum};
use shared_privacy::PrivacyError;
use shared_privacy::distributed::with_noise;

use super::{LocalRound, PoissonSampler, Sample};

impl LocalRound<'_> {
    /// The round's update in whole steps of the grid, **not private** before [`noised`]. `rng` chooses which records of an
    /// entity count. `going_on` is asked every few records; once it answers `false`, the training ends with `None`.
    pub fn on_grid(
        self,
        share: &NoiseShare,
        rng: &mut ChaCha20Rng,
        going_on: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Option<Vec<i64>>, ModelError> {
        let Self { checkpoint, dataset, recipe, unit, .. } = self;
        let sample = PoissonSampler::new(dataset, unit).draw(1.0, rng);
        let sum = gradient_sum(checkpoint, &sample, recipe.clip_norm, &mut || going_on(0))?;
        Ok(sum.map(|sum| rounded(&sum, share)))
    }
}

/// An update with this site's part of the noise, as it goes behind masks. Noise that the ring has no room for, of which
/// there is none but for a chance of less than 10⁻³⁰⁰ a round, is cut off.
pub fn noised(update: &[i64], share: &NoiseShare) -> Result<Vec<i32>, PrivacyError> {
    let (noised, limit) = (with_noise(update, share.std_dev())?, share.limit());
    let within = |value: i64| i32::try_from(value.clamp((-limit).into(), limit.into())).unwrap_or_default();
    Ok(noised.into_iter().map(within).collect())
}

/// The sum of the sample's clipped gradients, in double precision but for runs of [`GRADIENTS_AT_ONCE`].
fn gradient_sum(
    model: &Model,
    sample: &Sample,
    clip_norm: f64,
    going_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Vec<f64>>, ModelError> {
    let inputs = usize::try_from(model.spec().inputs).unwrap_or(usize::MAX);
    let mut sum = vec![0.0; model.spec().param_count()];
    let rows = sample.rows.chunks(GRADIENTS_AT_ONCE.saturating_mul(inputs).max(1));
    for (rows, labels) in rows.zip(sample.labels.chunks(GRADIENTS_AT_ONCE)) {
        if !going_on() {
            return Ok(None);
        }
        let (run, _) = clipped_gradient_sum(model, &Batch { rows, labels }, clip_norm)?;
        sum.iter_mut().zip(run.as_slice()).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    Ok(going_on().then_some(sum))
}

/// A sum of gradients as an update in whole steps.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "no longer than a radius below 2^24")]
fn rounded(sum: &[f64], share: &NoiseShare) -> Vec<i64> {
    let length = share.scale().abs() * sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    let scale = share.scale() * (share.radius() / length).min(1.0);
    sum.iter().map(|value| (value * scale).round() as i64).collect()
}

#[cfg(test)]
mod tests;
