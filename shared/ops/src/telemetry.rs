//! Logs: `tracing` events on standard error, for people or as one JSON object a line. Standard output stays free.

use std::io::{self, IsTerminal};

use serde::{Deserialize, Serialize};
use shared::Explain;
use tracing_subscriber::EnvFilter;

/// The environment variable whose filter goes before the configured one.
const FILTER_VARIABLE: &str = "RUST_LOG";

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people, coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The section of a configuration that says what is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// For people, or as one JSON object a line.
    pub format: LogFormat,
    /// Levels by module, such as `info,coordinator=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), filter: "info".to_owned() }
    }
}

/// Why there are no logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("`{filter}` is no log filter: {reason}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something in this process writes logs already.
    #[error("logging was set up before")]
    Twice,
}

impl Explain for TelemetryError {
    fn code(&self) -> &'static str {
        match self {
            Self::Filter { .. } => "config-log-filter",
            Self::Twice => "log-twice",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Filter { .. } => "use a level, or levels by module such as `info,coordinator::round=debug`",
            Self::Twice => "set up logging once, at the start of the process",
        }
    }
}

/// Writes logs to standard error from now on. `filter` holds levels by module, as `info,coordinator=debug`; the
/// environment variable `RUST_LOG` goes before it.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| filter.to_owned());
    let builder = tracing_subscriber::fmt().with_env_filter(parse(&filter)?).with_writer(io::stderr);
    let installed = match format {
        LogFormat::Human => builder.with_ansi(is_coloured()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| TelemetryError::Twice)
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let refused = |reason: String| TelemetryError::Filter { filter: filter.to_owned(), reason };
    EnvFilter::try_new(filter).map_err(|error| refused(error.to_string()))
}

/// <https://no-color.org>: the variable counts when it is not empty.
fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused_by_its_text() {
        let error = parse("coordinator=loud").unwrap_err();
        assert!(error.to_string().starts_with("`coordinator=loud` is no log filter: "), "{error}");
        assert!(parse("info,coordinator::round=debug").is_ok());
    }

    #[test]
    fn logging_is_set_up_once() {
        init(LogFormat::Json, "info").unwrap();
        assert_eq!(init(LogFormat::Human, "info"), Err(TelemetryError::Twice));
    }
}
