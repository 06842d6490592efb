//! What was measured, as cells, as one line for each rule, partition and share, and as the default that follows from
//! them. No figure here is known before it is measured; what must be reached is.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use serde::Serialize;

use crate::attack::Attack;
use crate::corpus::Score;
use crate::matrix::{Measured, Peace, Setting};
use crate::partition::Partition;
use crate::vector::count;

/// What a model may lose to an attack where the sites' records are not too unlike.
const LOSS: f64 = 0.01;
/// What it must reach where they are.
const ACCURACY_UNLIKE: f64 = 0.965;
/// Concentration below which they are.
const UNLIKE: f64 = 0.5;
/// What the success of a backdoor may be on average.
pub(crate) const BACKDOOR: f64 = 0.05;
/// The largest share of bad participants, in percent, for which a default is chosen.
const DEFAULT_PERCENT: usize = 20;

/// A partition without an attack.
#[derive(Debug, Serialize)]
pub(crate) struct Reference {
    pub(crate) partition: Partition,
    /// Accuracy of the plain mean.
    pub(crate) clean: f64,
    /// Share of marked attack records that it takes for normal without having been taught to.
    pub(crate) clean_backdoor: f64,
    /// Its accuracy on KDDTest+.
    pub(crate) clean_on_kdd_test: f64,
    /// Accuracy of a model trained on the covering root set alone.
    pub(crate) root_alone: f64,
}

impl Reference {
    /// The accuracy to reach.
    pub(crate) fn required(&self) -> f64 {
        match self.partition {
            Partition::Dirichlet(concentration) if concentration < UNLIKE => ACCURACY_UNLIKE,
            _ => self.clean - LOSS,
        }
    }
}

/// One rule under one attack.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) partition: Partition,
    pub(crate) bad_percent: usize,
    pub(crate) rule: &'static str,
    pub(crate) attack: Attack,
    /// Mean accuracy over the seeds.
    pub(crate) accuracy: f64,
    /// Accuracy of the worst seed.
    pub(crate) worst: f64,
    /// Mean success of the backdoor; `None` for attacks without one.
    pub(crate) backdoor: Option<f64>,
    /// Its success in the worst seed.
    pub(crate) worst_backdoor: Option<f64>,
}

/// One rule under all attacks.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) rule: &'static str,
    pub(crate) partition: Partition,
    pub(crate) bad_percent: usize,
    /// The attack under which the rule is the least accurate on average.
    pub(crate) worst_attack: Attack,
    /// Mean accuracy under that attack.
    pub(crate) accuracy: f64,
    /// Lowest accuracy under any attack and seed.
    pub(crate) worst: f64,
    /// Mean success of the most successful backdoor; `None` where none was tried.
    pub(crate) backdoor: Option<f64>,
    /// Highest success of any backdoor and seed.
    pub(crate) worst_backdoor: Option<f64>,
    /// By how much the goal is missed, in accuracy or in success, whichever is more; at most 0 where it is reached.
    pub(crate) shortfall: f64,
}

/// The rule that misses the goals the least.
#[derive(Debug, Serialize)]
pub(crate) struct Choice {
    pub(crate) rule: &'static str,
    /// Largest shortfall at the shares that count for the choice.
    pub(crate) shortfall: f64,
    /// What it keeps and lets through, for each partition and share, and whether that is enough.
    pub(crate) figures: Vec<String>,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seeds: RangeInclusive<u64>,
    pub(crate) references: Vec<Reference>,
    pub(crate) summaries: Vec<Summary>,
    /// The best of all rules.
    pub(crate) recommended: Option<Choice>,
    /// The best of those that need no root set.
    pub(crate) recommended_without_root: Option<Choice>,
    pub(crate) cells: Vec<Cell>,
}

