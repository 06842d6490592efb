//! The policies of containment: a validated set that answers one request at one tier.

use std::collections::BTreeMap;

use shared::decision::{DecisionRequest, TierAnswer};
use shared::detection::Tier;

use crate::policies::{Answer, Policies, parse_schema};
use crate::vocabulary::Vocabulary;
use crate::{CedarError, Place, Source, TestOutcome, TestSuite};

/// A validated policy set.
pub struct PolicySet {
    policies: Policies,
    vocabulary: Vocabulary,
}

impl PolicySet {
    /// Parses and strictly validates `policies` under `schema`; warnings are refused like errors.
    pub fn parse(schema: &Source, policies: &[Source]) -> Result<Self, CedarError> {
        let schema = parse_schema(schema)?;
        Ok(Self { vocabulary: Vocabulary::new(&schema)?, policies: Policies::parse(schema, policies)? })
    }

    /// The policies' ids, with the place of each.
    pub fn places(&self) -> &BTreeMap<String, Place> {
        self.policies.places()
    }

    /// The value of annotation `name` of policy `id`.
    pub fn annotation(&self, id: &str, name: &str) -> Option<&str> {
        self.policies.annotation(id, name)
    }

    /// Whether policy `id` permits; a forbid, or no policy, does not.
    pub fn permits(&self, id: &str) -> bool {
        self.policies.permits(id)
    }

    /// Whether the set allows `request` at `tier`, and by which policies. Any evaluation error makes the answer a
    /// refusal.
    pub fn answer(&self, request: &DecisionRequest, tier: Tier) -> TierAnswer {
        let Answer { allowed, policies, errors } = self.policies.ask(self.vocabulary.translate(request, tier));
        TierAnswer { tier, allowed, policies, errors }
    }

    /// Runs the tests of one file.
    pub fn run_tests(&self, file: &Source) -> Result<Vec<TestOutcome>, CedarError> {
        self.policies.run_tests(file)
    }

    /// The tests of `files`, to be run as often as there are mutants.
    pub fn suite(&self, files: &[Source]) -> Result<TestSuite, CedarError> {
        self.policies.suite(files)
    }
}

#[cfg(test)]
mod tests;
