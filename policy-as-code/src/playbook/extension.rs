//! What CACAO leaves open and a reversible action needs, as one extension definition that a plain CACAO reader ignores.

use serde::{Deserialize, Serialize};
use shared::decision::ContainmentAction;

use super::PlaybookError;

/// The extension definition's identifier, the key under `step_extensions`.
pub const EXTENSION_ID: &str = "extension-definition--5a2c0f5e-6d6b-4c0e-9a55-3a7e0f6b1c21";
/// The version of the extension that is understood.
pub const EXTENSION_VERSION: &str = "1.0.0";

pub(crate) const LEASE_MS: std::ops::RangeInclusive<u64> = 1_000..=30 * 24 * 3_600_000;
const ATTEMPTS: std::ops::RangeInclusive<u32> = 1..=5;
const MAX_BACKOFF_MS: u64 = 10_000;

/// What the extension says about an action step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// The action that the policy set is asked for and the actuator carries out.
    pub policy_action: ContainmentAction,
    /// How the effect is undone.
    pub undo: UndoKind,
    /// How long the effect holds before it is undone, in milliseconds.
    pub lease_ms: u64,
    /// What must be true afterwards.
    pub postcondition: Postcondition,
    /// How often it is tried.
    pub retry: Retry,
}

/// How an effect is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoKind {
    /// The former state is captured before the effect and restored.
    Captured,
    /// The effect passes by itself.
    NotNeeded,
    /// Not at all; policies see the action as irreversible.
    Impossible,
}

/// What an actuator verifies by trying to get past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Postcondition {
    /// Connections and queries beyond the limit are refused.
    AccessLimited,
    /// No session from before answers any more.
    SessionsEnded,
    /// The credential is refused, and nothing that it opened lives on.
    LoginRefused,
    /// The asset does not answer from the network.
    Unreachable,
}

/// How often and how fast a step is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How often, the first try included.
    pub attempts: u32,
    /// How long to wait between two tries, in milliseconds.
    pub backoff_ms: u64,
}

impl Extension {
    /// Refuses values that cannot be carried out.
    pub fn check(&self) -> Result<(), PlaybookError> {
        let bad = |reason: String| Err(PlaybookError::Extension { reason });
        let fitting = postcondition_of(self.policy_action);
        if fitting != Some(self.postcondition) {
            return bad(format!("`{}` cannot be verified by that postcondition", self.policy_action));
        }
        if !LEASE_MS.contains(&self.lease_ms) {
            return bad(format!("`lease_ms` is {}, outside 1 second to 30 days", self.lease_ms));
        }
        if !ATTEMPTS.contains(&self.retry.attempts) || self.retry.backoff_ms > MAX_BACKOFF_MS {
            return bad("`retry` exceeds 5 attempts or 10 seconds between them".to_owned());
        }
        Ok(())
    }

    /// Whether the effect can be undone or passes by itself.
    pub fn is_reversible(&self) -> bool {
        self.undo != UndoKind::Impossible
    }
}

fn postcondition_of(action: ContainmentAction) -> Option<Postcondition> {
    match action {
        ContainmentAction::Throttle => Some(Postcondition::AccessLimited),
        ContainmentAction::TerminateSessions => Some(Postcondition::SessionsEnded),
        ContainmentAction::DisableCredential => Some(Postcondition::LoginRefused),
        ContainmentAction::Isolate => Some(Postcondition::Unreachable),
        ContainmentAction::Rollback => None,
    }
}
