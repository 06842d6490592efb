//! What a playbook says, after everything that could make it unrunnable was refused.
//!
//! A value of these types is a graph without loops in which every step exists and is reached. It can only come from
//! [`Playbook::parse`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use shared::Timestamp;

use super::PlaybookError;
use super::extension::Extension;

/// How many steps a playbook may have; `schema/domain.toml` bounds `playbook_step` by the same number.
pub const MAX_STEPS: usize = 64;

/// A CACAO identifier: `<type>--<uuid>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId(String);

impl StepId {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `--`: the type of what it names.
    pub fn kind(&self) -> &str {
        self.0.split_once("--").map_or("", |(kind, _)| kind)
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl TryFrom<String> for StepId {
    type Error = PlaybookError;

    fn try_from(text: String) -> Result<Self, PlaybookError> {
        match text.split_once("--") {
            Some((kind, uuid)) if !kind.is_empty() && is_uuid(uuid) => Ok(Self(text)),
            _ => Err(PlaybookError::Identifier { text: text.chars().take(128).collect() }),
        }
    }
}

impl From<StepId> for String {
    fn from(id: StepId) -> String {
        id.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A runnable playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// Its identifier; versions share it.
    pub id: StepId,
    /// Its name.
    pub name: String,
    /// Which version it is: when it was modified.
    pub modified: Timestamp,
    /// From when on it may be run.
    pub valid_from: Option<Timestamp>,
    /// Until when it may be run.
    pub valid_until: Option<Timestamp>,
    /// The first step after `start`.
    pub first: StepId,
    /// The steps after `start`.
    pub steps: BTreeMap<StepId, Step>,
}

/// A step of a playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Step {
    /// Something is done.
    Action(ActionStep),
    /// Nothing more is done.
    End,
}

/// A step that does something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionStep {
    /// Its name.
    pub name: String,
    /// What is done and how it is undone.
    pub extension: Extension,
    /// How long the step waits for approval, in milliseconds.
    pub timeout_ms: u64,
    /// The step after success.
    pub on_success: StepId,
    /// The step after failure; without one, a failure rolls the whole run back.
    pub on_failure: Option<StepId>,
}

impl Playbook {
    /// The action step `id`.
    pub fn action(&self, id: &StepId) -> Option<&ActionStep> {
        match self.steps.get(id) {
            Some(Step::Action(action)) => Some(action),
            Some(Step::End) | None => None,
        }
    }

    /// The action steps, as they follow on success.
    pub fn on_success(&self) -> Vec<&ActionStep> {
        let mut path = Vec::new();
        let mut next = self.action(&self.first);
        while let Some(action) = next {
            path.push(action);
            next = self.action(&action.on_success);
        }
        path
    }

    /// Whether the playbook may be started at `now`.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| from <= now) && self.valid_until.is_none_or(|until| now < until)
    }
}
