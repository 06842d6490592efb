//! The command line of `ringfence-policy`: check, test, prove, review, ask, sign and serve a policy repository.

mod bundle;
mod coverage;
mod decide;
mod diff;
mod format;
mod mutate;
mod prove;
mod replay;
mod repository;
mod review;
mod serve;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use indicatif::ProgressBar;
use shared_ops::cli::{Failure, Format, exit_help, finish};
use shared_ops::config as layers;

use crate::config::Config;

/// Environment variables of the configuration begin with this and two underscores.
pub const ENV_PREFIX: &str = "RINGFENCE_POLICY";

/// Check, test, prove, ask, sign and serve a policy repository
#[derive(Debug, Parser)]
#[command(name = "ringfence-policy", version, after_help = exit_help())]
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
    #[arg(long, global = true, value_name = "FILE", env = "RINGFENCE_POLICY_CONFIG")]
    config: Option<PathBuf>,
    /// The policy repository, in place of the configured one
    #[arg(long, global = true, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// The site whose own policies hold beside those of all sites, in place of the configured one
    #[arg(long, global = true, value_name = "NAME")]
    site: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load the repository whole: schema, policies, invariants, domain, playbooks; name files that are not laid out, and
    /// policies that change no answer
    Check(prove::SolverArgs),
    /// Lay the policies out, as `cedar format` does it
    Format,
    /// Run the policy tests in `tests/*.json` (the format of `cedar run-tests`)
    Test,
    /// Compare what two versions of the repository allow, proven for every request of their domains
    Diff(diff::Versions),
    /// Name the policies that decided no test
    Coverage(coverage::Arguments),
    /// Name the careless edits of policies that no test would notice
    Mutate(mutate::Arguments),
    /// Ask recorded decisions again of two versions of the policies
    #[command(after_help = replay::RECORDS)]
    Replay(replay::Arguments),
    /// Prove every invariant, and that no policy can fail, for every request of the domain
    Prove(prove::Proving),
    /// Review a change of the repository: proofs, what changes, recorded decisions, tests, as one Markdown comment
    Review(review::Arguments),
    /// Answer decision requests
    Decide(decide::Requests),
    /// Build and verify signed bundles
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Answer decision requests over HTTP until SIGTERM
    Serve,
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
    let config = cli.source.load().map_err(Failure::from)?;
    let repo: &Path = &config.repo;
    match cli.command {
        Command::Check(solver) => repository::check(repo, &solver, cli.format),
        Command::Format => format::run(repo, cli.format),
        Command::Test => repository::test(repo, cli.format),
        Command::Diff(versions) => diff::run(repo, &versions, cli.format),
        Command::Coverage(arguments) => coverage::run(repo, &arguments, cli.format),
        Command::Mutate(arguments) => mutate::run(repo, &arguments, cli.format),
        Command::Replay(arguments) => replay::run(repo, config.site.as_deref(), &arguments, cli.format),
        Command::Review(arguments) => review::run(repo, &arguments, cli.format),
        Command::Decide(requests) => decide::decide(repo, config.site.as_deref(), &requests, cli.format),
        Command::Prove(proving) => prove::run(repo, &proving, cli.format),
        Command::Bundle(command) => bundle::run(repo, &command, cli.format),
        Command::Serve => serve::serve(&config, cli.format),
        Command::Config(command) => Ok(command.run(&config)?),
    }
}

/// A bar for work that may take long, drawn on standard error where that is a terminal.
fn progress_bar() -> ProgressBar {
    if io::stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() }
}

impl Source {
    fn load(&self) -> Result<Config, layers::ConfigError> {
        let repo = self.repo.as_ref().map(|repo| repo.display().to_string());
        layers::load(self.config.as_deref(), ENV_PREFIX, layers::flags([("repo", repo), ("site", self.site.clone())]))
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
    fn the_shipped_repository_is_checked_tested_and_asked() {
        let root = env!("CARGO_MANIFEST_DIR");
        let request = tempfile::NamedTempFile::new().unwrap();
        let asked = crate::testing::request(shared::decision::ContainmentAction::Throttle);
        std::fs::write(request.path(), serde_json::to_string_pretty(&asked).unwrap()).unwrap();
        let path = request.path().display().to_string();
        let decide = vec!["decide", "--requests", &path];
        let bench = [&decide[..], &["--bench", "--seconds", "0"]].concat();
        let coverage = vec!["coverage", "--min", "100"];
        for command in [vec!["check"], vec!["test"], coverage, vec!["mutate"], decide, bench] {
            let line = ["ringfence-policy", "--format", "json", "--repo", root].into_iter().chain(command.clone());
            run(Cli::try_parse_from(line).unwrap()).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        }
    }

    #[test]
    fn a_bundle_that_was_built_is_verified_and_a_changed_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (key, repo) = (folder.path().join("key"), folder.path().join("repo"));
        let signer = shared_crypto::SigningKey::load_or_create(&key).unwrap();
        crate::testing::bundle(&crate::testing::shipped(), 1, &signer).write(&repo).unwrap();
        let public = signer.public().to_string();
        let line = |words: &[&str]| {
            let words =
                ["ringfence-policy", "--repo", repo.to_str().unwrap(), "bundle"].into_iter().chain(words.to_vec());
            run(Cli::try_parse_from(words).unwrap())
        };
        let build = ["build", "--bundle-version", "2", "--key", key.to_str().unwrap()];
        line(&[&build[..], &["--dry-run"]].concat()).unwrap();
        line(&["verify", "--public-key", &public, "--in-force", "1"]).unwrap_err();
        line(&build).unwrap();
        line(&["verify", "--public-key", &public, "--in-force", "1"]).unwrap();
        assert!(line(&["verify", "--public-key", &public, "--in-force", "2"]).is_err());
        std::fs::write(repo.join("policies/20-people.cedar"), "").unwrap();
        assert!(line(&["verify", "--public-key", &public]).is_err());
        line(&build).unwrap_err();
    }
}
