//! Canaries: records that are in a site's data set or not, each by a fair coin, and the scores by which an auditor guesses
//! which were. The coins, the canaries and the scores are all that the audit adds to a site's training.

use examples::nsl_kdd::{Row, data_set};
use participant::train::Dataset;
use rand::RngExt;
use shared::task::ModelSpec;
use shared_model::{Batch, Model, ModelError, clipped_gradient_sum, initial_params};

use crate::guess::{Evidence, evidence};
use crate::random::stream;
use crate::training::{self, CLIP_NORM, DELTA, Defect};

/// Value of a canary's own feature: its gradient is clipped as long as the model is not sure of it.
const SIGNAL: f32 = 20.0;
/// How far a clipped gradient moves the model: little enough that no canary is learnt before training ends.
const REACH: f64 = 1e-4;

/// Canaries of one audit and what the coins said of each.
pub(crate) struct Trial {
    canaries: Vec<Row>,
    included: Vec<bool>,
    dataset: Dataset,
    start: Model,
}

impl Trial {
    /// Tosses the coins of as many canaries and adds those that are in to `rows`. Each has a feature of its own beside
    /// those of the rows: without hidden layers, the gradient of one is a single coordinate (a Dirac canary; Nasr et al.
    /// 2023), which nothing but noise can hide.
    pub(crate) fn new(rows: &[Row], canaries: usize, hidden: Vec<u32>, seed: u64) -> Result<Self, ModelError> {
        let mut coins = stream(seed, 1);
        let included: Vec<bool> = (0..canaries).map(|_| coins.random_bool(0.5)).collect();
        let inputs = rows.first().map_or(0, |row| row.features.len());
        let width = inputs.saturating_add(canaries);
        let canaries: Vec<Row> = (inputs..width).map(|own| canary(own, width)).collect();
        let tossed = canaries.iter().zip(&included).filter(|(_, included)| **included).map(|(canary, _)| canary);
        let widened: Vec<Row> = rows.iter().map(|row| widened(row, width)).collect();
        let dataset = data_set(width, widened.iter().chain(tossed))?;
        let spec = ModelSpec { inputs: u32::try_from(width).unwrap_or(u32::MAX), hidden };
        let start = Model::new(&spec, &initial_params(&spec, seed))?;
        Ok(Self { canaries, included, dataset, start })
    }

    /// What who sees updates proves of training with `noise_multiplier` and `defect`: scores are inner products of the
    /// updates' sum with the canaries' gradients.
    pub(crate) fn white_box(&self, noise_multiplier: f64, defect: Defect, seed: u8) -> Result<Evidence, ModelError> {
        let trained = self.train(noise_multiplier, defect, seed)?;
        let update = trained.params().minus(&self.start.params())?;
        let score = |canary: &Row| {
            let batch = Batch { rows: &canary.features, labels: &[1.0] };
            let (gradient, _) = clipped_gradient_sum(&self.start, &batch, CLIP_NORM)?;
            let products = update.as_slice().iter().zip(gradient.as_slice());
            Ok(-products.map(|(moved, slope)| f64::from(*moved) * f64::from(*slope)).sum::<f64>())
        };
        self.evidence(score)
    }

    /// What who may ask the trained model proves: scores are the canaries' logits, which fall as their losses rise, beside
    /// what they were before training.
    pub(crate) fn black_box(&self, noise_multiplier: f64, defect: Defect, seed: u8) -> Result<Evidence, ModelError> {
        let trained = self.train(noise_multiplier, defect, seed)?;
        self.evidence(|canary| Ok(logit(&trained, canary)? - logit(&self.start, canary)?))
    }

    fn train(&self, noise_multiplier: f64, defect: Defect, seed: u8) -> Result<Model, ModelError> {
        let recipe = training::recipe(&self.dataset, REACH, noise_multiplier);
        training::train(&self.start, &self.dataset, &recipe, &mut training::noise(defect, seed), seed)
    }

    fn evidence(&self, score: impl Fn(&Row) -> Result<f64, ModelError>) -> Result<Evidence, ModelError> {
        let scores: Vec<f64> = self.canaries.iter().map(score).collect::<Result<_, _>>()?;
        Ok(evidence(&scores, &self.included, DELTA))
    }
}

/// A record that is nothing but its own feature.
fn canary(own: usize, width: usize) -> Row {
    let features = (0..width).map(|feature| if feature == own { SIGNAL } else { 0.0 }).collect();
    Row { features, attack: true }
}

/// A record that has no canary's feature.
fn widened(row: &Row, width: usize) -> Row {
    let mut features = row.features.clone();
    features.resize(width, 0.0);
    Row { features, attack: row.attack }
}

fn logit(model: &Model, row: &Row) -> Result<f64, ModelError> {
    Ok(model.logits(&row.features)?.into_iter().map(f64::from).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::rows;
    use crate::training::noise_multiplier;

    fn proved(defect: Defect, claim: f64) -> [f64; 2] {
        let trial = Trial::new(&rows(100), 400, Vec::new(), 3).unwrap();
        let noise_multiplier = noise_multiplier(claim).unwrap();
        let white_box = trial.white_box(noise_multiplier, defect, 5).unwrap();
        let black_box = trial.black_box(noise_multiplier, defect, 5).unwrap();
        [white_box.epsilon, black_box.epsilon]
    }

    #[test]
    fn training_as_it_is_passes_the_audit() {
        for claim in [1.0, 4.0] {
            let [white_box, black_box] = proved(Defect::None, claim);
            assert!(white_box <= claim && black_box <= claim, "{white_box} and {black_box} of {claim}");
        }
    }

    #[test]
    fn an_audit_finds_noise_that_is_missing_or_a_tenth_of_what_was_claimed() {
        for defect in [Defect::NoNoise, Defect::TenthOfNoise] {
            for epsilon in proved(defect, 1.0) {
                assert!(epsilon > 1.5, "{defect:?}: {epsilon}");
            }
        }
    }

    #[test]
    fn every_canary_is_in_by_a_coin_of_its_own_and_only_then_in_the_data_set() {
        let trial = Trial::new(&rows(100), 200, vec![4], 1).unwrap();
        let included = trial.included.iter().filter(|included| **included).count();
        assert!((70..130).contains(&included), "{included}");
        assert_eq!(usize::try_from(trial.dataset.len()).unwrap(), 100 + included);
        assert_ne!(trial.included, Trial::new(&rows(100), 200, vec![4], 2).unwrap().included);
    }
}
