//! The command line of `ringfence-coordinator`: serve, check the configuration, and speak to the admin API.

mod answer;
mod client;
mod outgoing;
mod participant;
mod release;
mod round;
mod task;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use shared_ops::cli::{Failure, Format, exit_help, finish, print};
use shared_ops::clock::SystemClock;
use shared_ops::{config as layers, shutdown, telemetry};

use crate::{Config, start};

/// Environment variables of the configuration begin with this and two underscores.
pub const ENV_PREFIX: &str = "RINGFENCE_COORDINATOR";

/// Where `--help` shows what every command takes.
const GLOBAL: &str = "Global options";

/// The federation's coordinator
#[derive(Debug, Parser)]
#[command(name = "ringfence-coordinator", version, after_help = exit_help())]
pub struct Cli {
    /// How results and errors are written
    #[arg(long, global = true, value_enum, default_value_t, help_heading = GLOBAL)]
    format: Format,
    #[command(flatten)]
    source: Source,
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct Source {
    /// TOML file; without it the defaults hold
    #[arg(long, global = true, value_name = "FILE", env = "RINGFENCE_COORDINATOR_CONFIG", help_heading = GLOBAL)]
    config: Option<PathBuf>,
    /// Folder of keys, certificates and the store, in place of the configured one
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the coordinator until SIGTERM
    Serve,
    /// Look at the configuration
    #[command(subcommand)]
    Config(layers::Command),
    /// Tasks of the running coordinator
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Participants of the running coordinator
    #[command(subcommand)]
    Participant(participant::ParticipantCommand),
    /// Rounds of the running coordinator, and the check of a transcript
    #[command(subcommand)]
    Round(round::RoundCommand),
    /// Releases of the running coordinator
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// What tasks cost participants
    #[command(subcommand)]
    Ledger(view::LedgerCommand),
    /// How candidates do at the sites
    #[command(subcommand)]
    Evaluation(view::EvaluationCommand),
    /// The audit log of the running coordinator
    #[command(subcommand)]
    Audit(view::AuditCommand),
}

/// Runs the command line; the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.format;
    finish(run(cli), format)
}

fn run(cli: Cli) -> Result<(), anyhow::Error> {
    let config = cli.source.load().map_err(Failure::from)?;
    let runtime = crate::runtime()?;
    match cli.command {
        Command::Serve => runtime.block_on(serve(config, cli.format)),
        Command::Config(command) => Ok(command.run(&config)?),
        Command::Task(command) => runtime.block_on(task::run(command, &config, cli.format)),
        Command::Participant(command) => runtime.block_on(participant::run(command, &config, cli.format)),
        Command::Round(command) => runtime.block_on(round::run(command, &config, cli.format)),
        Command::Release(command) => runtime.block_on(release::run(command, &config, cli.format)),
        Command::Ledger(command) => runtime.block_on(view::ledger(command, &config, cli.format)),
        Command::Evaluation(command) => runtime.block_on(view::evaluation(command, &config, cli.format)),
        Command::Audit(command) => runtime.block_on(view::audit(command, &config, cli.format)),
    }
}

impl Source {
    fn load(&self) -> Result<Config, layers::ConfigError> {
        let data_dir = self.data_dir.as_ref().map(|data_dir| data_dir.display().to_string());
        layers::load(self.config.as_deref(), ENV_PREFIX, layers::flags([("data_dir", data_dir)]))
    }
}

async fn serve(config: Config, format: Format) -> Result<(), anyhow::Error> {
    telemetry::init(config.log.format, &config.log.filter).map_err(Failure::from)?;
    let running = start(config, Arc::new(SystemClock), shutdown::on_signals()).await.map_err(Failure::from)?;
    print(&running.addresses, format)?;
    Ok(running.ended().await.map_err(Failure::from)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_dumped_configuration_is_read_back_unchanged() {
        let text = layers::dump(&Config::default()).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
        assert!(toml::from_str::<Config>("listen = 1").is_err());
    }
}
