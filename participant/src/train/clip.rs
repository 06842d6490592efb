//! The clipping norm of a round, step by step: fixed, or following a private quantile of the gradients' norms (Andrew
//! et al. 2021, "Differentially Private Learning with Adaptive Clipping", Algorithm 1).
//!
//! Of the records it learns one count per step, noised before anything depends on it; every norm that follows is
//! post-processing of these counts. It carries nothing from one round to the next.

use shared::privacy::PrivacyUnit;
use shared::task::{AdaptiveClip, Recipe};
use shared_model::{ModelError, Noise, Norms, PrivateStep};

/// How far an adaptive norm may move from where it starts, as a factor.
const MAX_FACTOR: f64 = 1e6;

/// What makes the next step private.
#[derive(Debug)]
pub(super) struct ClipNorm {
    start: f64,
    norm: f64,
    /// Noise deviation of the gradient sum over the clipping norm.
    multiplier: f64,
    expected_batch: f64,
    adaptive: Option<AdaptiveClip>,
}

impl ClipNorm {
    /// The norm that a round with samples of `expected_batch` records starts with; `None` where the recipe adds no noise.
    /// A unit moves the sum by at most the norm for each of its records that count.
    ///
    /// # Errors
    /// An adaptive norm whose counts alone would cost as much as the step may.
    pub(super) fn of(recipe: &Recipe, unit: PrivacyUnit, expected_batch: f64) -> Result<Option<Self>, ModelError> {
        let Some(noise_multiplier) = recipe.noise_multiplier else { return Ok(None) };
        let adaptive = recipe.adaptive_clip;
        let multiplier = match adaptive {
            None => noise_multiplier,
            Some(clip) => clip
                .gradient_multiplier(noise_multiplier)
                .ok_or(ModelError::Setting { name: "count_std", value: clip.count_std })?,
        };
        let multiplier = multiplier * f64::from(unit.records());
        Ok(Some(Self { start: recipe.clip_norm, norm: recipe.clip_norm, multiplier, expected_batch, adaptive }))
    }

    /// The next step's terms.
    pub(super) fn step(&self) -> PrivateStep {
        let noise_std = self.multiplier * self.norm;
        PrivateStep { clip_norm: self.norm, noise_std, expected_batch: self.expected_batch }
    }

    /// Moves an adaptive norm towards its quantile, from how the last step's sample met it.
    pub(super) fn follow(&mut self, norms: &Norms, noise: &mut dyn Noise) -> Result<(), ModelError> {
        let Some(clip) = self.adaptive else { return Ok(()) };
        let mut count = [shifted_count(norms)];
        noise.add(clip.count_std, &mut count).map_err(ModelError::Noise)?;
        let [count] = count.map(f64::from);
        let unclipped = count / self.expected_batch + 0.5;
        let moved = self.norm * (-clip.learning_rate * (unclipped - clip.quantile)).exp();
        self.norm = moved.clamp(self.start / MAX_FACTOR, self.start * MAX_FACTOR);
        Ok(())
    }
}

