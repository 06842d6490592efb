//! The policies of containment: a validated set that answers one request at one tier.
//!
//! It answers from compiled policies, and asks Cedar where those do not know; the answer is the same.

use std::collections::BTreeMap;

use shared::decision::{DecisionRequest, TierAnswer};
use shared::detection::Tier;

use crate::compiled::Compiled;
use crate::policies::{Answer, Policies, parse_schema};
use crate::vocabulary::Vocabulary;
use crate::{CedarError, Place, Source, TestOutcome, TestSuite};

/// A validated policy set.
pub struct PolicySet {
    pub(crate) policies: Policies,
    pub(crate) vocabulary: Vocabulary,
    compiled: Compiled,
}

/// A request at one tier, as Cedar takes it.
pub struct CedarRequest {
    tier: Tier,
    translated: Result<(cedar_policy::Request, cedar_policy::Entities), String>,
}

impl PolicySet {
    /// Parses and strictly validates `policies` under `schema`; warnings are refused like errors.
    pub fn parse(schema: &Source, policies: &[Source]) -> Result<Self, CedarError> {
        let schema = parse_schema(schema)?;
        let vocabulary = Vocabulary::new(&schema)?;
        let policies = Policies::parse(schema, policies)?;
        let compiled = Compiled::new(&policies.policies, vocabulary.actions());
        Ok(Self { policies, vocabulary, compiled })
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
        match self.compiled.answer(request, tier) {
            Some(answer) => answer.at(tier),
            None => self.answer_by_cedar(&self.prepare(request, tier)),
        }
    }

    /// `request` at `tier` for [`PolicySet::answer_by_cedar`].
    pub fn prepare(&self, request: &DecisionRequest, tier: Tier) -> CedarRequest {
        CedarRequest { tier, translated: self.vocabulary.translate(request, tier) }
    }

    /// What [`PolicySet::answer`] says, by Cedar's own evaluation of every policy. It is slow: it is there for what the
    /// compiled policies leave to it, and to hold them against.
    pub fn answer_by_cedar(&self, request: &CedarRequest) -> TierAnswer {
        self.policies.ask(&request.translated).at(request.tier)
    }

    #[cfg(test)]
    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
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

impl Answer {
    fn at(self, tier: Tier) -> TierAnswer {
        let Self { allowed, policies, errors } = self;
        TierAnswer { tier, allowed, policies, errors }
    }
}

#[cfg(test)]
mod tests;
