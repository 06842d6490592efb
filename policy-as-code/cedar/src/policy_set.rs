//! A set of policies under one schema: parsed, strictly validated, every policy with an id of its own.

use std::collections::BTreeMap;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Authorizer, Decision, Policy, PolicyId, Response, Schema, ValidationMode, Validator};
use shared::decision::{DecisionRequest, TierAnswer};
use shared::detection::Tier;

use crate::vocabulary::Vocabulary;
use crate::{CedarError, Place};

/// A file's text, with the path to name in errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it came from.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// A validated policy set.
pub struct PolicySet {
    pub(crate) schema: Schema,
    pub(crate) policies: cedar_policy::PolicySet,
    pub(crate) authorizer: Authorizer,
    vocabulary: Vocabulary,
    places: BTreeMap<String, Place>,
}

impl PolicySet {
    /// Parses and strictly validates `policies` under `schema`; warnings are refused like errors.
    pub fn parse(schema: &Source, policies: &[Source]) -> Result<Self, CedarError> {
        let schema = parse_schema(schema)?;
        let mut set = Self {
            vocabulary: Vocabulary::new(&schema)?,
            schema,
            policies: cedar_policy::PolicySet::new(),
            authorizer: Authorizer::new(),
            places: BTreeMap::new(),
        };
        for source in policies {
            set.add(source)?;
        }
        set.validate(policies)?;
        Ok(set)
    }

    fn add(&mut self, source: &Source) -> Result<(), CedarError> {
        let parsed: cedar_policy::PolicySet = source.text.parse().map_err(|errors| syntax(source, &errors))?;
        if parsed.num_of_templates() > 0 {
            return Err(CedarError::Template { path: source.path.clone() });
        }
        parsed.policies().try_for_each(|policy| self.add_policy(source, policy))
    }

    fn add_policy(&mut self, source: &Source, policy: &Policy) -> Result<(), CedarError> {
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            return Err(CedarError::NoId { place: Place { path: source.path.clone(), line: None } });
        };
        let place = place_of_id(source, id);
        let duplicate = |_| CedarError::DuplicateId { place: place.clone(), id: id.to_owned() };
        self.policies.add(policy.new_id(PolicyId::new(id))).map_err(duplicate)?;
        self.places.insert(id.to_owned(), place);
        Ok(())
    }

    fn validate(&self, sources: &[Source]) -> Result<(), CedarError> {
        let result = Validator::new(self.schema.clone()).validate(&self.policies, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| (error.policy_id(), DetailedError::from(error)));
        let warnings = result.validation_warnings().map(|warning| (warning.policy_id(), DetailedError::from(warning)));
        match errors.chain(warnings).next() {
            Some((id, detail)) => Err(self.invalid(id, &detail, sources)),
            None => Ok(()),
        }
    }

    fn invalid(&self, id: &PolicyId, detail: &DetailedError, sources: &[Source]) -> CedarError {
        let id = id.to_string();
        let home = self.places.get(&id);
        let source = sources.iter().find(|source| home.is_some_and(|place| place.path == source.path));
        let place = source.map(|source| Place::of(source, detail));
        let unknown = Place { path: String::new(), line: None };
        CedarError::Invalid { place: place.unwrap_or(unknown), id, reason: detail.message.clone() }
    }

    /// The policies' ids, with the place of each.
    pub fn places(&self) -> &BTreeMap<String, Place> {
        &self.places
    }

    /// The value of annotation `name` of policy `id`.
    pub fn annotation(&self, id: &str, name: &str) -> Option<&str> {
        self.policies.annotation(&PolicyId::new(id), name)
    }

    /// Whether the set allows `request` at `tier`, and by which policies.
    ///
    /// Any evaluation error makes the answer a refusal: Cedar leaves an erroring `forbid` out of account, and what it
    /// forbids must not pass for that.
    pub fn answer(&self, request: &DecisionRequest, tier: Tier) -> TierAnswer {
        match self.vocabulary.translate(request, tier) {
            Ok((asked, entities)) => answer_of(tier, &self.authorizer.is_authorized(&asked, &self.policies, &entities)),
            Err(error) => TierAnswer { tier, allowed: false, policies: Vec::new(), errors: vec![error] },
        }
    }
}

fn answer_of(tier: Tier, response: &Response) -> TierAnswer {
    let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    policies.sort();
    let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    let allowed = response.decision() == Decision::Allow && errors.is_empty();
    TierAnswer { tier, allowed, policies, errors }
}

fn parse_schema(source: &Source) -> Result<Schema, CedarError> {
    match Schema::from_cedarschema_str(&source.text) {
        Ok((schema, _)) => Ok(schema),
        Err(error) => {
            let detail = DetailedError::from(&error);
            Err(CedarError::Syntax { place: Place::of(source, &detail), reason: detail.message })
        }
    }
}

fn syntax(source: &Source, errors: &cedar_policy::ParseErrors) -> CedarError {
    let detail = DetailedError::from(errors);
    CedarError::Syntax { place: Place::of(source, &detail), reason: detail.message }
}

fn place_of_id(source: &Source, id: &str) -> Place {
    match source.text.find(&format!("@id(\"{id}\")")) {
        Some(offset) => Place::at_offset(source, offset),
        None => Place { path: source.path.clone(), line: None },
    }
}

#[cfg(test)]
mod tests;
