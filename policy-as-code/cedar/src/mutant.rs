//! Mutants of policies: what a careless edit would make of one, so that tests can show whether they would notice.
//!
//! A mutant differs from its policy in one place. Policies are edited in Cedar's JSON format, never as text. What no
//! longer validates under the schema is no mutant, because loading would refuse it; nor is a wider scope to which the
//! schema adds nothing.

mod condition;
mod fragment;

use std::collections::BTreeSet;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, RequestEnv, Schema, ValidationMode, Validator};
use serde::Serialize;
use serde_json::{Value, json};

use self::condition::{Satisfied, Variation};
use crate::{CedarError, Place};

/// What was done to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slip {
    /// A comparison became another: `<` for `<=`, `==` for `!=`.
    ComparisonSwapped,
    /// A number became another: one more, one less, ten times as much.
    NumberChanged,
    /// A part of `a && b`, or a whole condition, was dropped.
    ConjunctDropped,
    /// A part of `a || b` was dropped.
    DisjunctDropped,
    /// A `!` was added.
    NegationAdded,
    /// A `!` was removed.
    NegationRemoved,
    /// A restriction of principal, action or resource was dropped.
    ScopeWidened,
    /// `permit` became `forbid`, or the other way round.
    EffectFlipped,
    /// The policy was removed.
    PolicyRemoved,
}

/// What a mutant does to the requests that are allowed. The order is from the most dangerous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// It may allow what was refused, and refuses nothing that was allowed.
    PermitsMore,
    /// It may allow what was refused, and refuse what was allowed.
    PermitsOther,
    /// It may refuse what was allowed, and allows nothing that was refused.
    PermitsLess,
}

/// A policy after a careless edit.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// The policy's id.
    pub id: String,
    /// Where the policy stands.
    pub place: Place,
    /// What was done to it.
    pub slip: Slip,
    /// What that does to the requests that are allowed.
    pub shift: Shift,
    /// The fragment that was edited, in Cedar's syntax.
    pub before: String,
    /// What stands in its place; empty when it was dropped.
    pub after: String,
    /// The edited policy; `None` when it was removed.
    pub(crate) policy: Option<Policy>,
}

/// The mutants of a policy set.
#[derive(Debug, Clone)]
pub struct Mutants {
    /// Those that validate, in the order of the policies given.
    pub valid: Vec<Mutant>,
    /// How many edits are no mutants: loading would refuse them, or the schema shows that they change nothing.
    pub void: usize,
}

/// An edit of one policy, before it is known to validate.
struct Edit {
    slip: Slip,
    shift: Shift,
    before: String,
    after: String,
    /// The edited policy in Cedar's JSON format.
    policy: Option<Value>,
    /// Whether the edited fragment looks at nothing but the action and the types of principal and resource.
    of_types: bool,
}

impl Mutants {
    /// The mutants of `policies`, each of which stands at its place.
    pub(crate) fn of(policies: &[(&Place, Policy)], schema: &Schema) -> Result<Self, CedarError> {
        let validate = Validate { validator: Validator::new(schema.clone()), schema };
        let mut mutants = Self { valid: Vec::new(), void: 0 };
        for (place, policy) in policies {
            let unreadable = |error| CedarError::Syntax { place: (*place).clone(), reason: format!("{error}") };
            let json = policy.to_json().map_err(unreadable)?;
            for edit in edits(&json, policy.effect()) {
                match validate.mutant(edit, place, policy) {
                    Some(mutant) => mutants.valid.push(mutant),
                    None => mutants.void = mutants.void.saturating_add(1),
                }
            }
        }
        Ok(mutants)
    }
}

/// Finds out which edits are mutants.
struct Validate<'a> {
    schema: &'a Schema,
    validator: Validator,
}

