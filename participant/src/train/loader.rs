//! Which records each step of a round sees. Each way is what an accountant relies on: true Poisson samples for DP-SGD,
//! blocks that come round after a whole pass for DP-FTRL. There is no other; shuffled batches of fixed size have no
//! accountant here.

use std::ops::Range;

use rand_chacha::ChaCha20Rng;
use shared::privacy::PrivacyUnit;
use shared::task::{Recipe, TrainingMechanism};

use super::dataset::Dataset;
use super::sampler::{PoissonSampler, Sample};

/// The samples of a round, step after step.
pub(super) enum Loader<'a> {
    /// A coin for each unit and step.
    Poisson { sampler: PoissonSampler<'a>, rate: f64 },
    /// No chance at all.
    Stream(Passes<'a>),
}

impl<'a> Loader<'a> {
    /// The samples of `unit`s that `recipe` trains on; a stream has none but of records.
    pub(super) fn new(recipe: &Recipe, dataset: &'a Dataset, unit: PrivacyUnit) -> Self {
        match recipe.mechanism {
            TrainingMechanism::SampledGaussian | TrainingMechanism::DistributedGaussian { .. } => {
                Self::Poisson { sampler: PoissonSampler::new(dataset, unit), rate: recipe.sampling_rate }
            }
            TrainingMechanism::BandedFtrl { passes, .. } => {
                Self::Stream(Passes::new(dataset, recipe.local_steps / passes.max(1), passes))
            }
        }
    }

    /// The next step's sample; empty once all passes are over.
    pub(super) fn sample(&mut self, rng: &mut ChaCha20Rng) -> Sample {
        match self {
            Self::Poisson { sampler, rate } => sampler.draw(*rate, rng),
            Self::Stream(passes) => passes.next().unwrap_or_default(),
        }
    }

    /// How many records a sample has on average at this rate.
    pub(super) fn expected(&self, rate: f64) -> f64 {
        match self {
            Self::Poisson { sampler, .. } => sampler.expected(rate),
            Self::Stream(passes) => rate * f64::from(passes.dataset.len()),
        }
    }
}

/// Goes over a data set in the order of time, a block a step, again and again.
///
/// A record is in exactly one block, so that it takes part once a pass and `blocks` steps apart: the participations that
/// [`Mechanism::BandedGaussian`](shared::privacy::Mechanism::BandedGaussian) assumes. Which block it is in depends on the
/// number of records, which counts as public, and on nothing else.
#[derive(Debug, Clone)]
pub struct Passes<'a> {
    dataset: &'a Dataset,
    blocks: u32,
    steps: Range<u64>,
}

impl<'a> Passes<'a> {
    /// `passes` passes of `blocks` steps each.
    pub fn new(dataset: &'a Dataset, blocks: u32, passes: u32) -> Self {
        let steps = u64::from(blocks).saturating_mul(passes.into());
        Self { dataset, blocks, steps: 0..steps }
    }
}

impl Iterator for Passes<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        let blocks = u64::from(self.blocks);
        let block = self.steps.next()? % blocks;
        let records = u64::from(self.dataset.len());
        let [from, to] = [block, block + 1].map(|edge| usize::try_from(edge * records / blocks).unwrap_or(usize::MAX));
        Some(self.dataset.block(from..to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(records: u16) -> Dataset {
        let mut dataset = Dataset::new(1);
        (0..records).for_each(|number| dataset.push(&[f32::from(number)], None, 0).unwrap());
        dataset
    }

    #[test]
    fn each_record_takes_part_once_a_pass_and_a_whole_pass_apart() {
        for (records, blocks) in [(100, 7), (7, 7), (3, 7), (64, 1)] {
            let dataset = numbered(records);
            let samples: Vec<Sample> = Passes::new(&dataset, blocks, 3).collect();
            assert_eq!(samples.len(), usize::try_from(3 * blocks).unwrap());
            for record in 0..records {
                let holds = |sample: &Sample| sample.batch().rows.contains(&f32::from(record));
                let steps: Vec<usize> =
                    samples.iter().enumerate().filter(|(_, sample)| holds(sample)).map(|(step, _)| step).collect();
                let apart = steps.windows(2).all(|pair| pair[1] - pair[0] == usize::try_from(blocks).unwrap());
                assert!(steps.len() == 3 && apart, "record {record} of {records} in {blocks}: {steps:?}");
            }
        }
    }

    #[test]
    fn blocks_follow_the_order_of_time_and_differ_by_one_record_at_most() {
        let dataset = numbered(100);
        let samples: Vec<Sample> = Passes::new(&dataset, 7, 1).collect();
        let rows: Vec<f32> = samples.iter().flat_map(|sample| sample.batch().rows.to_vec()).collect();
        assert_eq!(rows, (0..100_u16).map(f32::from).collect::<Vec<_>>());
        assert!(samples.iter().all(|sample| (14..=15).contains(&sample.batch().len())));
    }
}
