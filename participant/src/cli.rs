//! The command line of `ringfence-participant`: ingest, enrol, serve, reckon what privacy costs, look at the ledger, the
//! audit log and the keys of other sites, and check rounds.

mod audit;
mod enrol;
mod ingest;
mod ledger;
mod peers;
mod privacy;
mod round;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use shared_ops::cli::{Failure, Format, exit_help, finish, print};
use shared_ops::clock::SystemClock;
use shared_ops::{config as layers, telemetry};

use crate::config::Config;
use crate::site::{Randomness, Site};

/// Environment variables of the configuration begin with this and two underscores.
pub const ENV_PREFIX: &str = "RINGFENCE_PARTICIPANT";

/// One site of the federation
#[derive(Debug, Parser)]
#[command(name = "ringfence-participant", version, after_help = exit_help())]
pub struct Cli {
    /// How results and errors are written
    #[arg(long, global = true, value_enum, default_value_t)]
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
    #[arg(long, global = true, value_name = "FILE", env = "RINGFENCE_PARTICIPANT_CONFIG")]
    config: Option<PathBuf>,
    /// The site's folder, in place of the configured one
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The site's name, in place of the configured one
    #[arg(long, global = true, value_name = "ID")]
    participant_id: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reckon what training would cost; needs no site
    #[command(subcommand)]
    Privacy(privacy::Command),
    #[command(flatten)]
    AtSite(AtSite),
}

/// What needs the site's configuration.
#[derive(Debug, Subcommand)]
enum AtSite {
    /// Take telemetry into the lake, and labels beside it
    Ingest(ingest::Arguments),
    /// Trade the operator's one-time token for a certificate; waits where the operator has yet to approve
    Enrol(enrol::Arguments),
    /// Run the participant until SIGTERM
    Serve,
    /// Look at the privacy ledger, check it, mend it
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Check rounds of the federation, offline
    #[command(subcommand)]
    Round(round::Command),
    /// Look at the keys by which this site knows others in masked rounds
    #[command(subcommand)]
    Peers(peers::Command),
    /// Look at the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Check the lake: every segment against the manifest's chain
    Verify,
    /// Look at the configuration
    #[command(subcommand)]
    Config(layers::Command),
}

/// Runs the command line; the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = cli.format;
    finish(run(cli), format)
}

fn run(cli: Cli) -> Result<(), anyhow::Error> {
    match cli.command {
        Command::Privacy(command) => privacy::run(&command, cli.format),
        Command::AtSite(command) => run_at_site(command, &cli.source, cli.format),
    }
}

fn run_at_site(command: AtSite, source: &Source, format: Format) -> Result<(), anyhow::Error> {
    let config = source.load().map_err(Failure::from)?;
    config.validate().map_err(Failure::from)?;
    telemetry::init(config.log.format, &config.log.filter).map_err(Failure::from)?;
    match command {
        AtSite::Ingest(arguments) => ingest::run(&arguments, &open(config)?, format),
        AtSite::Enrol(arguments) => block_on(enrol::run(arguments, open(config)?, format)),
        AtSite::Serve => block_on(serve::run(open(config)?, format)),
        AtSite::Ledger(command) => ledger::run(&command, config, format),
        AtSite::Round(command) => round::run(&command, open(config)?, format),
        AtSite::Peers(command) => peers::run(&command, &open(config)?, format),
        AtSite::Audit(command) => audit::run(&command, &open(config)?, format),
        AtSite::Verify => verify(&open(config)?, format),
        AtSite::Config(command) => Ok(command.run(&config)?),
    }
}

fn block_on(work: impl Future<Output = Result<(), anyhow::Error>>) -> Result<(), anyhow::Error> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

fn open(config: Config) -> Result<Site, anyhow::Error> {
    let site = Site::open(config, Arc::new(SystemClock), Randomness::OperatingSystem);
    Ok(site.map_err(Failure::from)?)
}

fn verify(site: &Site, format: Format) -> Result<(), anyhow::Error> {
    let verified = site.lake.verify().map_err(Failure::from)?;
    let text = format!("the lake is whole: {} events in {} segments", verified.events, verified.segments);
    Ok(print(&text, format)?)
}

impl Source {
    fn load(&self) -> Result<Config, layers::ConfigError> {
        let data_dir = self.data_dir.as_ref().map(|data_dir| data_dir.display().to_string());
        let flags = layers::flags([("data_dir", data_dir), ("participant_id", self.participant_id.clone())]);
        layers::load(self.config.as_deref(), ENV_PREFIX, flags)
    }
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
        assert_eq!(layers::dump(&toml::from_str::<Config>(&text).unwrap()).unwrap(), text);
        assert!(toml::from_str::<Config>("listen = 1").is_err());
    }
}
