//! Local training: what one participant does between a round's checkpoint and its update.
//!
//! Nothing of the records shapes a private round but the clipped, noised gradients: the sample is a coin per record, or
//! follows from the record's place alone, the number of steps is the recipe's, the noised sum is divided by the expected
//! sample size, and no loss or gradient norm comes out; an adaptive clipping norm is a function of counts noised beside
//! the gradients. The number of records counts as public: a neighbouring data set has a blank in place of a record
//! ("zero-out" adjacency, for which the accountant's Poisson-sampled Gaussian holds; Kairouz et al. 2021, "Practical
//! and Private (Deep) Learning without Sampling or Shuffling", definition 1.1).
//!
//! Where sites share their noise, nothing is private before this site's part of it is added: see [`distributed`].

mod clip;
pub mod correction;
mod dataset;
pub mod distributed;
mod loader;
mod noise;
mod sampler;

pub use dataset::Dataset;
pub use loader::Passes;
pub use noise::ExactNoise;
pub use sampler::{PoissonSampler, Sample};

use rand_chacha::ChaCha20Rng;
use shared::ParamVector;
use shared::local::LocalTraining;
use shared::privacy::PrivacyUnit;
use shared::task::Recipe;
use shared_model::{LocalTerm, Model, ModelError, Noise, StepSettings, Trainer};

use clip::ClipNorm;
use loader::Loader;
use noise::RoundNoise;

/// One round of local training.
pub struct LocalRound<'a> {
    /// Where it starts.
    pub checkpoint: &'a Model,
    /// What it learns from.
    pub dataset: &'a Dataset,
    /// How.
    pub recipe: &'a Recipe,
    /// What the noise protects.
    pub unit: PrivacyUnit,
    /// What is added to the gradient of every step beside what the recipe says; see [`correction::linear`].
    pub linear: Option<ParamVector>,
}

impl LocalRound<'_> {
    /// Trains and returns the model's change: an update, in the clear. `going_on` is told how many steps are done; once it
    /// answers `false`, the training ends with `None`.
    ///
    /// `rng` chooses the samples and `noise` hides the records; for a private update both are seeded by the operating
    /// system and never used twice. Whether the round may be debited at all is asked of the privacy ledger beforehand.
    pub fn run(
        self,
        rng: &mut ChaCha20Rng,
        noise: &mut dyn Noise,
        going_on: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Option<ParamVector>, ModelError> {
        let Self { checkpoint, dataset, recipe, unit, linear } = self;
        let settings = StepSettings { learning_rate: recipe.learning_rate, momentum: recipe.momentum };
        let term = LocalTerm { proximal: proximal(recipe.local), linear };
        let mut trainer = Trainer::new(checkpoint.clone(), settings).with_term(term)?;
        let mut loader = Loader::new(recipe, dataset, unit);
        let mut private = ClipNorm::of(recipe, unit, loader.expected(recipe.sampling_rate))?;
        let noise = RoundNoise::new(recipe.mechanism, noise);
        let mut noise = noise.map_err(|error| ModelError::Noise(Box::new(error)))?;
        for done in 0..recipe.local_steps {
            if !going_on(done) {
                return Ok(None);
            }
            let sample = loader.sample(rng);
            match &mut private {
                Some(clip) => {
                    let norms = trainer.step_private(&sample.batch(), &clip.step(), &mut noise)?;
                    clip.follow(&norms, &mut noise)?;
                }
                None => trainer.step_plain(&sample.batch())?,
            }
        }
        Ok(Some(trainer.into_model().params().minus(&checkpoint.params())?))
    }
}

/// As [`LocalRound::run`], to its end, by record and without a linear term.
pub fn train_round(
    checkpoint: &Model,
    dataset: &Dataset,
    recipe: &Recipe,
    rng: &mut ChaCha20Rng,
    noise: &mut dyn Noise,
) -> Result<ParamVector, ModelError> {
    let round = LocalRound { checkpoint, dataset, recipe, unit: PrivacyUnit::Record, linear: None };
    let change = round.run(rng, noise, &mut |_| true)?;
    Ok(change.unwrap_or_else(|| ParamVector::zeros(checkpoint.spec().param_count())))
}

