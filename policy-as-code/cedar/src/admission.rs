//! The policies by which a site admits tasks: a validated set that answers whether an operator's task may run here.
//!
//! A task becomes numbers and names here, rounded against its operator; whether its signature holds, and what it costs,
//! was found out before.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use serde::Serialize;
use shared::task::Task;

use crate::policies::{Answer, Policies, parse_schema};
use crate::{CedarError, Place, Source, TestOutcome, TestSuite};

/// A task that asks to be admitted.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionRequest<'a> {
    /// The key that signed the task: 64 hexadecimal digits.
    pub operator_key: &'a str,
    /// The task.
    pub task: &'a Task,
    /// ε of all its rounds together, at the δ of the site's own budget.
    pub epsilon: f64,
    /// The sources of the telemetry that the site would train on.
    pub sources: &'a BTreeSet<String>,
}

/// What the policies say to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionAnswer {
    /// Whether the task may run here.
    pub allowed: bool,
    /// Ids of the policies that determined the answer; none where no policy permits the task.
    pub policies: Vec<String>,
    /// What could not be evaluated. Then nothing is allowed.
    pub errors: Vec<String>,
}

/// A site's admission policies.
pub struct AdmissionPolicies {
    pub(crate) policies: Policies,
    vocabulary: Vocabulary,
}

impl AdmissionPolicies {
    /// Parses and strictly validates `policies` under `schema`; warnings are refused like errors, and so is a schema that
    /// does not describe the requests made here.
    pub fn parse(schema: &Source, policies: &[Source]) -> Result<Self, CedarError> {
        let schema = parse_schema(schema)?;
        let vocabulary = Vocabulary::new()?;
        vocabulary.conforms(&schema).map_err(|reason| CedarError::SchemaUnfit { reason })?;
        Ok(Self { vocabulary, policies: Policies::parse(schema, policies)? })
    }

    /// Whether the task may run here, and by which policies. Any evaluation error makes the answer a refusal.
    pub fn answer(&self, request: &AdmissionRequest<'_>) -> AdmissionAnswer {
        let translated = self.vocabulary.translate(request.operator_key, attributes(request));
        let Answer { allowed, policies, errors } = self.policies.ask(&translated);
        AdmissionAnswer { allowed, policies, errors }
    }

    /// The policies' ids, with the place of each.
    pub fn places(&self) -> &BTreeMap<String, Place> {
        self.policies.places()
    }

