//! The rules that are compared, as a task would state them, and what the benchmark tells them. It combines nothing
//! itself: `shared::aggregate` does, as it does for the coordinator.

use anyhow::Context;
use serde::{Serialize, Serializer};
use shared::ParticipantId;
use shared::aggregate::{AggregateError, Rule as Combine};
use shared::aggregate::{Aggregation, Combination, InRange, PreStep, RowMeta, Slices};

use crate::corpus::RootSet;
use crate::vector::{Vector, narrow};

/// A rule under test.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The name, as `--rules` takes it.
    pub(crate) name: &'static str,
    /// What the root participant trains on, under a rule that has one.
    pub(crate) root_set: Option<RootSet>,
    /// The rule when so many of the participants may lie.
    state: fn(u32) -> Statement,
}

/// Rule, step before it.
type Statement = (Combine, Option<PreStep>);

/// Length to which norm bounding and centered clipping clip: about that of an honest update in the middle of training.
const LENGTH: f64 = 0.5;
/// Iterations of the iterative rules.
const ITERATIONS: u32 = 8;
const SMOOTHING: f64 = 1e-6;

const MEAN: Rule = plain("mean", |_| (Combine::Mean, None));

/// All rules. Each is told how many participants are bad; Bulyan at most what 20 participants allow it.
pub(crate) static RULES: [Rule; 15] = [
    MEAN,
    plain("norm-bound", |_| (Combine::NormBound { max_norm: LENGTH }, None)),
    plain("median", |_| (Combine::CoordinateMedian, None)),
    plain("trimmed-mean", |byzantine| (Combine::TrimmedMean { byzantine }, None)),
    plain("nnm-trimmed-mean", |byzantine| {
        (Combine::TrimmedMean { byzantine }, Some(PreStep::NearestNeighbourMixing { byzantine }))
    }),
    plain("krum", |byzantine| (Combine::Krum { byzantine }, None)),
    plain("multi-krum", |byzantine| (Combine::MultiKrum { byzantine, keep: None }, None)),
    plain("bulyan", |byzantine| (Combine::Bulyan { byzantine: byzantine.min(4) }, None)),
    plain("geometric-median", |_| (Combine::GeometricMedian { smoothing: SMOOTHING, iterations: ITERATIONS }, None)),
    plain("centered-clipping", |_| (Combine::CenteredClipping { radius: LENGTH, iterations: ITERATIONS }, None)),
    rooted("fltrust-200", RootSet::Small, |_| (fltrust(false), None)),
    rooted("fltrust", RootSet::Covering, |_| (fltrust(false), None)),
    rooted("fltrust-upper-half", RootSet::Covering, |_| (fltrust(true), None)),
    rooted("root-box", RootSet::Covering, |_| (root_box(), None)),
    rooted("root-box-narrow", RootSet::Narrow, |_| (root_box(), None)),
];

const fn plain(name: &'static str, state: fn(u32) -> Statement) -> Rule {
    Rule { name, root_set: None, state }
}

const fn rooted(name: &'static str, set: RootSet, state: fn(u32) -> Statement) -> Rule {
    Rule { name, root_set: Some(set), state }
}

fn fltrust(keep_upper_half: bool) -> Combine {
    Combine::FlTrust { root: id(ROOT), keep_upper_half }
}

fn root_box() -> Combine {
    Combine::RootBox { root: id(ROOT) }
}

/// Place of the root participant, after all sites.
const ROOT: usize = 999;

#[expect(clippy::expect_used, reason = "the name is well-formed whatever the number")]
fn id(place: usize) -> ParticipantId {
    ParticipantId::new(format!("site-{place:03}")).expect("a well-formed name")
}

/// A rule, ready to combine the rounds of one federation.
pub(crate) struct Combiner {
    aggregation: Aggregation,
}

