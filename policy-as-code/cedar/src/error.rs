//! Why a policy set is not served.

use std::fmt;

use cedar_policy::ffi::DetailedError;
use serde::Serialize;
use shared::Explain;

use crate::{SolverError, Source};

/// Where in a source something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The source's path.
    pub path: String,
    /// The line, from 1; `None` where Cedar does not say.
    pub line: Option<usize>,
}

impl Place {
    pub(crate) fn at_offset(source: &Source, offset: usize) -> Self {
        let before = source.text.as_bytes().iter().take(offset);
        let line = before.filter(|byte| **byte == b'\n').count().saturating_add(1);
        Self { path: source.path.clone(), line: Some(line) }
    }

    pub(crate) fn of(source: &Source, detail: &DetailedError) -> Self {
        match detail.source_locations.first() {
            Some(label) => Self::at_offset(source, label.loc.start),
            None => Self { path: source.path.clone(), line: None },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "`{}` line {line}", self.path),
            None => write!(f, "`{}`", self.path),
        }
    }
}

/// Why a policy set is not served.
#[derive(Debug, thiserror::Error)]
pub enum CedarError {
    /// A schema or policy does not parse.
    #[error("{place} does not parse: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What Cedar says.
        reason: String,
    },
    /// A policy has no `@id`.
    #[error("{place}: the policy has no `@id`")]
    NoId {
        /// Where.
        place: Place,
    },
    /// Two policies have the same `@id`.
    #[error("{place}: the policy id `{id}` is taken already")]
    DuplicateId {
        /// Where the second one stands.
        place: Place,
        /// The id.
        id: String,
    },
    /// A source holds a policy template, which has no meaning here.
    #[error("`{path}` holds a policy template")]
    Template {
        /// The source's path.
        path: String,
    },
    /// A source takes the set beyond a limit.
    #[error("`{path}` takes the policy set beyond its limit of {limit} {what}")]
    TooLarge {
        /// The source's path.
        path: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// A policy contradicts the schema, or can never apply.
    #[error("{place}: policy `{id}` is not valid: {reason}")]
    Invalid {
        /// Where.
        place: Place,
        /// The policy's id.
        id: String,
        /// What Cedar says.
        reason: String,
    },
    /// The schema does not describe the requests that Ringfence makes.
    #[error("the schema does not describe Ringfence's requests: {reason}")]
    SchemaUnfit {
        /// What Cedar says.
        reason: String,
    },
    /// A test file is not what `cedar run-tests` reads.
    #[error("`{path}` is no test file: {reason}")]
    TestFile {
        /// The file's path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// An invariant is written as a `forbid`.
    #[error("{place}: the invariant `{id}` is a `forbid`")]
    InvariantForbids {
        /// Where it stands.
        place: Place,
        /// The invariant's id.
        id: String,
    },
    /// Policies cannot be stated as a formula.
    #[error("the policies cannot be stated as a formula: {reason}")]
    Symbolic {
        /// What the symbolic compiler says.
        reason: String,
    },
    /// The solver cannot be relied on.
    #[error(transparent)]
    Solver(#[from] SolverError),
}

impl CedarError {
    pub(crate) fn symbolic(reason: impl fmt::Display) -> Self {
        Self::Symbolic { reason: reason.to_string() }
    }
}

impl Explain for CedarError {
    fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "policy-syntax",
            Self::NoId { .. } => "policy-no-id",
            Self::DuplicateId { .. } => "policy-duplicate-id",
            Self::Template { .. } => "policy-template",
            Self::TooLarge { .. } => "policy-too-large",
            Self::Invalid { .. } => "policy-invalid",
            Self::SchemaUnfit { .. } => "policy-schema-unfit",
            Self::TestFile { .. } => "policy-test-file",
            Self::InvariantForbids { .. } => "policy-invariant-forbids",
            Self::Symbolic { .. } => "policy-symbolic",
            Self::Solver(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "mend the file at that line; the policy set in force stays",
            Self::NoId { .. } => {
                "give the policy an annotation such as `@id(\"guard.quorum\")`; decisions are logged by it"
            }
            Self::DuplicateId { .. } => "rename one of the two; an id names one policy in decisions and logs",
            Self::Template { .. } => "write the policy out for each case; templates cannot be proven",
            Self::TooLarge { .. } => {
                "say in one policy what differs only in a name: `[\"a\", \"b\"].contains(resource.owner)`"
            }
            Self::Invalid { .. } => "compare the policy with `schema/ringfence.cedarschema`",
            Self::SchemaUnfit { .. } => "keep the attributes and actions of the schema that Ringfence ships",
            Self::TestFile { .. } => {
                "write a JSON array of tests with name, request, entities, decision, reason and num_errors"
            }
            Self::InvariantForbids { .. } => {
                "write the requests that it is about as a `permit`; its folder says the rest"
            }
            Self::Symbolic { .. } => "say it in another way; templates and some extension functions cannot be proven",
            Self::Solver(error) => error.hint(),
        }
    }
}
