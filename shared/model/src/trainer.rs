//! Momentum SGD, with and without differential privacy. A step that fails leaves the trainer as it was.

use shared::ParamVector;
use shared::params::ParamError;

use crate::architecture::Architecture;
use crate::number::nearest_f32;
use crate::{Batch, Model, ModelError, NoiseError, Norms, clipped_gradient_sum, plain_gradient};

/// A source of Gaussian noise.
pub trait Noise {
    /// Adds independent noise of this standard deviation to every value.
    fn add(&mut self, std_dev: f64, values: &mut [f32]) -> Result<(), NoiseError>;
}

/// How far a step goes. As the task's recipe, which is validated with the task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSettings {
    /// Step size.
    pub learning_rate: f64,
    /// Fraction of the previous step kept, in [0, 1).
    pub momentum: f64,
}

/// What makes a step private.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrivateStep {
    /// Every example's gradient is scaled down to this L2 norm.
    pub clip_norm: f64,
    /// Standard deviation of the noise on the sum: noise multiplier × `clip_norm`.
    pub noise_std: f64,
    /// Expected size of a Poisson sample: sampling rate × records. The noised sum is divided by it and not by the actual
    /// size, which would tell whether a record is in the sample.
    pub expected_batch: f64,
}

/// What keeps local training near the others': `proximal · (params − start) + linear` is added to the gradient of every
/// step, after clipping and noise, since none of it comes from records.
///
/// FedProx (Li et al. 2020) is the proximal part alone; FedDyn (Acar et al. 2021) adds −hᵢ and SCAFFOLD (Karimireddy et
/// al. 2020) c − cᵢ as the linear part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalTerm {
    /// How strongly the start pulls, at least 0.
    pub proximal: f64,
    /// A vector of the model's length.
    pub linear: Option<ParamVector>,
}

/// A model in training.
#[derive(Debug, Clone)]
pub struct Trainer<M = Model> {
    model: M,
    settings: StepSettings,
    velocity: Vec<f32>,
    term: LocalTerm,
    start: Vec<f32>,
}

impl<M: Architecture> Trainer<M> {
    /// Starts from `model`, at rest.
    pub fn new(model: M, settings: StepSettings) -> Self {
        let velocity = vec![0.0; model.param_count()];
        Self { model, settings, velocity, term: LocalTerm::default(), start: Vec::new() }
    }

    /// Adds `term` to every step from here on; the model as it is now is the start. Refuses a vector of another length.
    pub fn with_term(mut self, term: LocalTerm) -> Result<Self, ModelError> {
        let expected = self.velocity.len();
        if let Some(found) = term.linear.as_ref().map(ParamVector::len).filter(|found| *found != expected) {
            return Err(ParamError::WrongLength { expected, found }.into());
        }
        self.start = if term.proximal == 0.0 { Vec::new() } else { self.model.params().into_vec() };
        self.term = term;
        Ok(self)
    }

    /// The model as it is now.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model, trained.
    pub fn into_model(self) -> M {
        self.model
    }

    /// One step of DP-SGD (Abadi et al. 2016, "Deep Learning with Differential Privacy", Algorithm 1).
    ///
    /// `batch` is a Poisson sample; an empty one makes a step of pure noise, as the privacy analysis demands. Momentum
    /// works on noised gradients only and costs no privacy.
    pub fn step_private(
        &mut self,
        batch: &Batch<'_, M::Value>,
        step: &PrivateStep,
        noise: &mut dyn Noise,
    ) -> Result<Norms, ModelError> {
        if !(step.expected_batch.is_finite() && step.expected_batch > 0.0) {
            return Err(ModelError::Setting { name: "expected_batch", value: step.expected_batch });
        }
        let (sum, norms) = clipped_gradient_sum(&self.model, batch, step.clip_norm)?;
        let mut gradient = sum.into_vec();
        noise.add(step.noise_std, &mut gradient).map_err(ModelError::Noise)?;
        self.descend(&gradient, 1.0 / step.expected_batch)?;
        Ok(norms)
    }

    /// One ordinary step along the mean gradient; none where the batch is empty.
    pub fn step_plain(&mut self, batch: &Batch<'_, M::Value>) -> Result<(), ModelError> {
        if batch.is_empty() && batch.rows.is_empty() {
            return Ok(());
        }
        let gradient = plain_gradient(&self.model, batch)?;
        self.descend(gradient.as_slice(), 1.0)
    }