/// How strongly the checkpoint pulls.
fn proximal(local: LocalTraining) -> f64 {
    match local {
        LocalTraining::FedProx { mu } => mu,
        LocalTraining::FedDyn { alpha } => alpha,
        LocalTraining::Plain | LocalTraining::Scaffold => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;
    use shared::task::{ModelSpec, TrainingMechanism};
    use shared_model::initial_params;
    use shared_privacy::noise::GaussianNoise;

    use super::*;
    use crate::quality::Quality;

    fn linear(inputs: u32) -> Model {
        let spec = ModelSpec { inputs, hidden: Vec::new() };
        Model::new(&spec, &initial_params(&spec, 0)).unwrap()
    }

    /// Attacks lie at (1, 1), the rest at (-1, 1).
    fn separable(records: u32) -> Dataset {
        let mut dataset = Dataset::new(2);
        for record in 0..records {
            let (row, scenario) = if record % 4 == 0 { ([1.0, 1.0], Some("dump")) } else { ([-1.0, 1.0], None) };
            dataset.push(&row, scenario, record.into()).unwrap();
        }
        dataset
    }

    fn recipe(noise_multiplier: Option<f64>) -> Recipe {
        let (learning_rate, momentum) = (0.5, 0.5);
        let (local_steps, local) = (20, LocalTraining::Plain);
        Recipe {
            local_steps,
            sampling_rate: 0.5,
            learning_rate,
            momentum,
            clip_norm: 1.0,
            adaptive_clip: None,
            local,
            mechanism: TrainingMechanism::default(),
            noise_multiplier,
        }
    }

    fn train(dataset: &Dataset, recipe: &Recipe, seed: u8) -> ParamVector {
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let mut noise = ExactNoise(GaussianNoise::from_seed([seed; 32]));
        train_round(&linear(2), dataset, recipe, &mut rng, &mut noise).unwrap()
    }

    fn quality(dataset: &Dataset, update: &ParamVector) -> Quality {
        let start = linear(2);
        let trained = Model::new(start.spec(), &start.params().plus(update).unwrap()).unwrap();
        Quality::measure(&dataset.scored(&trained).unwrap()).unwrap()
    }

    #[test]
    fn a_round_learns_with_and_without_noise() {
        let dataset = separable(400);
        for noise_multiplier in [None, Some(1.0)] {
            let update = train(&dataset, &recipe(noise_multiplier), 1);
            assert!(quality(&dataset, &update).auc > 0.999, "{noise_multiplier:?}");
        }
    }

    #[test]
    fn a_round_learns_without_sampling_too_and_its_noise_is_correlated() {
        let dataset = separable(400);
        let mechanism = TrainingMechanism::BandedFtrl { bands: 10, passes: 2 };
        let banded = Recipe { mechanism, sampling_rate: 0.1, ..recipe(Some(2.0)) };
        assert!(quality(&dataset, &train(&dataset, &banded, 1)).auc > 0.999);
        // All-zero rows move the bias alone: the first coordinate holds the sum of the steps' noise.
        let mut blank = Dataset::new(4000);
        (0..40).for_each(|_| blank.push(&[0.0; 4000], None, 0).unwrap());
        let deviation = |bands| {
            let mechanism = TrainingMechanism::BandedFtrl { bands, passes: 2 };
            let recipe = Recipe { mechanism, momentum: 0.0, ..banded.clone() };
            let mut rng = ChaCha20Rng::from_seed([3; 32]);
            let mut noise = ExactNoise(GaussianNoise::from_seed([3; 32]));
            train_round(&linear(4000), &blank, &recipe, &mut rng, &mut noise).unwrap().l2_norm()
        };
        // One step after the other takes back noise, so that the sum of 20 has a variance of 2.3 and not of 20.
        let (independent, correlated) = (deviation(1), deviation(10));
        assert!(correlated < 0.5 * independent, "{correlated} of {independent}");
    }

    #[test]
    fn a_proximal_pull_keeps_the_model_nearer_to_the_checkpoint_and_an_abandoned_round_has_no_update() {
        let dataset = separable(100);
        let free = train(&dataset, &recipe(Some(1.0)), 1);
        for local in [LocalTraining::FedProx { mu: 1.0 }, LocalTraining::FedDyn { alpha: 1.0 }] {
            let pulled = train(&dataset, &Recipe { local, ..recipe(Some(1.0)) }, 1);
            assert!(pulled.l2_norm() < free.l2_norm(), "{local:?}");
        }
        let (checkpoint, recipe) = (linear(2), recipe(Some(1.0)));
        let unit = PrivacyUnit::Record;
        let round = LocalRound { checkpoint: &checkpoint, dataset: &dataset, recipe: &recipe, unit, linear: None };
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut noise = ExactNoise(GaussianNoise::from_seed([1; 32]));
        assert_eq!(round.run(&mut rng, &mut noise, &mut |done| done < 3).unwrap(), None);
    }

    #[test]
    fn the_seeds_decide_the_update_and_nothing_else_does() {
        let dataset = separable(100);
        let recipe = recipe(Some(1.0));
        assert_eq!(train(&dataset, &recipe, 1), train(&dataset, &recipe, 1));
        assert_ne!(train(&dataset, &recipe, 1), train(&dataset, &recipe, 2));
    }

    #[test]
    fn without_records_a_private_round_is_refused_and_a_plain_one_changes_nothing() {
        let empty = Dataset::new(2);
        let mut noise = ExactNoise(GaussianNoise::from_seed([0; 32]));
        let mut rng = ChaCha20Rng::from_seed([0; 32]);
        let private = train_round(&linear(2), &empty, &recipe(Some(1.0)), &mut rng, &mut noise);
        assert!(matches!(private, Err(ModelError::Setting { name: "expected_batch", .. })));
        let plain = train_round(&linear(2), &empty, &recipe(None), &mut rng, &mut noise).unwrap();
        assert_eq!(plain.l2_norm(), 0.0);
    }

    #[test]
    fn noise_of_a_private_round_has_the_deviation_that_the_accountant_assumes_for_its_unit() {
        // All-zero rows leave a gradient on the bias alone, so that the other coordinates hold pure noise.
        let mut dataset = Dataset::new(4000);
        for record in 0..50 {
            dataset.push(&[0.0; 4000], None, record / 10).unwrap();
        }
        let recipe = Recipe {
            local_steps: 1,
            sampling_rate: 0.4,
            learning_rate: 1.0,
            momentum: 0.0,
            clip_norm: 3.0,
            adaptive_clip: None,
            local: LocalTraining::Plain,
            mechanism: TrainingMechanism::default(),
            noise_multiplier: Some(2.0),
        };
        // Five entities of ten records each, of which four count.
        for (unit, sensitivity, counting) in
            [(PrivacyUnit::Record, 3.0, 50.0), (PrivacyUnit::Entity { max_records: 4 }, 12.0, 20.0)]
        {
            let mut noise = ExactNoise(GaussianNoise::from_seed([9; 32]));
            let mut rng = ChaCha20Rng::from_seed([9; 32]);
            let checkpoint = linear(4000);
            let round = LocalRound { checkpoint: &checkpoint, dataset: &dataset, recipe: &recipe, unit, linear: None };
            let update = round.run(&mut rng, &mut noise, &mut |_| true).unwrap().unwrap();
            let pure = &update.as_slice()[..4000];
            let variance = pure.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / 4000.0;
            let expected = 2.0 * sensitivity / (0.4 * counting);
            // The standard error of the deviation is 1.1 % here.
            assert!((variance.sqrt() / expected - 1.0).abs() < 0.05, "{} against {expected}", variance.sqrt());
        }
    }
}
