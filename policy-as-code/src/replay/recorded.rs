//! A decision, as an audit log holds it: what is read of one line of `ringfence-participant audit export`.
//!
//! Read is what a replay needs. Signatures and places in the log are not checked here; `audit verify` does that where
//! the log is.

use serde::Deserialize;
use serde::de::Error as _;
use shared::audit::AuditKind;
use shared::decision::{DecisionRequest, Lease};
use shared::detection::Tier;
use shared::{Digest, RunId, Timestamp};

use crate::playbook::Cause;

/// A decision that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When.
    pub at: Timestamp,
    /// For which run.
    pub run_id: RunId,
    /// For which of its steps, from 1.
    pub step: u32,
    /// What was asked.
    pub request: DecisionRequest,
    /// The tier that was answered.
    pub tier: Tier,
    /// Digest of the bundle that answered.
    pub bundle: Digest,
    /// How long the action might stay in force; `None` where nothing was reserved.
    pub lease: Option<Lease>,
    /// Whether another run held the asset, so that this one could not act.
    pub held: bool,
}

/// An audit record, as far as a replay looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A decision.
    Decision(Box<Recorded>),
    /// A step was undone before its lease lapsed.
    GivenBack {
        /// When.
        at: Timestamp,
        /// Of which run.
        run_id: RunId,
        /// Which of its steps.
        step: u32,
    },
    /// Anything else.
    Other,
}

/// How a line of a decision ends in canonical JSON, where `kind` is the last key.
const CANONICAL_DECISION: &str = r#""kind":"decision"}"#;

#[derive(Deserialize)]
struct Kind {
    kind: AuditKind,
}

#[derive(Deserialize)]
struct Line<T> {
    at: Timestamp,
    content: T,
}

#[derive(Deserialize)]
struct Decided {
    run_id: RunId,
    step: u32,
    verdict: Verdict,
}

/// Of [`crate::containment::Verdict`], what is needed.
#[derive(Deserialize)]
struct Verdict {
    request: DecisionRequest,
    decision: Answer,
    lease: Option<Lease>,
    held_by: Option<RunId>,
}

#[derive(Deserialize)]
struct Answer {
    tier: Tier,
    bundle: Digest,
}

#[derive(Deserialize)]
struct RolledBack {
    run_id: RunId,
    step: u32,
    cause: Cause,
}

impl Record {
    /// Reads one line: an [`shared::audit::AuditRecord`] as JSON.
    pub fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        // Checked as a whole, which takes less time than string by string.
        let line = std::str::from_utf8(line).map_err(serde_json::Error::custom)?;
        match kind(line)? {
            AuditKind::Decision => Ok(Self::Decision(Box::new(serde_json::from_str::<Line<Decided>>(line)?.into()))),
            AuditKind::Rollback => Ok(serde_json::from_str::<Line<RolledBack>>(line)?.into()),
            _ => Ok(Self::Other),
        }
    }
}

/// What a line is about. Most are decisions in canonical form: those are told by their end, and read once only.
fn kind(line: &str) -> Result<AuditKind, serde_json::Error> {
    if line.trim_ascii_end().ends_with(CANONICAL_DECISION) {
        return Ok(AuditKind::Decision);
    }
    Ok(serde_json::from_str::<Kind>(line)?.kind)
}

impl From<Line<Decided>> for Recorded {
    fn from(Line { at, content }: Line<Decided>) -> Self {
        let Decided { run_id, step, verdict } = content;
        let Verdict { request, decision: Answer { tier, bundle }, lease, held_by } = verdict;
        Self { at, run_id, step, request, tier, bundle, lease, held: held_by.is_some() }
    }
}

impl From<Line<RolledBack>> for Record {
    fn from(Line { at, content: RolledBack { run_id, step, cause } }: Line<RolledBack>) -> Self {
        match cause {
            // Its lease had run out: it is not in force anyway.
            Cause::Lapsed => Self::Other,
            _ => Self::GivenBack { at, run_id, step },
        }
    }
}
