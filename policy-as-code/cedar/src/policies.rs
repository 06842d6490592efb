//! Policies under one schema: parsed, strictly validated, every policy with an id of its own. What they are asked is the
//! business of the sets built on this.

use std::collections::{BTreeMap, HashMap};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Authorizer, Decision, Effect, Entities, Policy, PolicyId, Request, Response, Schema, ValidationMode, Validator,
};

use crate::limits::{self, MAX_POLICIES};
use crate::{CedarError, Place};

/// A file's text, with the path to name in errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it came from.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// Validated policies.
pub(crate) struct Policies {
    pub(crate) schema: Schema,
    pub(crate) policies: cedar_policy::PolicySet,
    pub(crate) authorizer: Authorizer,
    places: BTreeMap<String, Place>,
}

/// What policies say to one request.
pub(crate) struct Answer {
    pub(crate) allowed: bool,
    pub(crate) policies: Vec<String>,
    pub(crate) errors: Vec<String>,
}

impl Policies {
    /// Parses and strictly validates `policies` under `schema`; warnings are refused like errors.
    pub(crate) fn parse(schema: Schema, policies: &[Source]) -> Result<Self, CedarError> {
        let mut parsed = Self {
            schema,
            policies: cedar_policy::PolicySet::new(),
            authorizer: Authorizer::new(),
            places: BTreeMap::new(),
        };
        for source in policies {
            parsed.add(source)?;
        }
        parsed.validate(policies)?;
        Ok(parsed)
    }

    fn add(&mut self, source: &Source) -> Result<(), CedarError> {
        limits::check(source)?;
        let parsed: cedar_policy::PolicySet = source.text.parse().map_err(|errors| syntax(source, &errors))?;
        if parsed.num_of_templates() > 0 {
            return Err(CedarError::Template { path: source.path.clone() });
        }
        if self.places.len().saturating_add(parsed.num_of_policies()) > MAX_POLICIES {
            return Err(CedarError::TooLarge { path: source.path.clone(), what: "policies", limit: MAX_POLICIES });
        }
        let lines = lines_of_ids(&source.text);
        parsed.policies().try_for_each(|policy| self.add_policy(source, policy, &lines))
    }

    fn add_policy(&mut self, source: &Source, policy: &Policy, lines: &HashMap<&str, usize>) -> Result<(), CedarError> {
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            return Err(CedarError::NoId { place: Place { path: source.path.clone(), line: None } });
        };
        let place = Place { path: source.path.clone(), line: lines.get(id).copied() };
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

    pub(crate) fn places(&self) -> &BTreeMap<String, Place> {
        &self.places
    }

    pub(crate) fn annotation(&self, id: &str, name: &str) -> Option<&str> {
        self.policies.annotation(&PolicyId::new(id), name)
    }

    pub(crate) fn permits(&self, id: &str) -> bool {
        self.policies.policy(&PolicyId::new(id)).is_some_and(|policy| policy.effect() == Effect::Permit)
    }

    /// Asks. Any evaluation error makes the answer a refusal: Cedar leaves an erroring `forbid` out of account, and what
    /// it forbids must not pass for that.
    pub(crate) fn ask(&self, translated: &Result<(Request, Entities), String>) -> Answer {
        match translated {
            Ok((request, entities)) => Answer::from(&self.authorizer.is_authorized(request, &self.policies, entities)),
            Err(error) => Answer { allowed: false, policies: Vec::new(), errors: vec![error.clone()] },
        }
    }
}

impl From<&Response> for Answer {
    fn from(response: &Response) -> Self {
        let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        policies.sort();
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let allowed = response.decision() == Decision::Allow && errors.is_empty();
        Self { allowed, policies, errors }
    }
}

pub(crate) fn parse_schema(source: &Source) -> Result<Schema, CedarError> {
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

/// The line of each `@id` that is written plainly, from 1.
fn lines_of_ids(text: &str) -> HashMap<&str, usize> {
    let mut lines = HashMap::new();
    for (line, number) in text.lines().zip(1..) {
        let ids = line.split("@id(\"").skip(1).filter_map(|rest| rest.split_once("\")"));
        for (id, _) in ids {
            lines.entry(id).or_insert(number);
        }
    }
    lines
}
