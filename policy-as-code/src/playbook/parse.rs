//! From CACAO JSON to a runnable [`Playbook`]. A schema-valid playbook may still be unrunnable (a step that is missing, a
//! loop without end); whatever this subset does not carry out is refused by name, never skipped.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use shared::Timestamp;

use super::PlaybookError;
use super::ast::{ActionStep, MAX_STEPS, Playbook, Step, StepId};
use super::extension::{EXTENSION_ID, EXTENSION_VERSION, Extension};

/// Properties that change what a playbook does and that this subset does not carry out.
const UNSUPPORTED: [&str; 3] = ["playbook_extensions", "playbook_variables", "workflow_exception"];
const UNSUPPORTED_IN_STEPS: [&str; 4] = ["delay", "in_args", "out_args", "step_variables"];

#[derive(Deserialize)]
struct RawPlaybook {
    r#type: String,
    spec_version: String,
    id: StepId,
    name: String,
    created: String,
    modified: String,
    #[serde(default)]
    revoked: bool,
    valid_from: Option<String>,
    valid_until: Option<String>,
    workflow_start: StepId,
    workflow: BTreeMap<StepId, Map<String, Value>>,
    #[serde(default)]
    agent_definitions: BTreeMap<StepId, Value>,
    #[serde(default)]
    target_definitions: BTreeMap<StepId, Value>,
    #[serde(default)]
    extension_definitions: BTreeMap<String, ExtensionDefinition>,
}

#[derive(Deserialize)]
struct ExtensionDefinition {
    version: String,
}

#[derive(Deserialize)]
struct RawStart {
    on_completion: StepId,
}

#[derive(Deserialize)]
struct RawAction {
    #[serde(default)]
    name: String,
    timeout: Option<u64>,
    agent: StepId,
    #[serde(default)]
    targets: Vec<StepId>,
    on_completion: Option<StepId>,
    on_success: Option<StepId>,
    on_failure: Option<StepId>,
    #[serde(default)]
    step_extensions: BTreeMap<String, Value>,
}

impl Playbook {
    /// Reads a CACAO 2.0 playbook.
    pub fn parse(text: &str) -> Result<Self, PlaybookError> {
        let value: Map<String, Value> = serde_json::from_str(text).map_err(syntax)?;
        refuse_unsupported(&value, &UNSUPPORTED)?;
        let raw: RawPlaybook = serde_json::from_value(Value::Object(value)).map_err(syntax)?;
        check_head(&raw)?;
        let (start, steps) = steps(&raw)?;
        let playbook = Self {
            modified: millisecond_timestamp(&raw.modified)?,
            valid_from: raw.valid_from.as_deref().map(millisecond_timestamp).transpose()?,
            valid_until: raw.valid_until.as_deref().map(millisecond_timestamp).transpose()?,
            id: raw.id,
            name: raw.name,
            first: start,
            steps,
        };
        check_graph(&playbook)?;
        Ok(playbook)
    }
}

fn syntax(error: serde_json::Error) -> PlaybookError {
    PlaybookError::Syntax { reason: error.to_string() }
}

fn refuse_unsupported(value: &Map<String, Value>, names: &[&'static str]) -> Result<(), PlaybookError> {
    match names.iter().find(|name| value.contains_key(**name)) {
        Some(name) => Err(PlaybookError::Unsupported { what: format!("property `{name}`") }),
        None => Ok(()),
    }
}

fn check_head(raw: &RawPlaybook) -> Result<(), PlaybookError> {
    if raw.r#type != "playbook" || raw.spec_version != "cacao-2.0" {
        let what = format!("type `{}` of specification `{}`", raw.r#type, raw.spec_version);
        return Err(PlaybookError::Unsupported { what });
    }
    if raw.revoked {
        return Err(PlaybookError::Revoked);
    }
    if millisecond_timestamp(&raw.modified)? < millisecond_timestamp(&raw.created)? {
        return Err(PlaybookError::Syntax { reason: "`modified` lies before `created`".to_owned() });
    }
    if raw.workflow.len() > MAX_STEPS {
        return Err(PlaybookError::TooManySteps { limit: MAX_STEPS });
    }
    let version = raw.extension_definitions.get(EXTENSION_ID).map(|definition| definition.version.as_str());
    match version {
        Some(EXTENSION_VERSION) => Ok(()),
        Some(other) => Err(PlaybookError::Unsupported { what: format!("version `{other}` of `{EXTENSION_ID}`") }),
        None => Err(PlaybookError::Missing { what: "extension definition", id: EXTENSION_ID.to_owned() }),
    }
}

/// CACAO gives `created` and `modified` exactly three digits after the second.
fn millisecond_timestamp(text: &str) -> Result<Timestamp, PlaybookError> {
    let bad = || PlaybookError::Syntax { reason: format!("`{text}` is no timestamp with exactly three decimals") };
    let decimals = text.strip_suffix('Z').and_then(|text| text.rsplit_once('.')).map_or("", |(_, decimals)| decimals);
    if decimals.len() != 3 {
        return Err(bad());
    }
    text.parse().map_err(|_| bad())
}

/// The step after `start`, and all steps but `start`.
fn steps(raw: &RawPlaybook) -> Result<(StepId, BTreeMap<StepId, Step>), PlaybookError> {
    let mut start = None;
    let mut steps = BTreeMap::new();
    for (id, value) in &raw.workflow {
        match step_type(id, value)? {
            "start" if *id == raw.workflow_start => start = Some(start_step(value)?),
            "action" => drop(steps.insert(id.clone(), Step::Action(action_step(raw, id, value)?))),
            "end" => drop(steps.insert(id.clone(), Step::End)),
            "start" => return Err(PlaybookError::Unreached { step: id.to_string() }),
            other => return Err(PlaybookError::Unsupported { what: format!("step type `{other}`") }),
        }
    }
    let start = start.ok_or(PlaybookError::Missing { what: "start step", id: raw.workflow_start.to_string() })?;
    Ok((start, steps))
}

fn step_type<'a>(id: &StepId, value: &'a Map<String, Value>) -> Result<&'a str, PlaybookError> {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or("");
    if kind != id.kind() {
        let reason = format!("step `{id}` has type `{kind}`");
        return Err(PlaybookError::Syntax { reason });
    }
    Ok(kind)
}

