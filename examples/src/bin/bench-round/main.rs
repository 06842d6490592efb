//! Measures whole federation rounds over loopback with everything switched on: mutual TLS 1.3, signatures, durable
//! acknowledgements, an audit log. The coordinator is a process of its own; the participants are light ones that speak
//! the whole protocol and skip only the training.

mod coordinator;
mod participant;
mod report;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use shared::encoding::{BlockLen, Encoding, InvalidEncoding};
use shared_ops::cli::{self, Format};

/// Measures rounds of N participants with models of D parameters: seconds, and the coordinator's CPU time and memory.
///
/// Each participant joins, sends an update of D parameters, fetches and checks the candidate, and evaluates it, in every
/// round. The first round also fetches the first checkpoint; the summary leaves it out.
#[derive(Debug, Parser)]
#[command(name = "bench-round", version, after_help = cli::exit_help())]
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
    /// How to print the figures.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Where the coordinator keeps its data; a temporary folder when absent. Give a folder on the disk to be measured.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Runs the coordinator of a measurement.
    #[arg(long, hide = true)]
    serve: bool,
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
    let done = if args.serve {
        coordinator::serve(&args)
    } else {
        run::measure(&args).and_then(|report| report.print(args.format))
    };
    cli::finish(done, args.format)
}
