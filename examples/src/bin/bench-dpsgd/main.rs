//! What privacy costs a training step: clipping per example, and exact noise, over an ordinary step of the same model;
//! beside Opacus on the same shapes, where Python has it. Data are made up; nothing is learnt or kept.

mod clock;
mod opacus;
mod report;
mod shape;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::output;
use mimalloc::MiMalloc;
use shared_ops::cli::{self, Format};

use report::Report;

/// The participant's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures private training steps against ordinary ones and prints medians.
///
/// Steps of both kinds take turns, so that whatever else the machine does hits both. All run on one thread. Opacus runs afterwards, with ghost clipping and with its default hooks, if the interpreter can import torch and opacus.
#[derive(Debug, Parser)]
#[command(name = "bench-dpsgd", version, after_help = cli::exit_help())]
struct Args {
    /// How many steps of each kind are measured.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    steps: u16,
    /// Examples in a batch.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=8192))]
    batch: u16,
    /// The Python interpreter that Opacus is looked for in.
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
    /// How to print the figures.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(run(&args), args.format)
}

fn run(args: &Args) -> anyhow::Result<()> {
    let rows = shape::measure_all(args.batch, args.steps)?;
    let opacus = opacus::measure(&args.python, args.batch, args.steps)?;
    output::print(&Report { batch: args.batch, rows, opacus }, args.format)
}
