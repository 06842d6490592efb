//! What the binaries need around their work: clock, configuration, logs, metrics, health, problems, shutdown, terminal.
//!
//! Nothing here knows what a task, a model or an event is. A binary puts the pieces together so:
//!
//! ```no_run
//! use std::{path::PathBuf, process::ExitCode};
//! use axum::{Router, routing::get};
//! use clap::Parser;
//! use shared_ops::{Secret, auth, cli, config, health, metrics, problem, shutdown, telemetry};
//!
//! #[derive(Parser)]
//! #[command(version, about = "Coordinates a federation", after_help = cli::exit_help())]
//! struct Arguments {
//!     #[arg(long, global = true, env = "RINGFENCE_EXAMPLE_CONFIG")]
//!     config: Option<PathBuf>,
//!     #[arg(long, global = true, default_value = "human")]
//!     format: cli::Format,
//!     #[arg(long, global = true)]
//!     log_filter: Option<String>,
//! }
//!
//! #[derive(Default, serde::Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Config { listen: String, token: Option<Secret>, log_format: telemetry::LogFormat, log_filter: String }
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     let arguments = Arguments::parse();
//!     cli::finish(run(&arguments).await, arguments.format)
//! }
//!
//! async fn run(arguments: &Arguments) -> Result<(), cli::Failure> {
//!     let flags = config::flags([("log_filter", arguments.log_filter.clone())]);
//!     let config: Config = config::load(arguments.config.as_deref(), "RINGFENCE_EXAMPLE", flags)?;
//!     telemetry::init(config.log_format, &config.log_filter)?;
//!     let (stop, health) = (shutdown::on_signals(), health::Health::new(&["store"]));
//!     let mut api = Router::new().route("/api/v1/tasks", get(|| async { "[]" })).fallback(problem::not_found);
//!     if let Some(token) = config.token {
//!         api = auth::bearer(api, token);
//!     }
//!     let router = api.merge(health::probes(health.clone(), metrics::install()));
//!     let listener = tokio::net::TcpListener::bind(&config.listen).await
//!         .map_err(|error| cli::Failure::new("listen", "choose a free address with `listen`", error))?;
//!     health.set_ready("store", true);
//!     shutdown::serve(listener, router, stop).await
//!         .map_err(|error| cli::Failure::new("serve", "see the log", error))
//! }
//! ```

pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod files;
pub mod health;
pub mod metrics;
pub mod problem;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
#[cfg(test)]
mod testing;

pub use secret::Secret;
