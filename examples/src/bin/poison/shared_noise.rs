//! What it is worth that sites share their noise, where nobody attacks and nobody drops out: the production model, trained
//! by the participants' own code over the same records, with noise of each site's own and with noise that a masked sum
//! carries.
//!
//! Masks are left out, since they cancel, and a sum's noise is drawn at once: as many discrete Gaussians as there are sites
//! make one. It follows no seed, so that the last digit moves from run to run. Step sizes were chosen on seed 101, which
//! judges nothing.

use std::fmt;
use std::ops::RangeInclusive;

use anyhow::Context;
use examples::nsl_kdd::Record;
use examples::parallel;
use participant::train::{Dataset, LocalRound};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use serde_json::json;
use shared::ParamVector;
use shared::aggregate::FedAvg;
use shared::local::LocalTraining;
use shared::masking::threshold;
use shared::privacy::{Guarantee, Mechanism};
use shared::task::{ModelSpec, Recipe, Task, TrainingMechanism};
use shared_model::{Model, initial_params};
use shared_privacy::accountant::calibrate_rounds;
use shared_privacy::distributed::with_noise;

use crate::corpus::{Corpus, stream};
use crate::partition::Partition;
use crate::private;
use crate::vector::{count, narrow};

const DELTA: f64 = 1e-6;
const PARTITION: Partition = Partition::Dirichlet(0.5);
const SITES: [usize; 2] = [20, 100];
const EPSILONS: [f64; 3] = [0.25, 0.5, 1.0];
const HIDDEN: u32 = 8;
/// One record of so many is dealt to a site or judges: sites are to be small.
const SHARE: usize = 4;
/// Rounds of one step.
const SHARED_ROUNDS: u32 = 40;
const SHARED_RATE: f64 = 12.0;
/// How many times the mean site's gradients a site's update has room for.
const ROOM: f64 = 4.0;
/// Rounds of five steps.
const OWN_ROUNDS: u32 = 30;
/// Step size times noise multiplier.
const OWN_RATE: f64 = 2.0;

/// Where a record's privacy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Noise {
    /// Each site's own: DP-SGD on samples of 5 %, five steps a round.
    Own,
    /// The sum's: one step a round, on all records.
    Shared,
}

/// What is compared.
#[derive(Debug, Clone, Copy, Serialize)]
struct Terms {
    sites: usize,
    noise: Noise,
    /// Of each record at each site over the whole training.
    epsilon: f64,
    noise_multiplier: f64,
}

/// Accuracy on the records held out, by whose noise it is, how many sites there are and what was promised.
#[derive(Debug, Serialize)]
pub(crate) struct Worth {
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    terms: Terms,
    mean_accuracy: f64,
    /// By seed.
    accuracies: Vec<f64>,
}

/// Trains a federation for each of the terms and seeds.
pub(crate) fn measure(train: &[Record], seeds: RangeInclusive<u64>) -> anyhow::Result<Worth> {
    let train: Vec<Record> = train.iter().step_by(SHARE).cloned().collect();
    let dealt: Vec<(usize, u64)> = SITES.iter().flat_map(|sites| seeds.clone().map(|seed| (*sites, seed))).collect();
    let federations = parallel::on_all_cores(&dealt, |(sites, seed)| Federation::new(&train, *sites, *seed))?;
    let mut rows = Vec::new();
    for (sites, noise) in SITES.into_iter().flat_map(|sites| [(sites, Noise::Own), (sites, Noise::Shared)]) {
        let terms = EPSILONS.map(|epsilon| Terms::new(sites, noise, epsilon));
        let terms = terms.into_iter().collect::<Result<Vec<_>, _>>()?;
        let same = || federations.iter().filter(|federation| federation.sites.len() == sites);
        let cases: Vec<_> = terms.iter().flat_map(|terms| same().map(move |federation| (terms, federation))).collect();
        let accuracies = parallel::on_all_cores(&cases, |(terms, federation)| federation.accuracy(terms))?;
        let by_terms = accuracies.chunks(same().count().max(1));
        rows.extend(terms.iter().zip(by_terms).map(|(terms, accuracies)| Row::new(*terms, accuracies)));
    }
    Ok(Worth { rows })
}

