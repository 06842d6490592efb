//! Configuration in layers: defaults, then a TOML file, then the environment, then flags. Each layer overrides the one
//! before it field by field; lists are replaced whole. It refuses what it does not know, and says where it stands.
//!
//! A configuration type derives `Deserialize` with `#[serde(default, deny_unknown_fields)]` on every section; its
//! `Default` is the lowest layer.

mod file;
mod layers;

use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::Explain;

use self::file::ConfigFile;
use self::layers::{Layers, Variable};
use crate::cli::{Failure, Format, print};

/// Where a field was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file.
    File {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
    },
    /// By the environment variable of this name.
    Environment(String),
    /// By a flag on the command line.
    Flag,
    /// Nowhere.
    Unset,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "`{path}` line {line}, column {column}"),
            Self::Environment(name) => write!(f, "environment variable `{name}`"),
            Self::Flag => f.write_str("command line"),
            Self::Unset => f.write_str("configuration"),
        }
    }
}

/// Look at the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Check the configuration and say nothing when it is good
    Validate,
    /// Print the whole configuration as TOML, secrets redacted
    Dump,
}

impl Command {
    /// Does what was asked of a configuration that was loaded, which is its check.
    pub fn run<T: Serialize>(self, config: &T) -> Result<(), Failure> {
        match self {
            Self::Validate => Ok(()),
            Self::Dump => print(&dump(config)?, Format::Human)
                .map_err(|error| Failure::new("output", "check that standard output can be written", error)),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file `{path}` cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{origin}: {reason}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser said.
        reason: String,
    },
    /// A field is unknown, is missing, or has a value that it cannot have.
    #[error("{origin}: `{field}`: {reason}")]
    Field {
        /// Where it was set.
        origin: Origin,
        /// Its sections and name, separated by full stops.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration cannot be written as TOML.
    #[error("the configuration cannot be written as TOML: {0}")]
    Undumpable(String),
}

impl Explain for ConfigError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config-unreadable",
            Self::Syntax { .. } => "config-syntax",
            Self::Field { .. } => "config-field",
            Self::Undumpable(_) => "config-undumpable",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check the path and its permissions",
            Self::Syntax { .. } => "correct the line; the format is TOML 1.0",
            Self::Field { .. } => "correct the field; `config dump` prints every field that is set",
            Self::Undumpable(_) => "check that every list of sections comes after the plain fields",
        }
    }
}

/// Reads the configuration: defaults, overridden by `file`, by environment variables `PREFIX__SECTION__FIELD`, and by
/// `flags`.
///
/// A variable's text is read as a TOML value where its field takes one (`5`, `true`, `["a"]`), else as plain text. A
/// variable that begins with `env_prefix` and two underscores but names no field is an error, as is an unknown field.
pub fn load<T: DeserializeOwned>(file: Option<&Path>, env_prefix: &str, flags: toml::Table) -> Result<T, ConfigError> {
    let file = file.map(ConfigFile::read).transpose()?;
    let environment = std::env::vars_os()
        .filter_map(|(name, text)| Variable::new(env_prefix, name.to_str()?, &text.to_string_lossy()));
    Layers::new(file, environment.collect(), flags).read()
}

/// The flags that were given, as the highest layer of [`load`].
pub fn flags<const N: usize>(given: [(&str, Option<String>); N]) -> toml::Table {
    given.into_iter().filter_map(|(field, text)| Some((field.to_owned(), text?.into()))).collect()
}

/// The configuration as TOML that [`load`] reads, except that secrets are redacted.
pub fn dump<T: Serialize>(config: &T) -> Result<String, ConfigError> {
    toml::to_string_pretty(config).map_err(|error| ConfigError::Undumpable(error.to_string()))
}

#[cfg(test)]
mod tests;