impl Report {
    /// Sums up what was measured.
    pub(crate) fn new(measured: &Measured, seeds: RangeInclusive<u64>) -> Self {
        let references: Vec<Reference> =
            measured.peace.iter().map(|(partition, peace)| reference(*partition, peace)).collect();
        let cells: Vec<Cell> = measured.settings.iter().map(|(setting, scores)| cell(setting, scores)).collect();
        let summaries = summaries(&cells, &references);
        let rootless: Vec<&str> = measured
            .settings
            .iter()
            .filter(|(setting, _)| setting.rule.root_set.is_none())
            .map(|(setting, _)| setting.rule.name)
            .collect();
        Self {
            seeds,
            recommended: choose(summaries.iter()),
            recommended_without_root: choose(summaries.iter().filter(|summary| rootless.contains(&summary.rule))),
            references,
            summaries,
            cells,
        }
    }
}

fn reference(partition: Partition, peace: &[Peace]) -> Reference {
    let mean = |value: &dyn Fn(&Peace) -> f64| mean(peace.iter().map(value));
    Reference {
        partition,
        clean: mean(&|peace| peace.clean.accuracy),
        clean_backdoor: mean(&|peace| peace.clean.backdoor),
        clean_on_kdd_test: mean(&|peace| peace.clean_on_other),
        root_alone: mean(&|peace| peace.root_alone.accuracy),
    }
}

fn cell(setting: &Setting, scores: &[Score]) -> Cell {
    let successes = scores.iter().map(|score| score.backdoor);
    Cell {
        partition: setting.partition,
        bad_percent: setting.bad_percent,
        rule: setting.rule.name,
        attack: setting.attack,
        accuracy: mean(scores.iter().map(|score| score.accuracy)),
        worst: scores.iter().map(|score| score.accuracy).fold(1.0, f64::min),
        backdoor: setting.attack.has_backdoor().then(|| mean(successes.clone())),
        worst_backdoor: setting.attack.has_backdoor().then(|| successes.fold(0.0, f64::max)),
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let len = count(values.len()).max(1.0);
    values.sum::<f64>() / len
}

/// One summary for each run of cells that differ in nothing but the attack.
fn summaries(cells: &[Cell], references: &[Reference]) -> Vec<Summary> {
    let alike = |a: &Cell, b: &Cell| (a.rule, a.bad_percent, a.partition) == (b.rule, b.bad_percent, b.partition);
    cells.chunk_by(alike).filter_map(|cells| summary(cells, references)).collect()
}

fn summary(cells: &[Cell], references: &[Reference]) -> Option<Summary> {
    let lowest = cells.iter().min_by(|a, b| a.accuracy.total_cmp(&b.accuracy))?;
    let reference = references.iter().find(|reference| reference.partition == lowest.partition)?;
    let backdoor = cells.iter().filter_map(|cell| cell.backdoor).max_by(f64::total_cmp);
    let missed = reference.required() - lowest.accuracy;
    Some(Summary {
        rule: lowest.rule,
        partition: lowest.partition,
        bad_percent: lowest.bad_percent,
        worst_attack: lowest.attack,
        accuracy: lowest.accuracy,
        worst: cells.iter().map(|cell| cell.worst).fold(1.0, f64::min),
        backdoor,
        worst_backdoor: cells.iter().filter_map(|cell| cell.worst_backdoor).max_by(f64::total_cmp),
        shortfall: backdoor.map_or(missed, |success| missed.max(success - BACKDOOR)),
    })
}

/// The rule whose largest shortfall is the smallest.
fn choose<'a>(summaries: impl Iterator<Item = &'a Summary> + Clone) -> Option<Choice> {
    let counted = summaries.clone().filter(|summary| summary.bad_percent <= DEFAULT_PERCENT);
    let shortfall = |rule: &str| {
        let of_rule = counted.clone().filter(|summary| summary.rule == rule);
        of_rule.map(|summary| summary.shortfall).fold(f64::MIN, f64::max)
    };
    let order = |a: &(&str, f64), b: &(&str, f64)| -> Ordering { a.1.total_cmp(&b.1) };
    let (rule, shortfall) = counted.clone().map(|summary| (summary.rule, shortfall(summary.rule))).min_by(order)?;
    let figures = summaries.filter(|summary| summary.rule == rule).map(Summary::line).collect();
    Some(Choice { rule, shortfall, figures })
}

