//! The policies by which a federation is governed: which tasks a site takes part in, who may call what of a coordinator's
//! admin API, and which releases may become the latest.
//!
//! What is asked becomes numbers and names here, rounded against whoever asks; whether a signature or a token holds was
//! found out before.

mod release;
mod task;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy::{Context, Entities, Entity, EntityTypeName, EntityUid, Request, RestrictedExpression};
use shared::Timestamp;
use shared::release::Release;
use shared::task::Task;

use crate::policies::{Answer, Policies, parse_schema};
use crate::vocabulary::{text, type_name, uid};
use crate::{CedarError, Place, Source, TestOutcome, TestSuite};

/// What the policies are asked.
#[derive(Debug, Clone, Copy)]
pub enum GovernanceRequest<'a> {
    /// An operator asks a site to take part in a task.
    Admit(AdmissionRequest<'a>),
    /// Somebody calls the admin API: method and path as its description names them, such as `GET /api/v1/tasks/{task_id}`.
    Call(Caller<'a>, &'a str),
    /// Somebody wants a release to be the latest.
    Promote(Caller<'a>, &'a Release, Timestamp),
}

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

/// Whoever bears a token of the admin API.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The token's name.
    pub name: &'a str,
    /// Its role.
    pub role: &'a str,
}

/// What the policies say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GovernanceAnswer {
    /// Whether it may be.
    pub allowed: bool,
    /// Ids of the policies that determined the answer; none where no policy permits it.
    pub policies: Vec<String>,
    /// What could not be evaluated. Then nothing is allowed.
    pub errors: Vec<String>,
}

/// The roles of tokens, each of which is all that the ones before it are.
const ROLES: [&str; 3] = ["viewer", "auditor", "operator"];

/// Policies that govern a federation.
pub struct GovernancePolicies {
    pub(crate) policies: Policies,
    vocabulary: Vocabulary,
}

impl GovernancePolicies {
    /// Parses and strictly validates `policies` under `schema`; warnings are refused like errors, and so is a schema that
    /// does not describe the requests made here.
    pub fn parse(schema: &Source, policies: &[Source]) -> Result<Self, CedarError> {
        let parsed =
            Self { vocabulary: Vocabulary::new()?, policies: Policies::parse(parse_schema(schema)?, policies)? };
        parsed.conforms().map_err(|reason| CedarError::SchemaUnfit { reason })?;
        Ok(parsed)
    }

    /// Whether something may be, and by which policies. Any evaluation error makes the answer a refusal, and so does a call
    /// that the schema does not know.
    pub fn answer(&self, request: &GovernanceRequest<'_>) -> GovernanceAnswer {
        let translated = match request {
            GovernanceRequest::Admit(request) => self.admit(request.operator_key, task::attributes(request)),
            GovernanceRequest::Call(caller, call) => self.call(*caller, call),
            GovernanceRequest::Promote(caller, release, now) => {
                self.promote(*caller, release.release_id.as_str(), release::attributes(release, *now))
            }
        };
        let Answer { allowed, policies, errors } = self.policies.ask(&translated);
        GovernanceAnswer { allowed, policies, errors }
    }

    /// The calls of the admin API that the schema knows.
    pub fn calls(&self) -> BTreeSet<String> {
        let ids = self.policies.schema.actions().map(|action| action.id().unescaped().to_owned());
        ids.filter(|id| id.contains(" /")).collect()
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

    fn admit(&self, operator_key: &str, attributes: Attributes) -> Result<(Request, Entities), String> {
        let operator = uid(&self.vocabulary.operator, operator_key);
        self.request(vec![Entity::new_no_attrs(operator.clone(), HashSet::new())], operator, "admit", {
            entity(uid(&self.vocabulary.task, "offered"), attributes)?
        })
    }

    fn call(&self, caller: Caller<'_>, call: &str) -> Result<(Request, Entities), String> {
        let api = Entity::new_no_attrs(uid(&self.vocabulary.admin_api, "coordinator"), HashSet::new());
        self.request(self.vocabulary.caller(caller), uid(&self.vocabulary.caller, caller.name), call, api)
    }

    fn promote(
        &self,
        caller: Caller<'_>,
        release_id: &str,
        attributes: Attributes,
    ) -> Result<(Request, Entities), String> {
        let release = entity(uid(&self.vocabulary.release, release_id), attributes)?;
        self.request(self.vocabulary.caller(caller), uid(&self.vocabulary.caller, caller.name), "promote", release)
    }

    fn request(
        &self,
        mut entities: Vec<Entity>,
        principal: EntityUid,
        action: &str,
        resource: Entity,
    ) -> Result<(Request, Entities), String> {
        let schema = Some(&self.policies.schema);
        let (action, id) = (uid(&self.vocabulary.action, action), resource.uid());
        entities.push(resource);
        let request = Request::new(principal, action, id, Context::empty(), schema).map_err(text)?;
        Ok((request, Entities::from_entities(entities, schema).map_err(text)?))
    }

    /// Whether the schema describes the requests that are made: every attribute, each of its type.
    fn conforms(&self) -> Result<(), String> {
        let caller = Caller { name: "specimen", role: ROLES[0] };
        self.admit("specimen", task::specimen())?;
        self.promote(caller, "specimen", release::specimen())?;
        self.calls().iter().try_for_each(|call| self.call(caller, call).map(|_| ()))
    }
}

/// An attribute, before it becomes Cedar's.
enum Value {
    Long(i64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
}

type Attributes = Vec<(&'static str, Value)>;

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
    action: EntityTypeName,
    admin_api: EntityTypeName,
    caller: EntityTypeName,
    operator: EntityTypeName,
    release: EntityTypeName,
    role: EntityTypeName,
    task: EntityTypeName,
}

impl Vocabulary {
    fn new() -> Result<Self, CedarError> {
        Ok(Self {
            action: type_name("Action")?,
            admin_api: type_name("AdminApi")?,
            caller: type_name("Caller")?,
            operator: type_name("Operator")?,
            release: type_name("Release")?,
            role: type_name("Role")?,
            task: type_name("Task")?,
        })
    }

    /// The caller in its role, and every role in the one before it.
    fn caller(&self, caller: Caller<'_>) -> Vec<Entity> {
        let within = |member: EntityUid, role: Option<&str>| {
            Entity::new_no_attrs(member, role.map(|role| uid(&self.role, role)).into_iter().collect())
        };
        let before = [None].into_iter().chain(ROLES.map(Some));
        let roles = ROLES.into_iter().zip(before).map(|(role, before)| within(uid(&self.role, role), before));
        [within(uid(&self.caller, caller.name), Some(caller.role))].into_iter().chain(roles).collect()
    }
}

fn entity(uid: EntityUid, attributes: Attributes) -> Result<Entity, String> {
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), expression(value)));
    Entity::new(uid, attributes.collect(), HashSet::new()).map_err(text)
}

fn expression(value: Value) -> RestrictedExpression {
    match value {
        Value::Long(number) => RestrictedExpression::new_long(number),
        Value::Flag(flag) => RestrictedExpression::new_bool(flag),
        Value::Text(text) => RestrictedExpression::new_string(text),
        Value::Texts(texts) => RestrictedExpression::new_set(texts.into_iter().map(RestrictedExpression::new_string)),
    }
}

#[cfg(test)]
mod tests;
