//! Poisons federations in every way of a matrix, attacks × rules × how alike the sites are × how many are bad, and says
//! what each rule keeps of accuracy and lets through of a backdoor, and which rule to take.
//!
//! Sites learn to tell attacks from normal traffic in NSL-KDD, in one process; rules are the coordinator's own. Models,
//! attackers and batches follow the seed alone. The data set is easy, and its records have neither time nor origin: what
//! holds here is a comparison of rules and no promise for a site.

mod attack;
mod corpus;
mod federation;
#[cfg(test)]
mod fixture;
mod journal;
mod matrix;
mod model;
mod partition;
mod plot;
mod private;
mod report;
mod rows;
mod rule;
mod shared_noise;
mod table;
mod trigger;
mod vector;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::{Parser, ValueEnum};
use examples::{nsl_kdd, output};
use serde::Serialize;
use shared_ops::cli::{self, Failure, Format};

use attack::Attack;
use journal::Journal;
use matrix::Matrix;
use partition::Partition;
use report::Report;
use rule::{RULES, Rule};

/// The attacks of a quick run.
const QUICK: [Attack; 4] = [Attack::SignFlip, Attack::MinMax, Attack::Backdoor, Attack::AdaptiveBackdoor];

/// Measures rules against poisoning on NSL-KDD: accuracy and backdoor success under each attack, and the default that
/// follows.
///
/// DIR holds KDDTrain+.txt.gz, a fifth of which judges at random, and KDDTest+.txt.gz, for reference. 20 sites; 10, 20 and
/// 30 % of them bad; records alike, or dealt by Dirichlet 0.5 or 0.1.
#[derive(Debug, Parser)]
#[command(name = "poison", version, after_help = cli::exit_help())]
struct Args {
    /// Folder of the NSL-KDD files.
    #[arg(long, value_name = "DIR", default_value = "../shared/data/nsl-kdd")]
    data: PathBuf,
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Folder for poison.md, poison.csv and poison.svg, made if need be. What is found goes to its poison.jsonl at once, and
    /// the same command goes on from there.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many times each federation is trained.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// The first seed; the others follow it.
    #[arg(long, value_name = "SEED", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=1 << 32))]
    first_seed: u64,
    /// How many federations are trained at a time [default: one a core].
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Rules to compare, separated by commas [default: all].
    #[arg(long, value_delimiter = ',', value_parser = Rule::named)]
    rules: Option<Vec<&'static Rule>>,
    /// Attacks to mount, separated by commas [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    attacks: Option<Vec<Attack>>,
    /// A taste in seconds: one seed, Dirichlet 0.5, 20 % bad, four attacks.
    #[arg(long, conflicts_with = "seeds")]
    quick: bool,
    /// Mounts no attack, and measures what differential privacy at each site costs instead.
    #[arg(long, conflicts_with_all = ["quick", "rules", "attacks", "out", "threads"])]
    private: bool,
    /// Mounts no attack, and compares noise of each site's own with noise that the sites of a masked sum share.
    #[arg(long, conflicts_with_all = ["quick", "rules", "attacks", "out", "threads", "private"])]
    shared_noise: bool,
}

/// What decides a run's results.
#[derive(Serialize)]
struct Arguments<'a> {
    /// How many records KDDTrain+ and KDDTest+ have.
    records: [usize; 2],
    #[serde(flatten)]
    matrix: &'a Matrix,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(run(&args), args.format)
}

fn run(args: &Args) -> anyhow::Result<()> {
    let matrix = args.matrix();
    let train = nsl_kdd::load(&args.data, "KDDTrain+.txt.gz")?;
    if args.private {
        return output::print(&private::measure(&train, matrix.seeds)?, args.format);
    }
    if args.shared_noise {
        return output::print(&shared_noise::measure(&train, matrix.seeds)?, args.format);
    }
    let other = nsl_kdd::load(&args.data, "KDDTest+.txt.gz")?;
    let journal = args.journal(&Arguments { records: [train.len(), other.len()], matrix: &matrix })?;
    let report = Report::new(&matrix.measure(&train, &other, &journal)?, matrix.seeds.clone());
    if let Some(dir) = &args.out {
        write(&report, dir)?;
    }
    output::print(&report, args.format)
}

impl Args {
    fn journal(&self, arguments: &Arguments<'_>) -> Result<Journal, Failure> {
        let Some(dir) = &self.out else { return Ok(Journal::default()) };
        output::make(dir)?;
        Journal::open(&dir.join("poison.jsonl"), arguments)
    }

    fn matrix(&self) -> Matrix {
        let seeds = if self.quick { 1 } else { self.seeds };
        let last_seed = self.first_seed.saturating_add(seeds).saturating_sub(1);
        let attacks = if self.quick { QUICK.to_vec() } else { Attack::value_variants().to_vec() };
        Matrix {
            partitions: if self.quick { vec![Partition::Dirichlet(0.5)] } else { Partition::ALL.to_vec() },
            bad_percents: if self.quick { vec![20] } else { vec![10, 20, 30] },
            rules: self.rules.clone().unwrap_or_else(|| RULES.iter().collect()),
            attacks: self.attacks.clone().unwrap_or(attacks),
            seeds: self.first_seed..=last_seed,
            threads: self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get),
        }
    }
}

fn write(report: &Report, dir: &Path) -> anyhow::Result<()> {
    let files = [("poison.md", report.markdown()?), ("poison.csv", report.csv()?), ("poison.svg", plot::svg(report)?)];
    Ok(output::write(dir, &files)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_quick_is_a_part_of_the_whole() {
        Args::command().debug_assert();
        let matrix = |line: &[&str]| Args::parse_from(line).matrix();
        let (whole, quick) = (matrix(&["poison"]), matrix(&["poison", "--quick"]));
        assert_eq!(
            (whole.attacks.len(), whole.partitions.len(), whole.bad_percents.len(), whole.seeds),
            (12, 3, 3, 1..=5)
        );
        assert!(quick.attacks.iter().all(|attack| whole.attacks.contains(attack)) && quick.seeds == (1..=1));
        let some = matrix(&["poison", "--rules", "mean,krum", "--attacks", "alie"]);
        assert_eq!((some.rules.len(), some.attacks), (2, vec![Attack::Alie]));
        assert_eq!(matrix(&["poison", "--first-seed", "101"]).seeds, 101..=105);
        assert!(Args::try_parse_from(["poison", "--rules", "average"]).is_err());
        assert!(Args::try_parse_from(["poison", "--quick", "--seeds", "2"]).is_err());
    }

    #[test]
    fn the_files_are_written_where_they_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        write(&report::tests::report(), out).unwrap();
        for name in ["poison.md", "poison.csv", "poison.svg"] {
            assert!(fs::metadata(out.join(name)).unwrap().len() > 100, "{name}");
        }
        assert!(write(&report::tests::report(), &out.join("poison.md")).is_err());
    }
}
