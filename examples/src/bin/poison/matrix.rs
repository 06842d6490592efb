//! Which federations are trained, and their training on several threads. What a federation's numbers are depends on its
//! seed and not on the threads.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context;
use examples::nsl_kdd::Record;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::attack::Attack;
use crate::corpus::{Corpus, RootSet, SITES, Score};
use crate::federation::Cohort;
use crate::journal::Journal;
use crate::partition::Partition;
use crate::rule::Rule;

/// What is compared with what.
#[derive(Debug, Serialize)]
pub(crate) struct Matrix {
    pub(crate) partitions: Vec<Partition>,
    /// Shares of bad participants, in percent.
    pub(crate) bad_percents: Vec<usize>,
    pub(crate) rules: Vec<&'static Rule>,
    pub(crate) attacks: Vec<Attack>,
    pub(crate) seeds: RangeInclusive<u64>,
    #[serde(skip)]
    pub(crate) threads: usize,
}

/// One kind of federation, trained once a seed.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Setting {
    pub(crate) partition: Partition,
    pub(crate) bad_percent: usize,
    pub(crate) rule: &'static Rule,
    pub(crate) attack: Attack,
}

/// A partition without an attack, for one seed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Peace {
    /// The plain mean of all.
    pub(crate) clean: Score,
    /// Its accuracy on KDDTest+.
    pub(crate) clean_on_other: f64,
    /// The root participant alone, on the covering root set.
    pub(crate) root_alone: Score,
}

/// What was measured: for each partition and for each setting one value a seed.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) peace: Vec<(Partition, Vec<Peace>)>,
    pub(crate) settings: Vec<(Setting, Vec<Score>)>,
}

impl Matrix {
    /// Trains every federation that `journal` does not know.
    pub(crate) fn measure(&self, train: &[Record], other: &[Record], journal: &Journal) -> anyhow::Result<Measured> {
        let settings = self.settings();
        let mut measured = Measured {
            peace: self.partitions.iter().map(|partition| (*partition, Vec::new())).collect(),
            settings: settings.iter().map(|setting| (*setting, Vec::new())).collect(),
        };
        let per_seed = self.partitions.len().saturating_add(settings.len());
        let bar = progress(per_seed, self.seeds.clone().count(), journal.len());
        for seed in self.seeds.clone() {
            let corpus = Corpus::new(train, other, seed);
            let cohorts: anyhow::Result<Vec<(Partition, Cohort<'_>)>> = self
                .partitions
                .iter()
                .map(|partition| Ok((*partition, Cohort::new(&corpus, *partition, seed)?)))
                .collect();
            let cohorts = cohorts?;
            let peace = spread(self.threads, &cohorts, |(partition, cohort)| {
                journal.get_or(&(seed, partition), || counted(&bar, in_peace(&corpus, cohort)))
            })?;
            measured.peace.iter_mut().zip(peace).for_each(|((_, values), value)| values.push(value));
            let scores = spread(self.threads, &settings, |setting| {
                let (_, cohort) = cohorts
                    .iter()
                    .find(|(partition, _)| *partition == setting.partition)
                    .context("a setting's partition is one of the matrix")?;
                journal.get_or(&(seed, setting), || counted(&bar, setting.score(&corpus, cohort)))
            })?;
            measured.settings.iter_mut().zip(scores).for_each(|((_, values), score)| values.push(score));
        }
        Ok(measured)
    }

    fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for partition in &self.partitions {
            for bad_percent in &self.bad_percents {
                for rule in &self.rules {
                    let of = |attack: &Attack| Setting {
                        partition: *partition,
                        bad_percent: *bad_percent,
                        rule,
                        attack: *attack,
                    };
                    settings.extend(self.attacks.iter().map(of));
                }
            }
        }
        settings
    }
}

impl Setting {
    fn score(&self, corpus: &Corpus, cohort: &Cohort<'_>) -> anyhow::Result<Score> {
        let bad = SITES.saturating_mul(self.bad_percent) / 100;
        Ok(corpus.score(&cohort.train(self.rule, self.attack, bad)?))
    }
}

fn in_peace(corpus: &Corpus, cohort: &Cohort<'_>) -> anyhow::Result<Peace> {
    let clean = cohort.train(Rule::mean(), Attack::None, 0)?;
    let root_alone = cohort.train_root_alone(RootSet::Covering);
    Ok(Peace {
        clean: corpus.score(&clean),
        clean_on_other: corpus.accuracy_on_other(&clean),
        root_alone: corpus.score(&root_alone),
    })
}

/// The work on each of `items`, the results in their order, the next item to whichever thread is free. The first error in
/// the order of threads is the result; a panic is passed on.
fn spread<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let run = || {
        let taken = std::iter::from_fn(|| {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        });
        taken.map(|(index, item)| Ok((index, work(item)?))).collect::<anyhow::Result<Vec<_>>>()
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(run)).collect();
        let joined =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// A bar on standard error where that is a terminal. What was `done` before is counted, and not in the time that is left.
fn progress(per_seed: usize, seeds: usize, done: usize) -> ProgressBar {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(count(per_seed).saturating_mul(count(seeds)));
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} federations, {eta} left") {
        bar.set_style(style);
    }
    bar.set_position(count(done));
    bar.reset_eta();
    bar
}

/// `result`, and one more on the bar.
fn counted<T>(bar: &ProgressBar, result: T) -> T {
    bar.inc(1);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::tests::records;

    #[test]
    fn every_setting_is_scored_once_a_seed_and_alike_on_any_number_of_threads() {
        let measure = |threads| {
            let matrix = Matrix {
                partitions: vec![Partition::Iid],
                bad_percents: vec![10, 20],
                rules: vec![Rule::mean()],
                attacks: vec![Attack::None, Attack::Backdoor],
                seeds: 7..=8,
                threads,
            };
            let measured = matrix.measure(&records(), &records(), &Journal::default()).unwrap();
            measured.settings.into_iter().map(|(_, scores)| scores).collect::<Vec<_>>()
        };
        let alone = measure(1);
        assert_eq!(alone.iter().map(Vec::len).collect::<Vec<_>>(), [2; 4]);
        assert_eq!(alone, measure(3));
    }

    #[test]
    fn an_error_of_any_item_is_the_result() {
        let odd = |n: &usize| if n % 2 == 1 { Ok(*n) } else { anyhow::bail!("even") };
        assert!(spread(2, &[1, 3, 4], odd).is_err());
        assert_eq!(spread(2, &[9, 3, 5], odd).unwrap(), [9, 3, 5]);
    }
}