/// `Σ (b − ½)` over the sample, where b is 1 for an unclipped gradient and else 0: a record changes it by ½ at most.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "half-integers below 2^23 are exact")]
fn shifted_count(norms: &Norms) -> f32 {
    (f64::from(norms.unclipped) - f64::from(norms.examples) / 2.0) as f32
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use shared::local::LocalTraining;
    use shared::task::{ModelSpec, TrainingMechanism};
    use shared_model::{Model, NoiseError, initial_params};
    use shared_privacy::noise::GaussianNoise;

    use super::*;
    use crate::train::{Dataset, ExactNoise, train_round};

    const CLIP: AdaptiveClip = AdaptiveClip { quantile: 0.7, learning_rate: 0.2, count_std: 5.0 };

    fn recipe() -> Recipe {
        Recipe {
            local_steps: 60,
            sampling_rate: 0.5,
            learning_rate: 1e-3,
            momentum: 0.0,
            clip_norm: 0.01,
            adaptive_clip: Some(CLIP),
            local: LocalTraining::Plain,
            mechanism: TrainingMechanism::default(),
            noise_multiplier: Some(2.0),
        }
    }

    /// Keeps what was asked of it, and answers with its own numbers whatever the records were.
    struct Deaf(Vec<(f64, usize)>);

    impl Noise for Deaf {
        fn add(&mut self, std_dev: f64, values: &mut [f32]) -> Result<(), NoiseError> {
            self.0.push((std_dev, values.len()));
            values.fill(0.25);
            Ok(())
        }
    }

    /// Records whose gradients at a model of zeros have the norm of their row and bias, halved.
    fn dataset(records: u16, scale: f32) -> Dataset {
        let mut dataset = Dataset::new(1);
        for record in 0..records {
            dataset.push(&[scale * f32::from(record) / f32::from(records)], None, 0).unwrap();
        }
        dataset
    }

    fn trained_with(dataset: &Dataset, noise: &mut dyn Noise) {
        let spec = ModelSpec { inputs: 1, hidden: Vec::new() };
        let model = Model::new(&spec, &initial_params(&spec, 0)).unwrap();
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        train_round(&model, dataset, &recipe(), &mut rng, noise).unwrap();
    }

    #[test]
    fn the_norm_converges_to_the_quantile() {
        let mut clip = ClipNorm::of(&recipe(), PrivacyUnit::Record, 2000.0 * recipe().sampling_rate).unwrap().unwrap();
        let mut noise = ExactNoise(GaussianNoise::from_seed([1; 32]));
        let mut last = Vec::new();
        for step in 0..300 {
            // A thousand gradients with norms spread evenly over 0 to 8.
            let norm = clip.step().clip_norm;
            let unclipped = (1..=1000_u32).filter(|rank| f64::from(*rank) * 0.008 <= norm).count();
            let unclipped = u32::try_from(unclipped).unwrap();
            clip.follow(&Norms { examples: 1000, unclipped, median: 4.0 }, &mut noise).unwrap();
            if step >= 200 {
                last.push(norm);
            }
        }
        let mean = last.iter().sum::<f64>() / 100.0;
        assert!((mean / (0.7 * 8.0) - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn sum_and_count_together_have_the_noise_multiplier_that_the_accountant_is_told() {
        let mut noise = Deaf(Vec::new());
        trained_with(&dataset(40, 1.0), &mut noise);
        let mut clip = recipe().clip_norm;
        assert_eq!(noise.0.len(), 120);
        for asked in noise.0.chunks(2) {
            let [(sum_std, 2), (count_std, 1)] = asked else { panic!("{asked:?}") };
            // Two Gaussians over sensitivities clip and 1/2 are one of this multiplier: their precisions add.
            let joint = ((sum_std / clip).powi(-2) + (count_std / 0.5).powi(-2)).powf(-0.5);
            assert!((joint - 2.0).abs() < 1e-9, "{joint}");
            let unclipped = 0.25 / 20.0 + 0.5;
            clip *= (-0.2_f64 * (unclipped - 0.7)).exp();
        }
    }

    #[test]
    fn once_the_noised_counts_are_told_the_records_change_nothing_of_the_norms() {
        let asked = |dataset: &Dataset| {
            let mut noise = Deaf(Vec::new());
            trained_with(dataset, &mut noise);
            noise.0
        };
        assert_eq!(asked(&dataset(40, 1.0)), asked(&dataset(40, 1e4)));
    }

    #[test]
    fn a_record_changes_the_count_by_one_half_at_most() {
        let count = |examples, unclipped| shifted_count(&Norms { examples, unclipped, median: 1.0 });
        for (without, with) in [(count(7, 3), count(8, 3)), (count(7, 3), count(8, 4)), (count(0, 0), count(1, 1))] {
            assert_eq!((with - without).abs(), 0.5);
        }
    }

    #[test]
    fn a_fixed_norm_draws_no_noise_and_stays() {
        let fixed = Recipe { adaptive_clip: None, ..recipe() };
        let mut clip = ClipNorm::of(&fixed, PrivacyUnit::Record, 40.0 * fixed.sampling_rate).unwrap().unwrap();
        let mut noise = Deaf(Vec::new());
        clip.follow(&Norms { examples: 9, unclipped: 1, median: 1.0 }, &mut noise).unwrap();
        assert_eq!((clip.step().clip_norm, noise.0.len()), (0.01, 0));
        assert_eq!(clip.step().noise_std, 0.02);
        assert!(
            ClipNorm::of(&Recipe { noise_multiplier: None, ..fixed }, PrivacyUnit::Record, 20.0).unwrap().is_none()
        );
    }

    #[test]
    fn a_count_that_would_cost_too_much_is_refused() {
        let clip = AdaptiveClip { count_std: 1.0, ..CLIP };
        let refused =
            ClipNorm::of(&Recipe { adaptive_clip: Some(clip), ..recipe() }, PrivacyUnit::Record, 20.0).unwrap_err();
        assert!(matches!(refused, ModelError::Setting { name: "count_std", .. }));
    }
}