impl Validate<'_> {
    fn mutant(&self, edit: Edit, place: &Place, original: &Policy) -> Option<Mutant> {
        let Edit { slip, shift, before, after, policy, of_types } = edit;
        let policy = match policy {
            Some(json) => Some(self.valid(json, original.id())?),
            None => None,
        };
        let same_environments =
            policy.as_ref().is_some_and(|edited| self.environments(edited) == self.environments(original));
        if of_types && same_environments {
            return None;
        }
        let id = original.id().to_string();
        Some(Mutant { id, place: place.clone(), slip, shift, before, after, policy })
    }

    fn valid(&self, json: Value, id: &PolicyId) -> Option<Policy> {
        let policy = Policy::from_json(Some(id.clone()), json).ok()?;
        let alone = PolicySet::from_policies([policy.clone()]).ok()?;
        let result = self.validator.validate(&alone, ValidationMode::Strict);
        result.validation_passed_without_warnings().then_some(policy)
    }

    /// The actions, with types of principal and resource, to which the policy may apply.
    fn environments(&self, policy: &Policy) -> BTreeSet<RequestEnv> {
        policy.get_valid_request_envs(self.schema).collect()
    }
}

/// Every edit of a policy, in the order of its text.
fn edits(policy: &Value, effect: Effect) -> Vec<Edit> {
    let mut edits: Vec<Edit> = SCOPE.iter().filter_map(|part| widened(policy, part, effect)).collect();
    let conditions = policy.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, condition) in conditions.iter().enumerate() {
        let edited = condition::edits(condition).into_iter();
        edits.extend(edited.map(|variation| in_condition(policy, index, variation, effect)));
    }
    edits.push(flipped(policy, effect));
    edits.push(removed(policy, effect));
    edits
}

const SCOPE: [&str; 3] = ["principal", "action", "resource"];

fn widened(policy: &Value, part: &str, effect: Effect) -> Option<Edit> {
    let restricted = policy.get(part)?;
    if restricted.get("op")? == "All" {
        return None;
    }
    Some(Edit {
        slip: Slip::ScopeWidened,
        shift: shift(Satisfied::More, effect),
        before: fragment::scope(part, restricted),
        after: part.to_owned(),
        policy: Some(with(policy, part, json!({ "op": "All" }))),
        of_types: part == "action" || (restricted.get("op")? == "is" && restricted.get("in").is_none()),
    })
}

fn in_condition(policy: &Value, index: usize, variation: Variation, effect: Effect) -> Edit {
    let Variation { slip, satisfied, before, after, whole } = variation;
    let mut conditions = policy.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.splice(index..=index, whole);
    Edit {
        slip,
        shift: shift(satisfied, effect),
        before: fragment::expression(&before),
        after: after.as_ref().map(fragment::expression).unwrap_or_default(),
        policy: Some(with(policy, "conditions", Value::Array(conditions))),
        of_types: false,
    }
}

fn flipped(policy: &Value, effect: Effect) -> Edit {
    let (other, shift) = match effect {
        Effect::Permit => (Effect::Forbid, Shift::PermitsLess),
        Effect::Forbid => (Effect::Permit, Shift::PermitsMore),
    };
    let (before, after) = (effect.to_string(), other.to_string());
    let policy = Some(with(policy, "effect", json!(after)));
    Edit { slip: Slip::EffectFlipped, shift, before, after, policy, of_types: false }
}

fn removed(policy: &Value, effect: Effect) -> Edit {
    Edit {
        slip: Slip::PolicyRemoved,
        shift: shift(Satisfied::Fewer, effect),
        before: fragment::policy(policy),
        after: String::new(),
        policy: None,
        of_types: false,
    }
}

/// What it means for the answers that an edited policy is satisfied by more, fewer or other requests.
fn shift(satisfied: Satisfied, effect: Effect) -> Shift {
    match (satisfied, effect) {
        (Satisfied::More, Effect::Permit) | (Satisfied::Fewer, Effect::Forbid) => Shift::PermitsMore,
        (Satisfied::Fewer, Effect::Permit) | (Satisfied::More, Effect::Forbid) => Shift::PermitsLess,
        (Satisfied::Others, _) => Shift::PermitsOther,
    }
}

/// `object` with `value` at `key`.
fn with(object: &Value, key: &str, value: Value) -> Value {
    let mut edited = object.clone();
    if let Some(fields) = edited.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
    edited
}

#[cfg(test)]
mod tests;