    /// The value of annotation `name` of policy `id`.
    pub fn annotation(&self, id: &str, name: &str) -> Option<&str> {
        self.policies.annotation(id, name)
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

/// A task's attribute, before it becomes Cedar's.
enum Value {
    Long(i64),
    Text(String),
    Texts(Vec<String>),
}

type Attributes = Vec<(&'static str, Value)>;

/// The task in the words of the schema.
fn attributes(request: &AdmissionRequest<'_>) -> Attributes {
    let Task { recipe, privacy, aggregation, participation, feature_view, model, .. } = request.task;
    let noise_milli = recipe.noise_multiplier.map_or(0, |noise| (-scaled_up(-noise, 1e3)).max(0));
    vec![
        ("epsilon_milli", Value::Long(scaled_up(request.epsilon, 1e3))),
        ("ceiling_epsilon_milli", Value::Long(scaled_up(privacy.ceiling.epsilon, 1e3))),
        ("ceiling_delta_e12", Value::Long(scaled_up(privacy.ceiling.delta, 1e12))),
        ("evaluation_rho_e9", Value::Long(scaled_up(privacy.evaluation_rho, 1e9))),
        ("unit", Value::Text(kind(&privacy.unit))),
        ("noise_milli", Value::Long(noise_milli)),
        ("rounds", Value::Long(request.task.rounds.into())),
        ("local_steps", Value::Long(recipe.local_steps.into())),
        ("cohort", Value::Long(count(request.task.cohort.len()))),
        ("quorum", Value::Long(request.task.quorum.into())),
        ("late_rounds", Value::Long(participation.late.max_staleness().into())),
        ("parameters", Value::Long(count(model.param_count()))),
        ("feature_view", Value::Text(feature_view.name.clone())),
        ("feature_view_version", Value::Long(feature_view.version.into())),
        ("local_training", Value::Text(kind(&recipe.local))),
        ("mechanism", Value::Text(kind(&recipe.mechanism))),
        ("rule", Value::Text(kind(&aggregation.rule))),
        ("pre_steps", Value::Texts(aggregation.pre.iter().map(kind).collect())),
        ("server_step", Value::Text(kind(&aggregation.server))),
        ("sources", Value::Texts(request.sources.iter().cloned().collect())),
        ("encodings", Value::Texts(request.task.encodings.iter().map(kind).collect())),
    ]
}

/// The name of an enum's variant as it stands in the task's JSON.
fn kind<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => {
            let tag = fields.get("kind").and_then(serde_json::Value::as_str);
            tag.or(fields.keys().next().map(String::as_str)).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

/// `value` in units of 1/`unit`, rounded up. What is not a number counts as the largest.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "casts from f64 saturate")]
fn scaled_up(value: f64, unit: f64) -> i64 {
    if value.is_nan() { i64::MAX } else { (value * unit).ceil() as i64 }
}

/// The schema's names.
struct Vocabulary {
    operator: EntityTypeName,
    task: EntityTypeName,
    admit: EntityUid,
}

impl Vocabulary {
    fn new() -> Result<Self, CedarError> {
        let name = |name: &str| {
            let parsed = format!("Ringfence::{name}").parse::<EntityTypeName>();
            parsed.map_err(|error| CedarError::SchemaUnfit { reason: error.to_string() })
        };
        Ok(Self { operator: name("Operator")?, task: name("Task")?, admit: uid(&name("Action")?, "admit") })
    }

    fn translate(&self, operator_key: &str, attributes: Attributes) -> Result<(Request, Entities), String> {
        let entities = Entities::from_entities([self.task(attributes)?], None).map_err(text)?;
        Ok((self.request(operator_key, None)?, entities))
    }

    fn request(&self, operator_key: &str, schema: Option<&Schema>) -> Result<Request, String> {
        let (principal, resource) = (uid(&self.operator, operator_key), uid(&self.task, "offered"));
        Request::new(principal, self.admit.clone(), resource, Context::empty(), schema).map_err(text)
    }

    fn task(&self, attributes: Attributes) -> Result<Entity, String> {
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), expression(value)));
        Entity::new(uid(&self.task, "offered"), attributes.collect(), HashSet::new()).map_err(text)
    }

    /// Whether `schema` describes the requests that are made: every attribute, each of its type.
    fn conforms(&self, schema: &Schema) -> Result<(), String> {
        self.request("specimen", Some(schema))?;
        let entity = self.task(specimen())?;
        Entities::from_entities([entity], Some(schema)).map_err(text)?;
        Ok(())
    }
}

/// Every attribute with a value of its type.
fn specimen() -> Attributes {
    const LONGS: [&str; 12] = [
        "epsilon_milli",
        "ceiling_epsilon_milli",
        "ceiling_delta_e12",
        "evaluation_rho_e9",
        "noise_milli",
        "rounds",
        "local_steps",
        "cohort",
        "quorum",
        "late_rounds",
        "parameters",
        "feature_view_version",
    ];
    const TEXTS: [&str; 6] = ["unit", "feature_view", "local_training", "mechanism", "rule", "server_step"];
    let longs = LONGS.map(|name| (name, Value::Long(0)));
    let texts = TEXTS.map(|name| (name, Value::Text(String::new())));
    let sets = ["pre_steps", "encodings", "sources"].map(|name| (name, Value::Texts(vec!["specimen".to_owned()])));
    longs.into_iter().chain(texts).chain(sets).collect()
}

fn expression(value: Value) -> RestrictedExpression {
    match value {
        Value::Long(number) => RestrictedExpression::new_long(number),
        Value::Text(text) => RestrictedExpression::new_string(text),
        Value::Texts(texts) => RestrictedExpression::new_set(texts.into_iter().map(RestrictedExpression::new_string)),
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