    /// `v ← momentum·v + scale·gradient + term`, `params ← params − learning_rate·v`.
    fn descend(&mut self, gradient: &[f32], scale: f64) -> Result<(), ModelError> {
        let [momentum, scale, rate] = [self.settings.momentum, scale, self.settings.learning_rate].map(nearest_f32);
        let params = self.model.params().into_vec();
        let moved = self.velocity.iter().zip(gradient).map(|(velocity, slope)| momentum * velocity + scale * slope);
        let mut velocity: Vec<f32> = moved.collect();
        self.add_term(&params, &mut velocity);
        let params = params.iter().zip(&velocity).map(|(value, velocity)| value - rate * velocity).collect();
        let params = ParamVector::new(params).map_err(|_| ModelError::Diverged)?;
        self.model = self.model.with_params(&params)?;
        self.velocity = velocity;
        Ok(())
    }

    fn add_term(&self, params: &[f32], velocity: &mut [f32]) {
        let proximal = nearest_f32(self.term.proximal);
        for ((velocity, value), start) in velocity.iter_mut().zip(params).zip(&self.start) {
            *velocity += proximal * (value - start);
        }
        let linear = self.term.linear.as_ref().map_or(&[][..], ParamVector::as_slice);
        velocity.iter_mut().zip(linear).for_each(|(velocity, term)| *velocity += term);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Examples, model, random};
    use crate::initial_params;
    use shared::Explain;
    use shared::task::ModelSpec;

    /// Uniform noise of the asked deviation from a seed, and what deviations were asked for.
    struct SeededNoise {
        seed: u8,
        asked: Vec<f64>,
    }

    impl SeededNoise {
        fn new(seed: u8) -> Self {
            Self { seed, asked: Vec::new() }
        }
    }

    impl Noise for SeededNoise {
        fn add(&mut self, std_dev: f64, values: &mut [f32]) -> Result<(), NoiseError> {
            self.seed += 1;
            self.asked.push(std_dev);
            let unit = nearest_f32(std_dev * 3f64.sqrt() / 2.0);
            let drawn = random(values.len(), self.seed);
            values.iter_mut().zip(drawn).for_each(|(value, noise)| *value += unit * noise);
            Ok(())
        }
    }

    struct BrokenNoise;

    impl Noise for BrokenNoise {
        fn add(&mut self, _: f64, _: &mut [f32]) -> Result<(), NoiseError> {
            Err(Box::new(ModelError::Engine("no randomness".to_owned())))
        }
    }

    const SETTINGS: StepSettings = StepSettings { learning_rate: 0.5, momentum: 0.9 };
    const PRIVATE: PrivateStep = PrivateStep { clip_norm: 1.0, noise_std: 0.5, expected_batch: 32.0 };

    #[test]
    fn the_same_seed_trains_the_same_bits() {
        let examples = Examples::random(12, 40, 1);
        let train = |seed| {
            let spec = ModelSpec { inputs: 12, hidden: vec![16, 8] };
            let mut trainer = Trainer::new(Model::new(&spec, &initial_params(&spec, 4)).unwrap(), SETTINGS);
            let mut noise = SeededNoise::new(seed);
            for _ in 0..20 {
                trainer.step_private(&examples.batch(), &PRIVATE, &mut noise).unwrap();
            }
            trainer.into_model().params().to_le_bytes()
        };
        assert_eq!(train(3), train(3));
        assert_ne!(train(3), train(4));
    }

    #[test]
    fn an_empty_sample_makes_a_step_of_pure_noise() {
        let start = model(4, &[3]);
        let settings = StepSettings { learning_rate: 2.0, momentum: 0.0 };
        let mut trainer = Trainer::new(start.clone(), settings);
        let mut noise = SeededNoise::new(8);
        trainer.step_private(&Batch { rows: &[], labels: &[] }, &PRIVATE, &mut noise).unwrap();
        assert_eq!(noise.asked, [PRIVATE.noise_std]);
        let mut drawn = vec![0.0; start.params().len()];
        SeededNoise::new(8).add(PRIVATE.noise_std, &mut drawn).unwrap();
        let moved = trainer.model().params().minus(&start.params()).unwrap();
        for (moved, noise) in moved.as_slice().iter().zip(drawn) {
            assert!((moved + 2.0 * noise / 32.0).abs() < 1e-6);
        }
    }

    #[test]
    fn an_empty_batch_makes_no_plain_step() {
        let examples = Examples::random(4, 8, 1);
        let mut trainer = Trainer::new(model(4, &[3]), SETTINGS);
        trainer.step_plain(&examples.batch()).unwrap();
        let before = trainer.model().params();
        trainer.step_plain(&Batch { rows: &[], labels: &[] }).unwrap();
        assert_eq!(trainer.model().params(), before);
    }

