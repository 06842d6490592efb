//! What privacy costs where nobody attacks: the production model, trained by the participants' own code with differential
//! privacy at each site (records are protected from everybody, the coordinator included), over the same records.
//!
//! The settings were chosen on seed 101, which judges nothing.

use std::fmt;

use anyhow::Context;
use examples::nsl_kdd::Record;
use examples::parallel;
use participant::train::{Dataset, ExactNoise, train_round};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;
use shared::ParamVector;
use shared::aggregate::FedAvg;
use shared::local::LocalTraining;
use shared::privacy::Guarantee;
use shared::task::{AdaptiveClip, ModelSpec, Recipe, TrainingMechanism};
use shared_model::{Model, initial_params};
use shared_privacy::accountant::calibrate;
use shared_privacy::noise::GaussianNoise;

use crate::corpus::{Corpus, SITES, stream};
use crate::partition::Partition;
use crate::vector::count;

const ROUNDS: u32 = 60;
const STEPS_PER_ROUND: u32 = 5;
const SAMPLING_RATE: f64 = 0.05;
const DELTA: f64 = 1e-6;
const PARTITION: Partition = Partition::Dirichlet(0.5);
const ADAPTIVE: AdaptiveClip = AdaptiveClip { quantile: 0.5, learning_rate: 0.2, count_std: 14.0 };
/// What is compared: ε (`None` adds no noise) and whether the clipping norm adapts.
const TERMS: [(Option<f64>, bool); 5] =
    [(None, false), (Some(2.0), false), (Some(2.0), true), (Some(1.0), false), (Some(1.0), true)];

/// Accuracy on the records held out, by what was promised.
#[derive(Debug, Serialize)]
pub(crate) struct Utility {
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    /// Of each record at each site over the whole training; `None` without noise.
    epsilon: Option<f64>,
    adaptive_clip: bool,
    noise_multiplier: Option<f64>,
    mean_accuracy: f64,
    /// By seed.
    accuracies: Vec<f64>,
}

/// Trains a federation for each of the terms and seeds.
pub(crate) fn measure(train: &[Record], seeds: std::ops::RangeInclusive<u64>) -> anyhow::Result<Utility> {
    let mut rows = Vec::new();
    for (epsilon, adaptive_clip) in TERMS {
        let recipe = recipe(epsilon, adaptive_clip)?;
        let accuracies =
            seeds.clone().map(|seed| accuracy(train, &recipe, seed)).collect::<anyhow::Result<Vec<_>>>()?;
        let mean_accuracy = accuracies.iter().sum::<f64>() / count(accuracies.len()).max(1.0);
        let noise_multiplier = recipe.noise_multiplier;
        rows.push(Row { epsilon, adaptive_clip, noise_multiplier, mean_accuracy, accuracies });
    }
    Ok(Utility { rows })
}

fn recipe(epsilon: Option<f64>, adaptive_clip: bool) -> anyhow::Result<Recipe> {
    let steps = ROUNDS * STEPS_PER_ROUND;
    let calibrated = |epsilon| calibrate(Guarantee { epsilon, delta: DELTA }, SAMPLING_RATE, steps);
    let noise_multiplier = epsilon.map(calibrated).transpose()?;
    Ok(Recipe {
        local_steps: STEPS_PER_ROUND,
        sampling_rate: SAMPLING_RATE,
        // Clipped gradients are short and want long steps; the noise in a step stays alike at every ε.
        learning_rate: noise_multiplier.map_or(2.0, |noise| 16.0 / noise),
        momentum: 0.9,
        clip_norm: 1.0,
        adaptive_clip: adaptive_clip.then_some(ADAPTIVE),
        local: LocalTraining::default(),
        mechanism: TrainingMechanism::default(),
        noise_multiplier,
    })
}

fn accuracy(train: &[Record], recipe: &Recipe, seed: u64) -> anyhow::Result<f64> {
    let corpus = Corpus::new(train, &[], seed);
    let sites =
        corpus.sites(PARTITION, SITES, &mut stream(seed, 1)).context("the records are too few for the sites")?;
    let sites = sites.iter().map(|samples| corpus.dataset(samples)).collect::<Result<Vec<_>, _>>()?;
    let spec = ModelSpec { inputs: u32::try_from(corpus.width)?, hidden: vec![64] };
    let mut model = Model::new(&spec, &initial_params(&spec, seed))?;
    for round in 0..ROUNDS {
        let updates = parallel::map(&sites, |site, dataset| update(&model, dataset, recipe, (seed, site, round)))?;
        let mut sum = FedAvg::new(spec.param_count());
        sites.iter().zip(&updates).try_for_each(|(site, update)| sum.add(site.len(), update))?;
        model = Model::new(&spec, &model.params().plus(&sum.finish()?)?)?;
    }
    let held_out = corpus.dataset(&corpus.held_out())?;
    let held_out = held_out.scored(&model)?;
    let right = held_out.iter().filter(|scored| (scored.score > 0.0) == scored.attack);
    Ok(count(right.count()) / count(held_out.len()).max(1.0))
}

pub(crate) fn update(
    model: &Model,
    dataset: &Dataset,
    recipe: &Recipe,
    (seed, site, round): (u64, usize, u32),
) -> anyhow::Result<ParamVector> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(u64::try_from(site)? << 32 | u64::from(round));
    let mut noise_seed = [0; 32];
    rng.fill_bytes(&mut noise_seed);
    let mut noise = ExactNoise(GaussianNoise::from_seed(noise_seed));
    Ok(train_round(model, dataset, recipe, &mut rng, &mut noise)?)
}

impl fmt::Display for Utility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = ROUNDS * STEPS_PER_ROUND;
        writeln!(f, "20 sites, {PARTITION}, {steps} steps at sampling rate {SAMPLING_RATE}, δ = {DELTA:e}\n")?;
        write!(f, "{:>8} {:>9} {:>7} {:>9}   lowest to highest", "ε", "clip", "σ", "accuracy")?;
        for row in &self.rows {
            let or_none = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |value| format!("{value:.3}"));
            let clip = if row.adaptive_clip { "adaptive" } else { "fixed" };
            let lowest = row.accuracies.iter().copied().fold(1.0, f64::min);
            let highest = row.accuracies.iter().copied().fold(0.0, f64::max);
            let (epsilon, sigma) = (or_none(row.epsilon), or_none(row.noise_multiplier));
            write!(f, "\n{epsilon:>8} {clip:>9} {sigma:>7} {:>9.4}   {lowest:.4} to {highest:.4}", row.mean_accuracy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shared::privacy::Mechanism;
    use shared_privacy::accountant::epsilon;

    use super::*;
    use crate::corpus::tests::records;

    #[test]
    fn sites_learn_what_a_word_tells() {
        assert!(accuracy(&records(), &recipe(None, false).unwrap(), 1).unwrap() > 0.99);
    }

    #[test]
    fn a_site_spends_its_epsilon_over_the_whole_training_and_no_more() {
        for (target, adaptive_clip) in [(2.0, false), (1.0, true)] {
            let recipe = recipe(Some(target), adaptive_clip).unwrap();
            let rounds: Vec<Mechanism> = (0..ROUNDS).filter_map(|_| recipe.cost_per_round()).collect();
            let spent = epsilon(&rounds, DELTA).unwrap();
            assert!(rounds.len() == 60 && spent <= target && spent > 0.99 * target, "{spent} of {target}");
        }
    }
}
