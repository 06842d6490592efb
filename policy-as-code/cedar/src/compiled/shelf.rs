//! Rules of one kind, filed by what tells them apart, so that a request meets only those that may fit it.
//!
//! A rule is filed under a text that it demands, such as the asset's owner, only where nothing that is evaluated before
//! may fail: leaving it out then says no more than that it is not satisfied.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use shared::decision::DecisionRequest;

use super::expression::{Bool, Subject, Text};

/// How many rules have to demand something of the same text before that is looked up.
const WORTH_AN_INDEX: usize = 8;

/// What is left of a policy in an environment.
#[derive(PartialEq)]
pub(super) struct Rule {
    /// Which policy.
    policy: usize,
    /// It is satisfied where all of these are true; evaluated in turn.
    conjuncts: Vec<Bool>,
}

/// Rules, filed.
pub(super) struct Shelf {
    unfiled: Vec<Arc<Rule>>,
    indexes: Vec<Index>,
}

/// The rules that demand something of one text, by what they demand.
struct Index {
    text: Text,
    rules: HashMap<Box<str>, Vec<Arc<Rule>>>,
}

impl Rule {
    /// The policy of that number, satisfied under `condition`.
    ///
    /// Of the conjuncts that cannot fail, up to the first that may, the cheap ones come first: in whichever order they are
    /// evaluated, the outcome is the same.
    pub(super) fn new(policy: usize, condition: Bool) -> Self {
        let mut conjuncts = condition.into_conjuncts();
        let certain = conjuncts.iter().take_while(|conjunct| !conjunct.may_fail()).count();
        if let Some(certain) = conjuncts.get_mut(..certain) {
            certain.sort_by_key(|conjunct| !conjunct.is_cheap());
        }
        Self { policy, conjuncts }
    }

    /// Whether evaluating it may end without a value.
    pub(super) fn may_fail(&self) -> bool {
        self.conjuncts.iter().any(Bool::may_fail)
    }

    fn is_satisfied(&self, request: &DecisionRequest) -> Option<bool> {
        for conjunct in &self.conjuncts {
            if !conjunct.value(request)? {
                return Some(false);
            }
        }
        Some(true)
    }

    /// The texts that it demands, each with what they may be.
    fn demands(&self) -> impl Iterator<Item = Demand<'_>> {
        let certain = self.conjuncts.iter().take_while(|conjunct| !conjunct.may_fail());
        certain.filter_map(|conjunct| {
            let (text, values) = conjunct.demand()?;
            Some(Demand { subject: text.subject()?, text, values })
        })
    }
}

/// A text that has to be one of certain values.
struct Demand<'a> {
    subject: Subject<'a>,
    text: &'a Text,
    values: &'a [Box<str>],
}

impl Shelf {
    /// Files `rules`.
    pub(super) fn new(rules: &[Arc<Rule>]) -> Self {
        let census = Census::of(rules);
        let (mut unfiled, mut indexes) = (Vec::new(), BTreeMap::<Subject<'_>, Index>::new());
        for rule in rules {
            match census.rarest(rule) {
                Some(demand) => {
                    indexes.entry(demand.subject).or_insert_with(|| Index::of(demand.text)).file(&demand, rule)
                }
                None => unfiled.push(Arc::clone(rule)),
            }
        }
        Self { unfiled, indexes: indexes.into_values().collect() }
    }

    /// Adds the satisfied policies to `found`; `None` where only Cedar can tell.
    pub(super) fn satisfied(&self, request: &DecisionRequest, found: &mut Vec<usize>) -> Option<()> {
        let filed = self.indexes.iter().filter_map(|index| index.rules.get(index.text.value(request)?)).flatten();
        for rule in self.unfiled.iter().chain(filed) {
            if rule.is_satisfied(request)? {
                found.push(rule.policy);
            }
        }
        Some(())
    }
}

impl Index {
    fn of(text: &Text) -> Self {
        Self { text: text.clone(), rules: HashMap::new() }
    }

    fn file(&mut self, demand: &Demand<'_>, rule: &Arc<Rule>) {
        for value in demand.values {
            self.rules.entry(value.clone()).or_default().push(Arc::clone(rule));
        }
    }
}

/// How many rules demand something of each text, and each value of it.
#[derive(Default)]
struct Census<'a> {
    texts: BTreeMap<Subject<'a>, usize>,
    values: BTreeMap<(Subject<'a>, &'a str), usize>,
}

impl<'a> Census<'a> {
    fn of(rules: &'a [Arc<Rule>]) -> Self {
        let mut census = Self::default();
        for demand in rules.iter().flat_map(|rule| rule.demands()) {
            *census.texts.entry(demand.subject).or_default() += 1;
            for value in demand.values {
                *census.values.entry((demand.subject, value)).or_default() += 1;
            }
        }
        census
    }

    /// The demand by which `rule` is found together with the fewest others, if it is worth an index.
    fn rarest(&self, rule: &'a Rule) -> Option<Demand<'a>> {
        let is_worth =
            |demand: &Demand<'_>| self.texts.get(&demand.subject).is_some_and(|count| *count >= WORTH_AN_INDEX);
        rule.demands().filter(is_worth).min_by_key(|demand| {
            let count = |value: &'a str| self.values.get(&(demand.subject, value)).copied().unwrap_or_default();
            demand.values.iter().map(|value| count(value)).sum::<usize>()
        })
    }
}