fn start_step(value: &Map<String, Value>) -> Result<StepId, PlaybookError> {
    refuse_unsupported(value, &UNSUPPORTED_IN_STEPS)?;
    refuse_unsupported(value, &["on_success", "on_failure"])?;
    let start: RawStart = serde_json::from_value(Value::Object(value.clone())).map_err(syntax)?;
    Ok(start.on_completion)
}

fn action_step(raw: &RawPlaybook, id: &StepId, value: &Map<String, Value>) -> Result<ActionStep, PlaybookError> {
    refuse_unsupported(value, &UNSUPPORTED_IN_STEPS)?;
    let action: RawAction = serde_json::from_value(Value::Object(value.clone())).map_err(syntax)?;
    check_defined(&raw.agent_definitions, "agent definition", &action.agent)?;
    for target in &action.targets {
        check_defined(&raw.target_definitions, "target definition", target)?;
    }
    let extension = extension(id, &action)?;
    let (on_success, on_failure) = successors(id, action.on_completion, action.on_success, action.on_failure)?;
    let timeout_ms = action.timeout.unwrap_or(extension.lease_ms);
    Ok(ActionStep { name: action.name, extension, timeout_ms, on_success, on_failure })
}

fn check_defined(definitions: &BTreeMap<StepId, Value>, what: &'static str, id: &StepId) -> Result<(), PlaybookError> {
    let missing = || PlaybookError::Missing { what, id: id.to_string() };
    definitions.get(id).map(|_| ()).ok_or_else(missing)
}

fn extension(id: &StepId, action: &RawAction) -> Result<Extension, PlaybookError> {
    let missing = PlaybookError::Extension { reason: format!("step `{id}` does not carry `{EXTENSION_ID}`") };
    let value = action.step_extensions.get(EXTENSION_ID).ok_or(missing)?;
    let bad = |error: serde_json::Error| PlaybookError::Extension { reason: format!("step `{id}`: {error}") };
    let extension: Extension = serde_json::from_value(value.clone()).map_err(bad)?;
    extension.check()?;
    Ok(extension)
}

/// CACAO: either `on_completion`, or `on_success` with or without `on_failure`.
fn successors(
    id: &StepId,
    on_completion: Option<StepId>,
    on_success: Option<StepId>,
    on_failure: Option<StepId>,
) -> Result<(StepId, Option<StepId>), PlaybookError> {
    match (on_completion, on_success, on_failure) {
        (Some(next), None, None) => Ok((next.clone(), Some(next))),
        (None, Some(next), on_failure) => Ok((next, on_failure)),
        _ => Err(PlaybookError::Successors { step: id.to_string() }),
    }
}

/// Every step that is named exists, none follows itself, and each is reached.
fn check_graph(playbook: &Playbook) -> Result<(), PlaybookError> {
    let mut done = BTreeSet::new();
    visit(playbook, &playbook.first, &mut Vec::new(), &mut done)?;
    match playbook.steps.keys().find(|id| !done.contains(*id)) {
        Some(step) => Err(PlaybookError::Unreached { step: step.to_string() }),
        None => Ok(()),
    }
}

/// Depth-first; the depth is bounded by [`MAX_STEPS`].
fn visit<'a>(
    playbook: &'a Playbook,
    id: &'a StepId,
    path: &mut Vec<&'a StepId>,
    done: &mut BTreeSet<&'a StepId>,
) -> Result<(), PlaybookError> {
    if path.contains(&id) {
        return Err(PlaybookError::Loop { step: id.to_string() });
    }
    if done.contains(id) {
        return Ok(());
    }
    let step = playbook.steps.get(id).ok_or(PlaybookError::Missing { what: "step", id: id.to_string() })?;
    path.push(id);
    if let Step::Action(action) = step {
        for next in std::iter::once(&action.on_success).chain(&action.on_failure) {
            visit(playbook, next, path, done)?;
        }
    }
    path.pop();
    done.insert(id);
    Ok(())
}

#[cfg(test)]
mod tests;