impl Summary {
    fn line(&self) -> String {
        let Self { partition, bad_percent, accuracy, worst_attack, worst, shortfall, .. } = self;
        let backdoor = self.backdoor.map_or(String::new(), |success| format!(", backdoor {success:.3}"));
        let goal = if *shortfall > 0.0 { format!("missed by {shortfall:.4}") } else { "met".to_owned() };
        let attack = worst_attack.name();
        format!(
            "{partition}, {bad_percent} % bad: accuracy {accuracy:.3} under {attack}, worst seed {worst:.3}{backdoor}: {goal}"
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rule::Rule;

    fn peace(accuracy: f64) -> Peace {
        let clean = Score { accuracy, backdoor: 0.02 };
        Peace { clean, clean_on_other: 0.75, root_alone: clean }
    }

    /// Two rules, two attacks, two seeds: the mean is fooled, the rule with a root is not.
    pub(crate) fn report() -> Report {
        let score = |accuracy, backdoor| Score { accuracy, backdoor };
        let setting = |rule, attack, bad_percent| Setting {
            partition: Partition::Iid,
            bad_percent,
            rule: Rule::named(rule).unwrap(),
            attack,
        };
        let mut measured = Measured { peace: vec![(Partition::Iid, vec![peace(0.98), peace(1.0)])], settings: vec![] };
        for bad_percent in [20, 30] {
            measured.settings.extend([
                (setting("mean", Attack::SignFlip, bad_percent), vec![score(0.4, 0.0), score(0.2, 0.0)]),
                (setting("mean", Attack::Backdoor, bad_percent), vec![score(0.99, 0.9), score(0.99, 1.0)]),
                (setting("fltrust", Attack::SignFlip, bad_percent), vec![score(0.99, 0.0), score(0.98, 0.0)]),
                (setting("fltrust", Attack::Backdoor, bad_percent), vec![score(0.99, 0.0), score(0.99, 0.04)]),
            ]);
        }
        measured.settings.last_mut().unwrap().1 = vec![score(0.99, 0.1); 2];
        Report::new(&measured, 1..=2)
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn a_summary_is_the_worst_of_its_cells() {
        let report = report();
        let mean = &report.summaries[0];
        assert_eq!((mean.rule, mean.worst_attack), ("mean", Attack::SignFlip));
        assert!(near(mean.accuracy, 0.3) && near(mean.worst, 0.2));
        assert!(near(mean.backdoor.unwrap(), 0.95) && near(mean.worst_backdoor.unwrap(), 1.0));
        assert!(near(mean.shortfall, 0.9), "the backdoor misses its goal by more than the accuracy");
        assert!(near(report.summaries[1].shortfall, 0.98 - 0.985));
    }

    #[test]
    fn the_recommendation_follows_from_the_table_and_gives_its_figures() {
        let report = report();
        let choice = report.recommended.unwrap();
        assert_eq!(choice.rule, "fltrust");
        assert_eq!(
            choice.figures,
            [
                "iid, 20 % bad: accuracy 0.985 under sign-flip, worst seed 0.980, backdoor 0.020: met",
                "iid, 30 % bad: accuracy 0.985 under sign-flip, worst seed 0.980, backdoor 0.100: missed by 0.0500",
            ]
        );
        assert_eq!(report.recommended_without_root.unwrap().rule, "mean");
    }

    #[test]
    fn what_must_be_reached_depends_on_how_unlike_the_sites_are() {
        let required = |partition, accuracy| reference(partition, &[peace(accuracy)]).required();
        assert!(near(required(Partition::Iid, 0.98), 0.97) && near(required(Partition::Dirichlet(0.5), 0.98), 0.97));
        assert!(near(required(Partition::Dirichlet(0.1), 0.99), 0.965));
    }
}
