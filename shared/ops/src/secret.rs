//! Text that must not be shown: tokens and passwords. It never prints, and is wiped from memory when dropped.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What stands for a secret wherever one is written.
const REDACTED: &str = "[redacted]";

/// A secret from the configuration: `token = "…"`, or `token = { file = "/run/secrets/token" }` for the text of a file
/// without its last line feed. It is never empty, and `Debug` and `Serialize` redact it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Why a text is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// There is nothing to keep secret.
    #[error("the secret is empty")]
    Empty,
    /// The text comes from a dump of the configuration.
    #[error("the secret is `[redacted]`, as a dump of the configuration prints it")]
    Redacted,
    /// The file that holds it cannot be read.
    #[error("the secret's file `{path}` cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
}

impl Secret {
    /// A secret from its text.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidSecret> {
        let text = Zeroizing::new(text.into());
        match text.as_str() {
            "" => Err(InvalidSecret::Empty),
            REDACTED => Err(InvalidSecret::Redacted),
            _ => Ok(Self(text)),
        }
    }

    /// The text itself, for the one place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `text` is the secret, in a time that does not tell how much of it was right.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(text).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Two secrets are equal when their texts are.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or a table with `file`")]
enum Spelling {
    Text(String),
    File(SecretFile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    file: PathBuf,
}

impl SecretFile {
    fn read(self) -> Result<String, InvalidSecret> {
        fs::read_to_string(&self.file).map_err(|error| InvalidSecret::Unreadable {
            path: self.file.display().to_string(),
            reason: error.to_string(),
        })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(match Spelling::deserialize(deserializer)? {
            Spelling::Text(text) => text,
            Spelling::File(file) => file.read().map_err(serde::de::Error::custom)?,
        });
        Self::new(text.trim_end_matches(['\r', '\n'])).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Section {
        token: Secret,
    }

    #[test]
    fn a_secret_is_never_printed() {
        let section: Section = toml::from_str("token = 'hunter2'").unwrap();
        assert_eq!(format!("{section:?}"), "Section { token: [redacted] }");
        assert_eq!(toml::to_string(&section).unwrap(), "token = \"[redacted]\"\n");
        assert_eq!(section.token.expose(), "hunter2");
    }

    #[test]
    fn a_secret_may_lie_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "hunter2\n").unwrap();
        let section: Section = toml::from_str(&format!("token = {{ file = {path:?} }}")).unwrap();
        assert!(section.token.matches(b"hunter2"));
        assert!(!section.token.matches(b"hunter") && !section.token.matches(b"hunter3"));
    }

    #[test]
    fn what_is_no_secret_is_refused_with_the_reason() {
        let cases = [
            ("token = ''", "the secret is empty"),
            ("token = '[redacted]'", "as a dump of the configuration prints it"),
            ("token = { file = '/nowhere/token' }", "the secret's file `/nowhere/token` cannot be read"),
            ("token = { path = 'token' }", "expected a text, or a table with `file`"),
            ("token = 5", "expected a text, or a table with `file`"),
        ];
        for (text, reason) in cases {
            let error = toml::from_str::<Section>(text).unwrap_err();
            assert!(error.message().contains(reason), "{text}: {}", error.message());
        }
    }
}
