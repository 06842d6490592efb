//! What a policy set must never allow and must always allow, as files with an owner and a rationale.
//!
//! Here an invariant is held against single requests; [`crate::prove`] has a solver prove it for all of them.

use std::collections::BTreeSet;

use policy_as_code_cedar::{CedarError, PolicySet};
use shared::decision::{DecisionRequest, TierAnswer};

use crate::PolicyError;
use crate::prove::{NO_ERROR, NO_GOVERNANCE_ERROR};
use crate::repository::{Repository, SCHEMA};

/// Names of claims that are made beside the invariants.
const RESERVED: [&str; 2] = [NO_ERROR, NO_GOVERNANCE_ERROR];

/// The invariants of a repository.
pub struct Invariants {
    never: PolicySet,
    always: PolicySet,
}

impl Invariants {
    /// Reads `invariants/never` and `invariants/always`: permits that describe the requests in question.
    pub fn parse(repository: &Repository) -> Result<Self, PolicyError> {
        let schema = repository.file(SCHEMA)?;
        let read = |folder| PolicySet::parse(&schema, &repository.folder(folder));
        let invariants = Self { never: read("invariants/never")?, always: read("invariants/always")? };
        invariants.distinct()?;
        invariants.ids().iter().try_for_each(|id| invariants.signed_off(id))?;
        Ok(invariants)
    }

    fn signed_off(&self, id: &str) -> Result<(), PolicyError> {
        let missing = ["owner", "rationale"].into_iter().find(|name| self.annotation(id, name).is_none());
        missing.map_or(Ok(()), |annotation| Err(PolicyError::Invariant { id: id.to_owned(), annotation }))
    }

    /// Whether every invariant has a name of its own, in proofs too.
    fn distinct(&self) -> Result<(), PolicyError> {
        let (never, always) = (self.never.places(), self.always.places());
        let taken = |id: &String| never.contains_key(id) || RESERVED.contains(&id.as_str());
        let reserved = never.iter().filter(|(id, _)| RESERVED.contains(&id.as_str()));
        match reserved.chain(always.iter().filter(|(id, _)| taken(id))).next() {
            Some((id, place)) => Err(CedarError::DuplicateId { place: place.clone(), id: id.clone() }.into()),
            None => Ok(()),
        }
    }

    /// What must never be allowed.
    pub fn never(&self) -> &PolicySet {
        &self.never
    }

    /// What must always be allowed.
    pub fn always(&self) -> &PolicySet {
        &self.always
    }

    /// The value of annotation `name` of invariant `id`.
    pub fn annotation(&self, id: &str, name: &str) -> Option<&str> {
        self.never.annotation(id, name).or_else(|| self.always.annotation(id, name))
    }

    /// The invariants' ids.
    pub fn ids(&self) -> BTreeSet<String> {
        self.never.places().keys().chain(self.always.places().keys()).cloned().collect()
    }

    /// The invariants that `answer` breaks as the answer to `request` at its tier.
    pub fn violated(&self, request: &DecisionRequest, answer: &TierAnswer) -> Vec<String> {
        let broken = if answer.allowed { &self.never } else { &self.always };
        broken.answer(request, answer.tier).policies
    }
}