    #[test]
    fn momentum_carries_the_previous_step_on() {
        let examples = Examples::random(4, 8, 2);
        let start = model(4, &[]);
        let mut trainer = Trainer::new(start.clone(), StepSettings { learning_rate: 0.1, momentum: 0.5 });
        let mut params = start.params().into_vec();
        let mut velocity = vec![0.0; params.len()];
        for _ in 0..3 {
            let gradient = plain_gradient(trainer.model(), &examples.batch()).unwrap();
            trainer.step_plain(&examples.batch()).unwrap();
            for ((value, velocity), slope) in params.iter_mut().zip(&mut velocity).zip(gradient.as_slice()) {
                *velocity = 0.5 * *velocity + slope;
                *value -= 0.1 * *velocity;
            }
        }
        for (found, expected) in trainer.model().params().as_slice().iter().zip(params) {
            assert!((found - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn a_local_term_is_added_to_the_gradient_of_every_step_and_never_noised() {
        let start = model(4, &[]);
        let params = start.params().into_vec();
        let linear: Vec<f32> = (1..=5_u8).map(|value| f32::from(value) / 10.0).collect();
        let linear = ParamVector::new(linear).unwrap();
        let term = LocalTerm { proximal: 0.25, linear: Some(linear.clone()) };
        let settings = StepSettings { learning_rate: 0.5, momentum: 0.0 };
        let mut trainer = Trainer::new(start, settings).with_term(term).unwrap();
        // Without noise an empty sample has no gradient: what moves the model is the term alone.
        let silent = PrivateStep { noise_std: 0.0, ..PRIVATE };
        for _ in 0..2 {
            trainer.step_private(&Batch { rows: &[], labels: &[] }, &silent, &mut SeededNoise::new(1)).unwrap();
        }
        let moved = trainer.into_model().params();
        for ((after, before), term) in moved.as_slice().iter().zip(params).zip(linear.as_slice()) {
            let first = -0.5 * term;
            let second = first - 0.5 * (term + 0.25 * first);
            assert!((after - before - second).abs() < 1e-6, "{after} {before} {term}");
        }
    }

    #[test]
    fn a_linear_term_of_another_length_is_refused() {
        let term = LocalTerm { proximal: 0.0, linear: Some(ParamVector::zeros(3)) };
        let refused = Trainer::new(model(4, &[]), SETTINGS).with_term(term).err().unwrap();
        assert_eq!(refused.code(), "params-wrong-length");
    }

    #[test]
    fn both_kinds_of_step_learn_what_no_linear_model_can() {
        let rows = [-1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0];
        let labels = [0.0, 1.0, 1.0, 0.0];
        let batch = Batch { rows: &rows, labels: &labels };
        let spec = ModelSpec { inputs: 2, hidden: vec![16] };
        let start = Model::new(&spec, &initial_params(&spec, 5)).unwrap();
        let mut plain = Trainer::new(start.clone(), SETTINGS);
        let mut private = Trainer::new(start, SETTINGS);
        let step = PrivateStep { clip_norm: 1.0, noise_std: 0.05, expected_batch: 4.0 };
        let mut noise = SeededNoise::new(0);
        for _ in 0..200 {
            plain.step_plain(&batch).unwrap();
            private.step_private(&batch, &step, &mut noise).unwrap();
        }
        for trainer in [plain, private] {
            for (row, label) in rows.chunks(2).zip(labels) {
                let probability = trainer.model().probability(row).unwrap();
                assert!((probability - label).abs() < 0.1, "{row:?}: {probability}");
            }
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_trainer_as_it_was() {
        let examples = Examples::random(4, 8, 3);
        let mut trainer = Trainer::new(model(4, &[3]), StepSettings { learning_rate: 1e38, momentum: 0.9 });
        let before = trainer.clone();
        let huge = PrivateStep { expected_batch: 1e-6, ..PRIVATE };
        let diverged = trainer.step_private(&examples.batch(), &huge, &mut SeededNoise::new(1)).unwrap_err();
        assert_eq!(diverged.code(), "training-diverged");
        let broken = trainer.step_private(&examples.batch(), &PRIVATE, &mut BrokenNoise).unwrap_err();
        assert_eq!(broken.code(), "model-engine");
        for expected_batch in [0.0, -1.0, f64::NAN] {
            let step = PrivateStep { expected_batch, ..PRIVATE };
            let refused = trainer.step_private(&examples.batch(), &step, &mut SeededNoise::new(1)).unwrap_err();
            assert_eq!(refused.code(), "model-setting");
        }
        assert_eq!(trainer.model().params(), before.model().params());
        assert_eq!(trainer.velocity, before.velocity);
    }
}
