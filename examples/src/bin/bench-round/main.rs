//! Measures whole federation rounds over loopback with everything switched on: mutual TLS 1.3, signatures, durable
//! acknowledgements, an audit log. The coordinator is a process of its own; the participants are light ones that speak
//! the whole protocol and skip only the training.

mod coordinator;
mod enrolment;
mod masked;
mod meter;
mod participant;
mod process;
mod recovery;
mod run;
mod victim;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use examples::output;
use examples::rounds::Victim;
use shared::encoding::{BlockLen, Encoding, InvalidEncoding};
use shared_ops::cli::{self, Format};
use shared_ops::telemetry::{self, LogFormat};

/// The round in which participants leave: the first one also fetches the first checkpoint.
pub(crate) const DROP_ROUND: u32 = 2;

/// Measures rounds of N participants with models of D parameters: seconds, the coordinator's CPU time and memory, and a participant's CPU time.
///
/// Each participant joins, sends an update of D parameters, fetches and checks the candidate, and evaluates it, in every
/// round. The first round also fetches the first checkpoint; the summary leaves it out.
#[derive(Debug, Parser)]
#[command(name = "bench-round", version, after_help = cli::exit_help(), args_override_self = true)]
pub(crate) struct Args {
    /// How many participants take part.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    participants: u32,
    /// How many parameters the model has.
    #[arg(long, value_name = "D", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(2..=100_000_000))]
    dim: u32,
    /// How many rounds there are, the first one included.
    #[arg(long, value_name = "R", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// How updates travel.
    #[arg(long, value_enum, default_value_t = Travel::F32)]
    encoding: Travel,
    /// Masks the updates: the coordinator learns their sum, and every participant checks it.
    #[arg(long, conflicts_with = "encoding")]
    secure: bool,
    /// With --secure, every participant proves how long its update is.
    #[arg(long, requires = "secure")]
    prove: bool,
    /// K participants join the second round and leave for good before they deliver; that round is measured.
    #[arg(long, value_name = "K", default_value_t = 0, conflicts_with_all = ["kill", "rounds"])]
    drop: u32,
    /// Cuts somebody off in the middle of the second round, and measures how long that round takes to go on.
    #[arg(long, value_enum, value_name = "VICTIM")]
    kill: Option<Victim>,
    /// How to print the figures.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Where the coordinator keeps its data; a temporary folder when absent. Give a folder on the disk to be measured.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Runs one of the processes of a measurement.
    #[arg(long, hide = true, value_enum)]
    role: Option<Role>,
}

/// What a process of a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// The coordinator.
    Coordinator,
    /// The coordinator again, after it was killed.
    CoordinatorAgain,
    /// The participant that will be cut off.
    Victim,
}

/// How updates travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Travel {
    /// Four bytes a parameter.
    F32,
    /// Two bytes a parameter.
    Bf16,
    /// A byte a parameter, and a scale per block.
    Int8,
    /// Half a byte a parameter, and a scale per block.
    Int4,
}

impl Args {
    /// How many rounds there are.
    pub(crate) fn rounds(&self) -> u32 {
        if self.drop == 0 { self.rounds } else { DROP_ROUND }
    }
}

impl Travel {
    pub(crate) fn encoding(self) -> Result<Encoding, InvalidEncoding> {
        match self {
            Self::F32 => Ok(Encoding::F32),
            Self::Bf16 => Ok(Encoding::Bf16),
            Self::Int8 => Ok(Encoding::Int8 { block: BlockLen::new(512)? }),
            Self::Int4 => Ok(Encoding::Int4 { block: BlockLen::new(512)? }),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(run(&args), args.format)
}

fn run(args: &Args) -> anyhow::Result<()> {
    telemetry::init(LogFormat::Human, "error")?;
    match (args.role, args.kill) {
        (Some(Role::Coordinator), _) => coordinator::serve(args),
        (Some(Role::CoordinatorAgain), _) => coordinator::serve_again(args),
        (Some(Role::Victim), _) => victim::take_part(args),
        (None, Some(victim)) => output::print(&recovery::measure(args, victim)?, args.format),
        (None, None) => output::print(&run::measure(args)?, args.format),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_what_comes_last_counts() {
        Args::command().debug_assert();
        let args = Args::parse_from(["bench-round", "--data-dir", "a", "--role", "victim", "--data-dir", "b"]);
        assert_eq!((args.role, args.data_dir), (Some(Role::Victim), Some(PathBuf::from("b"))));
    }
}
