//! All tests of a policy set, read once: what they cover, and which mutants of the policies they notice.
//!
//! It keeps the policies as they are; a mutant is tried on a copy.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Authorizer, Effect, Policy, PolicyId, PolicySet, Schema};

use crate::mutant::{Mutant, Mutants};
use crate::policies::Policies;
use crate::test_file::Test;
use crate::{CedarError, Place, Source, TestOutcome};

/// The tests of a policy set.
pub struct TestSuite {
    schema: Schema,
    policies: PolicySet,
    authorizer: Authorizer,
    places: BTreeMap<String, Place>,
    tests: Vec<Test>,
    /// By policy, what it does to each test.
    reactions: BTreeMap<String, Vec<Reaction>>,
}

/// How far tests touch a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The policy's id.
    pub id: String,
    /// Where it stands.
    pub place: Place,
    /// How many tests it decided.
    pub decided: usize,
    /// How many tests it was satisfied in, also where another policy decided.
    pub satisfied: usize,
}

/// A test by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestName {
    /// The file it stands in.
    pub file: String,
    /// What it is called there.
    pub name: String,
}

/// What a policy, asked alone, does to a test's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    Nothing,
    Satisfied(Effect),
    Error,
}

impl Policies {
    /// The tests of `files`, ready to be put to these policies and to mutants of them.
    pub(crate) fn suite(&self, files: &[Source]) -> Result<TestSuite, CedarError> {
        let mut tests = Vec::new();
        for file in files {
            tests.extend(Test::read_all(file, &self.schema)?);
        }
        let authorizer = Authorizer::new();
        let of_policy = |policy: &Policy| (policy.id().to_string(), reactions(&authorizer, policy, &tests));
        Ok(TestSuite {
            reactions: self.policies.policies().map(of_policy).collect(),
            schema: self.schema.clone(),
            policies: self.policies.clone(),
            places: self.places().clone(),
            authorizer,
            tests,
        })
    }
}

impl TestSuite {
    /// What became of every test, in the order of the files.
    pub fn outcomes(&self) -> Vec<(TestName, TestOutcome)> {
        let outcome = |test: &Test| (test_name(test), test.outcome(&self.respond(test, &self.policies)));
        self.tests.iter().map(outcome).collect()
    }

    /// How far the tests touch each policy, in the order of files and lines.
    pub fn touched(&self) -> Vec<Touched> {
        let mut decided: BTreeMap<String, usize> = BTreeMap::new();
        for id in self.outcomes().into_iter().flat_map(|(_, outcome)| outcome.policies) {
            let count = decided.entry(id).or_default();
            *count = count.saturating_add(1);
        }
        let touched = |(id, place): (&String, &Place)| Touched {
            id: id.clone(),
            place: place.clone(),
            decided: decided.get(id).copied().unwrap_or(0),
            satisfied: self.satisfied(id),
        };
        let mut all: Vec<Touched> = self.places.iter().map(touched).collect();
        all.sort_by(|left, right| left.place.cmp(&right.place));
        all
    }

    fn satisfied(&self, id: &str) -> usize {
        let reactions = self.reactions.get(id).map(Vec::as_slice).unwrap_or_default();
        reactions.iter().filter(|reaction| matches!(reaction, Reaction::Satisfied(_))).count()
    }

    /// The policies without any one of which every test would be answered as it is.
    pub fn unmissed(&self) -> BTreeSet<String> {
        let missed: BTreeSet<&str> = (0..self.tests.len()).filter_map(|test| self.decider(test)).collect();
        self.places.keys().filter(|id| !missed.contains(id.as_str())).cloned().collect()
    }

    /// The only policy without which a test would be answered differently: its one permit, or the one `forbid` in the way.
    fn decider(&self, test: usize) -> Option<&str> {
        let with = |effect: Effect| {
            let satisfied = move |reactions: &&Vec<Reaction>| reactions.get(test) == Some(&Reaction::Satisfied(effect));
            self.reactions.iter().filter(move |(_, reactions)| satisfied(reactions)).map(|(id, _)| id.as_str())
        };
        match (with(Effect::Permit).count(), with(Effect::Forbid).count()) {
            (1, 0) => with(Effect::Permit).next(),
            (1.., 1) => with(Effect::Forbid).next(),
            _ => None,
        }
    }

    /// What careless edits would make of the policies at places that `count`, in the order of files and lines.
    pub fn mutants(&self, count: impl Fn(&Place) -> bool) -> Result<Mutants, CedarError> {
        let mut placed: Vec<(&Place, Policy)> = Vec::new();
        for (id, place) in self.places.iter().filter(|(_, place)| count(place)) {
            placed.extend(self.policies.policy(&PolicyId::new(id)).map(|policy| (place, policy.clone())));
        }
        placed.sort_by_key(|(place, _)| *place);
        Mutants::of(&placed, &self.schema)
    }

    /// The first test that fails with `mutant` in place of its policy; `None` when the mutant survives.
    pub fn killed_by(&self, mutant: &Mutant) -> Result<Option<TestName>, CedarError> {
        let affected = self.affected(mutant);
        if affected.is_empty() {
            return Ok(None);
        }
        let mutated = self.with(mutant)?;
        let fails = |test: &&Test| test.difference(&self.respond(test, &mutated)).is_some();
        Ok(affected.into_iter().find(fails).map(test_name))
    }

    /// The tests whose answer may differ: those to which the mutant alone does something else than its policy alone. An
    /// answer depends on nothing but what each policy does.
    fn affected(&self, mutant: &Mutant) -> Vec<&Test> {
        let before = self.reactions.get(&mutant.id).cloned().unwrap_or_default();
        let after = match &mutant.policy {
            Some(policy) => reactions(&self.authorizer, policy, &self.tests),
            None => vec![Reaction::Nothing; before.len()],
        };
        let differs = before.into_iter().zip(after).map(|(before, after)| before != after);
        self.tests.iter().zip(differs).filter(|(_, differs)| *differs).map(|(test, _)| test).collect()
    }

    fn with(&self, mutant: &Mutant) -> Result<PolicySet, CedarError> {
        let id = PolicyId::new(&mutant.id);
        let others = self.policies.policies().filter(|policy| *policy.id() != id).cloned();
        let mutated = PolicySet::from_policies(others.chain(mutant.policy.clone()));
        mutated.map_err(|_| CedarError::DuplicateId { place: mutant.place.clone(), id: mutant.id.clone() })
    }

    fn respond(&self, test: &Test, policies: &PolicySet) -> cedar_policy::Response {
        self.authorizer.is_authorized(&test.request, policies, &test.entities)
    }
}

fn test_name(test: &Test) -> TestName {
    TestName { file: test.file.clone(), name: test.name.clone() }
}

fn reactions(authorizer: &Authorizer, policy: &Policy, tests: &[Test]) -> Vec<Reaction> {
    // A set of one policy has no second of the same id.
    let alone = PolicySet::from_policies([policy.clone()]).unwrap_or_default();
    let reaction = |test: &Test| {
        let response = authorizer.is_authorized(&test.request, &alone, &test.entities);
        match (response.diagnostics().reason().next(), response.diagnostics().errors().next()) {
            (Some(_), _) => Reaction::Satisfied(policy.effect()),
            (None, Some(_)) => Reaction::Error,
            (None, None) => Reaction::Nothing,
        }
    };
    tests.iter().map(reaction).collect()
}
