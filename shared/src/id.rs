//! Identifiers. Each is a newtype whose constructor refuses what could not stand in a path, a log line or a URL. Clones
//! share the text: a round's state names its whole cohort and is cloned with every event.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Explain;

/// The longest name an identifier may have, in bytes.
pub const MAX_LEN: usize = 63;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}")]
pub struct InvalidId {
    kind: &'static str,
    text: String,
}

impl Explain for InvalidId {
    fn code(&self) -> &'static str {
        "id-invalid"
    }

    fn hint(&self) -> &'static str {
        "use 1 to 63 characters: lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
    }
}

fn is_valid(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    starts_well && text.len() <= MAX_LEN && text.bytes().all(allowed)
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads an identifier: 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if is_valid(&text) { Ok(Self(text.into())) } else { Err(InvalidId { kind: $kind, text }) }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_id!(
    /// One site of the federation.
    ParticipantId,
    "participant id"
);
name_id!(
    /// One federated training task.
    TaskId,
    "task id"
);
name_id!(
    /// A signed, published model.
    ReleaseId,
    "release id"
);
name_id!(
    /// One run of a playbook.
    RunId,
    "run id"
);
name_id!(
    /// A thing at a site that an action can touch: a database account, a host, a bucket.
    AssetId,
    "asset id"
);

/// The number of a round within its task, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoundNumber(pub u32);

impl RoundNumber {
    /// The first round of a task.
    pub const FIRST: Self = Self(1);

    /// The round after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for RoundNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One round of one task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundId {
    /// The task the round belongs to.
    pub task_id: TaskId,
    /// Its number within the task.
    pub number: RoundNumber,
}

impl fmt::Display for RoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task_id, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for text in ["", "../etc", "A", "a/b", "-a", ".a", "a b", "ä", &"x".repeat(64)] {
            assert!(ParticipantId::new(text).is_err(), "{text}");
        }
        assert_eq!(ParticipantId::new("site-1.eu").unwrap().as_str(), "site-1.eu");
    }
}