impl Terms {
    fn new(sites: usize, noise: Noise, epsilon: f64) -> anyhow::Result<Self> {
        // Nothing is cheap enough without a multiplier.
        let unbounded = Mechanism::ZeroConcentrated { rho: f64::INFINITY };
        let cost = |multiplier| noise.recipe(1, multiplier).cost_per_round().unwrap_or(unbounded);
        let noise_multiplier = calibrate_rounds(Guarantee { epsilon, delta: DELTA }, noise.rounds(), cost)?;
        Ok(Self { sites, noise, epsilon, noise_multiplier })
    }
}

impl Noise {
    fn rounds(self) -> u32 {
        match self {
            Self::Own => OWN_ROUNDS,
            Self::Shared => SHARED_ROUNDS,
        }
    }

    fn recipe(self, records_per_site: u32, noise_multiplier: f64) -> Recipe {
        let base = Recipe {
            local_steps: 5,
            sampling_rate: 0.05,
            learning_rate: OWN_RATE / noise_multiplier,
            momentum: 0.9,
            clip_norm: 1.0,
            adaptive_clip: None,
            local: LocalTraining::default(),
            mechanism: TrainingMechanism::default(),
            noise_multiplier: Some(noise_multiplier),
        };
        let mechanism = TrainingMechanism::DistributedGaussian { records_per_site };
        let (local_steps, sampling_rate, learning_rate, momentum) = (1, 1.0, SHARED_RATE, 0.0);
        match self {
            Self::Own => base,
            Self::Shared => Recipe { local_steps, sampling_rate, learning_rate, momentum, mechanism, ..base },
        }
    }
}

/// Sites with their records.
struct Federation {
    sites: Vec<Dataset>,
    held_out: Dataset,
    spec: ModelSpec,
    seed: u64,
}

impl Federation {
    fn new(train: &[Record], sites: usize, seed: u64) -> anyhow::Result<Self> {
        let corpus = Corpus::new(train, &[], seed);
        let dealt = corpus.sites(PARTITION, sites, &mut stream(seed, 1));
        let dealt = dealt.context("the records are too few for the sites")?;
        Ok(Self {
            sites: dealt.iter().map(|samples| corpus.dataset(samples)).collect::<Result<_, _>>()?,
            held_out: corpus.dataset(&corpus.held_out())?,
            spec: ModelSpec { inputs: u32::try_from(corpus.width)?, hidden: vec![HIDDEN] },
            seed,
        })
    }

    /// Trains a model and answers the share of the held-out records that it tells rightly.
    fn accuracy(&self, terms: &Terms) -> anyhow::Result<f64> {
        let records: u32 = self.sites.iter().map(Dataset::len).sum();
        let recipe = terms.noise.recipe(records / u32::try_from(self.sites.len())?, terms.noise_multiplier);
        let shared = match terms.noise {
            Noise::Own => None,
            Noise::Shared => Some(self.task(&recipe)?),
        };
        let mut model = Model::new(&self.spec, &initial_params(&self.spec, self.seed))?;
        for round in 0..terms.noise.rounds() {
            let update = match &shared {
                None => self.mean_update(&model, &recipe, round)?,
                Some(task) => self.shared_update(&model, task)?,
            };
            model = Model::new(&self.spec, &model.params().plus(&update)?)?;
        }
        let held_out = self.held_out.scored(&model)?;
        let right = held_out.iter().filter(|scored| (scored.score > 0.0) == scored.attack);
        Ok(count(right.count()) / count(held_out.len()).max(1.0))
    }

    /// The mean of updates that are each private by itself, by the sites' numbers of records.
    fn mean_update(&self, model: &Model, recipe: &Recipe, round: u32) -> anyhow::Result<ParamVector> {
        let mut sum = FedAvg::new(self.spec.param_count());
        for (site, dataset) in self.sites.iter().enumerate() {
            sum.add(dataset.len(), &private::update(model, dataset, recipe, (self.seed, site, round))?)?;
        }
        Ok(sum.finish()?)
    }

    /// What a masked round gives: the mean of the sum of what the sites bring to the grid, noise and all.
    fn shared_update(&self, model: &Model, task: &Task) -> anyhow::Result<ParamVector> {
        let share = task.noise_share()?.context("the task's sites share no noise")?;
        let mut sum = vec![0_i64; self.spec.param_count()];
        for dataset in &self.sites {
            let (recipe, unit) = (&task.recipe, task.privacy.unit);
            let round = LocalRound { checkpoint: model, dataset, recipe, unit, linear: None };
            let values = round.on_grid(&share, &mut ChaCha20Rng::seed_from_u64(self.seed), &mut |_| true)?;
            sum.iter_mut().zip(values.unwrap_or_default()).for_each(|(sum, value)| *sum += value);
        }
        let noised = with_noise(&sum, share.std_dev() * count(self.sites.len()).sqrt())?;
        let words = noised.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>()?;
        let terms = task.secure_aggregation.as_ref().context("the task is not masked")?;
        let mean = terms.mean(&words, self.sites.len());
        Ok(ParamVector::new(mean.into_iter().map(narrow).collect())?)
    }

