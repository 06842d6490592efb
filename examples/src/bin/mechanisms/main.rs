//! Compares the two mechanisms that make training private: DP-SGD on Poisson samples, and DP-FTRL with a banded matrix on
//! streams. Noise on sums, what the noise costs, and what a model is worth at the same ε.
//!
//! NSL-KDD has no time, so that its stream is in random order; and one site trains alone. It recommends nothing.

mod cost;
mod report;
mod sums;
mod utility;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::nsl_kdd::{self, Row};
use examples::output;
use examples::parallel::on_all_cores;
use shared_ops::cli::{self, Failure, Format};

use report::Report;
use utility::{Utility, WAYS};

/// Numbers of bands that are compared.
const BANDS: [u32; 5] = [1, 4, 16, 64, 256];
/// Passes and steps of each.
const SCHEDULES: [(u32, u32); 3] = [(1, 1024), (4, 256), (10, 20)];
/// ε of the models.
const EPSILONS: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// Compares DP-SGD with DP-FTRL: noise on sums over steps, time and memory of the noise, accuracy on NSL-KDD.
///
/// DIR holds KDDTrain+.txt.gz. Takes a minute or two.
#[derive(Debug, Parser)]
#[command(name = "mechanisms", version, after_help = cli::exit_help())]
struct Args {
    /// Folder of the NSL-KDD files.
    #[arg(long, value_name = "DIR", default_value = "../shared/data/nsl-kdd")]
    data: PathBuf,
    /// How to print the comparison.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(run(&args), args.format)
}

fn run(args: &Args) -> anyhow::Result<()> {
    let rows = nsl_kdd::shuffled_rows(&args.data, 1)?;
    let sums = SCHEDULES.iter().map(|(passes, steps)| sums::sums(*passes, *steps, &BANDS));
    let costs = BANDS.iter().map(|bands| cost::cost(*bands));
    let report = Report {
        sums: sums.collect::<Result<_, _>>().map_err(Failure::from)?,
        costs: costs.collect::<Result<_, _>>().map_err(Failure::from)?,
        utilities: utilities(&rows)?,
    };
    output::print(&report, args.format)
}

fn utilities(rows: &[Row]) -> anyhow::Result<Vec<Utility>> {
    let cases: Vec<_> = WAYS.iter().flat_map(|way| EPSILONS.map(|epsilon| (*way, epsilon))).collect();
    on_all_cores(&cases, |(way, epsilon)| utility::utility(rows, *way, *epsilon))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_missing_data_is_named() {
        Args::command().debug_assert();
        let args = Args::parse_from(["mechanisms", "--data", "nowhere"]);
        assert!(run(&args).unwrap_err().to_string().contains("KDDTrain+.txt.gz"));
    }
}