/// The updates of one round.
pub(crate) struct Round<'a> {
    /// Those of the sites.
    pub(crate) updates: Vec<&'a [f32]>,
    /// That of the root participant.
    pub(crate) root: Option<&'a Vector>,
    /// What the last round was combined to.
    pub(crate) previous: &'a Vector,
    /// Number of the round.
    pub(crate) number: u64,
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl Rule {
    /// The plain mean, against which all others are held.
    pub(crate) fn mean() -> &'static Self {
        const { &MEAN }
    }

    /// The rule of this name.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        let names = || RULES.iter().map(|rule| rule.name).collect::<Vec<_>>().join(", ");
        RULES.iter().find(|rule| rule.name == name).ok_or_else(|| format!("it is none of {}", names()))
    }

    /// The rule, told that `bad` of `sites` may lie. Refuses what the rule cannot bear.
    pub(crate) fn combiner(&self, sites: usize, bad: usize) -> anyhow::Result<Combiner> {
        let (rule, pre) = (self.state)(u32::try_from(bad)?);
        let root = self.root_set.map(|_| ROOT);
        let cohort = (0..sites).chain(root).map(id).collect();
        let aggregation = Aggregation { rule, pre: pre.into_iter().collect(), ..Aggregation::default() };
        let quorum = sites.saturating_add(usize::from(root.is_some()));
        aggregation.validate(quorum, &cohort).with_context(|| format!("the rule `{}`", self.name))?;
        Ok(Combiner { aggregation })
    }
}

impl Combiner {
    /// The change that follows from a round's updates. Updates that intake would refuse are left out. A round that cannot
    /// be combined changes nothing, as an aborted one does.
    pub(crate) fn change(&self, round: &Round<'_>) -> Vector {
        let combined = self.combine(round).unwrap_or_else(|_| vec![0.0; round.previous.len()]);
        combined.into_iter().map(narrow).collect()
    }

    fn combine(&self, round: &Round<'_>) -> Result<Vec<f64>, AggregateError> {
        let admitted = round.updates.iter().copied().filter(|update| InRange::new(update).is_ok());
        let mut rows: Vec<&[f32]> = admitted.collect();
        let mut places: Vec<usize> = (0..rows.len()).collect();
        if let Some(root) = round.root {
            rows.push(root);
            places.push(ROOT);
        }
        let meta: Vec<RowMeta> = places
            .into_iter()
            .map(|place| RowMeta { participant_id: id(place), weight: 1, local_steps: 1.0 })
            .collect();
        if matches!(self.aggregation.rule, Combine::CenteredClipping { .. }) {
            rows.push(round.previous);
        }
        let combination = Combination { aggregation: &self.aggregation, meta: &meta, seed: round.number, threads: 1 };
        combination.to_vec(&Slices::new(rows)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_bears_three_of_ten_and_gives_agreeing_updates_back() {
        let update = vec![0.1, -0.2, 0.2];
        for rule in &RULES {
            assert!(std::ptr::eq(Rule::named(rule.name).unwrap(), rule));
            let combiner = rule.combiner(20, 6).unwrap();
            let root = rule.root_set.map(|_| &update);
            let round = Round { updates: vec![update.as_slice(); 20], root, previous: &vec![0.0; 3], number: 1 };
            for (changed, sent) in combiner.change(&round).iter().zip(&update) {
                assert!((changed - sent).abs() < 1e-4, "{}: {changed} and {sent}", rule.name);
            }
        }
    }

    #[test]
    fn what_intake_refuses_counts_for_nothing() {
        let (good, bad) = (vec![0.5, 0.25], vec![f32::NAN, 1e9]);
        let round = Round { updates: vec![&good, &bad], root: None, previous: &vec![0.0; 2], number: 1 };
        assert_eq!(RULES[0].combiner(2, 0).unwrap().change(&round), good);
        let round = Round { updates: vec![&bad], ..round };
        assert_eq!(RULES[0].combiner(2, 0).unwrap().change(&round), [0.0, 0.0], "an aborted round");
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_there_are() {
        assert!(Rule::named("average").unwrap_err().contains("trimmed-mean"));
    }
}