    /// A task that a coordinator would take, in which as many sites as may do drop out or are corrupt.
    fn task(&self, recipe: &Recipe) -> anyhow::Result<Task> {
        let sites = self.sites.len();
        let cohort: Vec<String> = (0..sites).map(|site| format!("site-{site}")).collect();
        let task: Task = serde_json::from_value(json!({
            "task_id": "shared-noise", "title": "Noise that sites share", "cohort": cohort, "quorum": threshold(sites),
            "rounds": SHARED_ROUNDS, "seed": self.seed, "created_at": "2026-01-01T00:00:00Z",
            "feature_view": {"name": "none", "version": 1, "digest": "0".repeat(64)},
            "model": self.spec, "recipe": recipe,
            "privacy": {"unit": "record", "ceiling": {"epsilon": 1.0, "delta": DELTA}, "evaluation_rho": 1e-4},
            "secure_aggregation": {"clip_norm": 2.0 * ROOM * recipe.learning_rate, "value_bits": 24},
            "deadlines": {"join_ms": 1, "collect_ms": 1, "evaluate_ms": 1},
            "gates": {"min_true_positive_rate": 0.0, "max_false_positive_rate": 1.0}
        }))?;
        task.validate()?;
        Ok(task)
    }
}

impl Row {
    fn new(terms: Terms, accuracies: &[f64]) -> Self {
        let mean_accuracy = accuracies.iter().sum::<f64>() / count(accuracies.len()).max(1.0);
        Self { terms, mean_accuracy, accuracies: accuracies.to_vec() }
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Own => "each site's own",
            Self::Shared => "shared",
        })
    }
}

impl fmt::Display for Worth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "One record of {SHARE}, {PARTITION}, δ = {DELTA:e}, accuracy (lowest)\n")?;
        write!(f, "| sites | noise |")?;
        EPSILONS.iter().try_for_each(|epsilon| write!(f, " ε = {epsilon} |"))?;
        write!(f, "\n|---:|---|")?;
        EPSILONS.iter().try_for_each(|_| write!(f, "---|"))?;
        for rows in self.rows.chunks(EPSILONS.len()) {
            let Some(Row { terms: Terms { sites, noise, .. }, .. }) = rows.first() else { continue };
            write!(f, "\n| {sites} | {noise} |")?;
            for Row { mean_accuracy, accuracies, .. } in rows {
                let lowest = accuracies.iter().copied().fold(1.0, f64::min);
                write!(f, " {mean_accuracy:.3} ({lowest:.3}) |")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shared_privacy::accountant::epsilon;

    use super::*;
    use crate::corpus::tests::records;

    #[test]
    fn sites_learn_what_a_word_tells_also_under_noise_that_they_share() {
        let terms = Terms::new(SITES[0], Noise::Shared, 1.0).unwrap();
        assert!(Federation::new(&records(), SITES[0], 1).unwrap().accuracy(&terms).unwrap() > 0.9);
    }

    #[test]
    fn a_record_spends_the_same_epsilon_whosever_noise_it_is() {
        for noise in [Noise::Own, Noise::Shared] {
            let terms = Terms::new(100, noise, 0.5).unwrap();
            let recipe = noise.recipe(9, terms.noise_multiplier);
            let rounds: Vec<Mechanism> = (0..noise.rounds()).filter_map(|_| recipe.cost_per_round()).collect();
            let spent = epsilon(&rounds, DELTA).unwrap();
            assert!(rounds.len() >= 30 && spent <= 0.5 && spent > 0.49, "{noise}: {spent}");
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_noise_and_number_of_sites() {
        let row =
            |sites, noise, epsilon| Row::new(Terms { sites, noise, epsilon, noise_multiplier: 1.0 }, &[0.5, 0.75]);
        let rows = EPSILONS.map(|epsilon| row(20, Noise::Shared, epsilon)).into();
        let text = Worth { rows }.to_string();
        assert!(text.ends_with("\n| 20 | shared | 0.625 (0.500) | 0.625 (0.500) | 0.625 (0.500) |"), "{text}");
    }
}
