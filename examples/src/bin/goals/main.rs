//! Measures the federation core against its goals, row by row, with `bench-round` and `simulate` as processes of their
//! own, and draws how a round grows with participants and parameters. It measures nothing itself, and a goal that is
//! missed is said, not an error: machines differ.

mod goal;
mod growth;
mod measure;
mod plot;
mod report;
mod sibling;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::output;
use indicatif::{ProgressBar, ProgressStyle};
use shared_ops::cli::{self, Format};

use goal::ROWS;
use growth::Growth;
use measure::Effort;
use report::Report;
use sibling::Siblings;

/// Measures rounds, simulations and recoveries, and says which goals are met.
///
/// Runs the programs `bench-round` and `simulate` that lie beside this one; build them all with
/// `cargo build --release -p examples --bins`. Close everything else first: a busy machine misses goals.
#[derive(Debug, Parser)]
#[command(name = "goals", version, after_help = cli::exit_help())]
struct Args {
    /// How many rounds each measurement of rounds takes; the figures are medians over all but the first.
    #[arg(long, value_name = "R", default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=1000))]
    rounds: u32,
    /// How many times somebody is killed; the figures are medians.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    kills: u32,
    /// How to print the table.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Folder for goals.md and goals.svg, made if need be; measures also how a round grows.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(run(&args), args.format)
}

fn run(args: &Args) -> anyhow::Result<()> {
    let siblings = Siblings::find()?;
    let effort = Effort { rounds: args.rounds, kills: args.kills };
    let steps = if args.out.is_some() { ROWS.len().saturating_add(growth::POINTS) } else { ROWS.len() };
    let progress = progress(steps)?;
    let mut report = Report::default();
    for row in ROWS {
        progress.set_message(row.work);
        report.add(row, &measure::measure(row.work_load, &siblings, effort)?);
        progress.inc(1);
    }
    if args.out.is_some() {
        report.growth = Some(Growth::measure(&siblings, effort, &progress)?);
    }
    progress.finish_and_clear();
    if let (Some(folder), Some(growth)) = (&args.out, &report.growth) {
        output::write(folder, &[("goals.md", report.markdown()), ("goals.svg", plot::svg(growth)?)])?;
    }
    output::print(&report, args.format)
}

/// A bar on a terminal, and nothing elsewhere.
fn progress(steps: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{pos}/{len} {bar:30} {msg} ({elapsed})")?;
    Ok(ProgressBar::new(u64::try_from(steps)?).with_style(style))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["goals", "--rounds", "1"]).is_err(), "the first round does not count");
    }
}
