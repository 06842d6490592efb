//! A single request in plain terms: who asks for what on what, under which circumstances, and what policies say to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cedar_policy::{AuthorizationError, Decision, Entities, EntityUid, EvalResult, Request};
use serde::Serialize;
use serde_json::Value;
use shared::decision::DecisionRequest;

use super::mentions::{in_scope, mentions};
use crate::Place;
use crate::policies::Policies;

/// A request, as an example of something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Who asks.
    pub principal: Party,
    /// For what.
    pub action: String,
    /// On what.
    pub resource: Party,
    /// Under which circumstances, the tier among them.
    pub context: BTreeMap<String, Value>,
    /// The same as `ringfence-policy decide` takes it; `None` where no request of Ringfence's looks like this.
    pub request: Option<DecisionRequest>,
}

/// A principal or a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Party {
    /// Its type.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, Value>,
    /// Its tags.
    pub tags: BTreeMap<String, Value>,
}

/// What a policy set says to a request, and by which policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ruling {
    /// Whether it allows it. An error makes it a refusal.
    pub allowed: bool,
    /// The policies that had a part in it, and those that stood by.
    pub blame: Vec<Blame>,
    /// What could not be evaluated.
    pub errors: Vec<String>,
}

/// A policy's part in a ruling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blame {
    /// The policy's id.
    pub policy: String,
    /// Where it stands.
    pub place: Place,
    /// What it did.
    pub part: Part,
}

/// What a policy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It permits the request.
    Permits,
    /// It forbids the request.
    Forbids,
    /// It failed on the request.
    Fails,
    /// It forbids such requests, looks at what is at stake, and let this one pass.
    LetPass,
}

impl Example {
    pub(super) fn of(request: &Request, entities: &Entities) -> Self {
        let party = |uid: Option<&EntityUid>| uid.map(|uid| Party::of(uid, entities)).unwrap_or_default();
        Self {
            principal: party(request.principal()),
            action: request.action().map(|uid| uid.id().unescaped().to_owned()).unwrap_or_default(),
            resource: party(request.resource()),
            context: context(request),
            request: None,
        }
    }
}

impl Party {
    fn of(uid: &EntityUid, entities: &Entities) -> Self {
        let mut party = Self {
            kind: uid.type_name().basename().to_owned(),
            id: uid.id().unescaped().to_owned(),
            ..Self::default()
        };
        if let Some(entity) = entities.get(uid) {
            // A value that is unknown is not told; the solver leaves none unknown.
            let known = |(name, value): (&str, Result<EvalResult, _>)| Some((name.to_owned(), json(&value.ok()?)));
            party.attributes = entity.attrs().filter_map(known).collect();
            let known = |(name, value): (&str, Result<EvalResult, _>)| Some((name.to_owned(), json(&value.ok()?)));
            party.tags = entity.tags().filter_map(known).collect();
        }
        party
    }
}

fn context(request: &Request) -> BTreeMap<String, Value> {
    let Some(context) = request.context() else { return BTreeMap::new() };
    let value = |name: String| context.get(&name).map(|value| (name, json(&value)));
    context.clone().into_iter().filter_map(|(name, _)| value(name)).collect()
}

fn json(value: &EvalResult) -> Value {
    match value {
        EvalResult::Bool(truth) => Value::from(*truth),
        EvalResult::Long(number) => Value::from(*number),
        EvalResult::String(text) | EvalResult::ExtensionValue(text) => Value::from(text.as_str()),
        EvalResult::EntityUid(uid) => Value::from(uid.id().unescaped()),
        EvalResult::Set(set) => set.iter().map(json).collect(),
        EvalResult::Record(record) => record.iter().map(|(name, value)| (name.clone(), json(value))).collect(),
    }
}

impl Ruling {
    /// What `policies` say to a request. A `forbid` that did not match is blamed where it looks at one of `stakes`.
    pub(super) fn of(policies: &Policies, request: &Request, entities: &Entities, stakes: &BTreeSet<String>) -> Self {
        let response = policies.authorizer.is_authorized(request, &policies.policies, entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let allows = response.decision() == Decision::Allow;
        let determining = if allows { Part::Permits } else { Part::Forbids };
        let mut blame: Vec<Blame> = Vec::new();
        let mut add = |id: String, part| {
            let place = policies.places().get(&id).cloned();
            blame.extend(place.map(|place| Blame { policy: id, place, part }));
        };
        let determined: BTreeSet<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        determined.into_iter().for_each(|id| add(id, determining));
        for AuthorizationError::PolicyEvaluationError(error) in response.diagnostics().errors() {
            add(error.policy_id().to_string(), Part::Fails);
        }
        if allows {
            let stood_by = policies
                .policies
                .policies()
                .filter(|policy| in_scope(policy, request, &policies.schema) && !mentions(policy).is_disjoint(stakes));
            stood_by.for_each(|policy| add(policy.id().to_string(), Part::LetPass));
        }
        Self { allowed: allows && errors.is_empty(), blame, errors }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "who      {}", self.principal)?;
        writeln!(f, "what     {}", self.action)?;
        writeln!(f, "on       {}", self.resource)?;
        write!(f, "context  {}", listed(&self.context))
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.kind, self.id, listed(&self.attributes))?;
        if self.tags.is_empty() { Ok(()) } else { write!(f, "; tags {}", listed(&self.tags)) }
    }
}

fn listed(values: &BTreeMap<String, Value>) -> String {
    let pair = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name} `{text}`"),
        other => format!("{name} {other}"),
    };
    values.iter().map(pair).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blame = self.blame.iter().map(ToString::to_string);
        let nobody = self.blame.is_empty().then(|| "permitted by no policy".to_owned());
        let lines: Vec<String> = blame.chain(nobody).chain(self.errors.iter().cloned()).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Permits => "permitted by",
            Part::Forbids => "forbidden by",
            Part::Fails => "failed in",
            Part::LetPass => "let pass by",
        };
        write!(f, "{part} `{}`, {}", self.policy, self.place)
    }
}
