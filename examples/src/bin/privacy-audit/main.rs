//! Audits the privacy that is claimed, by attack: lower bounds on ε from canaries, membership inference, gradient inversion
//! and colluders before masks, on a participant's own training code and real records.
//!
//! A bound below the claim proves nothing but that this attack found nothing; a bound above it proves a defect, and two
//! planted ones show that the audit would find it. Noise and coins come from seeds, so that a report can be made again;
//! no site trains that way.

mod bound;
mod canary;
#[cfg(test)]
mod fixture;
mod guess;
mod ideal;
mod inversion;
mod masks;
mod membership;
mod random;
mod report;
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use examples::nsl_kdd::{self, Row};
use examples::output;
use examples::parallel::on_all_cores;
use shared_ops::cli::{self, Failure, Format};

use canary::Trial;
use inversion::{Inversion, View};
use membership::Membership;
use report::{Audit, Report};
use training::{DELTA, Defect};

/// Claims that are audited.
const CLAIMS: [f64; 4] = [1.0, 2.0, 4.0, 8.0];
/// Width of the hidden layer of the model that has one.
const HIDDEN: u32 = 16;
/// Records that an audited site has beside its canaries.
const RECORDS: usize = 3000;
/// Records that models of the membership inference are trained on halves of.
const POPULATION: usize = 1000;
/// Models of the membership inference.
const MODELS: u8 = 8;

/// Audits privacy by attack, on NSL-KDD: empirical lower bounds beside the claimed ε, membership inference, gradient
/// inversion, and what colluders see of a masked update.
///
/// DIR holds KDDTrain+.txt.gz. Takes some minutes.
#[derive(Debug, Parser)]
#[command(name = "privacy-audit", version, after_help = cli::exit_help())]
struct Args {
    /// Folder of the NSL-KDD files.
    #[arg(long, value_name = "DIR", default_value = "../shared/data/nsl-kdd")]
    data: PathBuf,
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Folder for privacy-audit.md and privacy-audit.json, made if need be.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Canaries in each audit. More of them prove more, and take more time and memory.
    #[arg(long, value_name = "N", default_value = "5000", value_parser = clap::value_parser!(u32).range(100..=20_000))]
    canaries: u32,
    /// Decides coins, samples and noise.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u8,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cli::finish(run(&args), args.format)
}

fn run(args: &Args) -> anyhow::Result<()> {
    let rows = nsl_kdd::shuffled_rows(&args.data, u64::from(args.seed))?;
    let report = Report {
        delta: DELTA,
        most_provable: guess::most_provable(usize::try_from(args.canaries)?, DELTA),
        audit: audit(&rows, args)?,
        membership: membership(&rows)?,
        inversion: inversion(&rows)?,
        masks: masks::measure(&rows)?,
    };
    if let Some(dir) = &args.out {
        let files = [("privacy-audit.md", report.to_string()), ("privacy-audit.json", serde_json::to_string(&report)?)];
        output::write(dir, &files)?;
    }
    output::print(&report, args.format)
}

fn audit(rows: &[Row], args: &Args) -> anyhow::Result<Vec<Audit>> {
    let canaries = usize::try_from(args.canaries)?;
    let others = rows.get(..RECORDS).unwrap_or(rows);
    let trial = |hidden| Trial::new(others, canaries, hidden, u64::from(args.seed)).map_err(Failure::from);
    let (linear, deep) = (trial(Vec::new())?, trial(vec![HIDDEN])?);
    let cases = [Defect::None, Defect::TenthOfNoise, Defect::NoNoise]
        .iter()
        .flat_map(|defect| CLAIMS.map(|claim| (claim, *defect)))
        .collect::<Vec<_>>();
    on_all_cores(&cases, |(claim, defect)| {
        let noise_multiplier = training::noise_multiplier(*claim).map_err(Failure::from)?;
        let white_box = linear.white_box(noise_multiplier, *defect, args.seed).map_err(Failure::from)?;
        let black_box = deep.black_box(noise_multiplier, *defect, args.seed).map_err(Failure::from)?;
        let ideal = ideal::bound(canaries, noise_multiplier, *defect);
        Ok(Audit { claim: *claim, noise_multiplier, defect: *defect, white_box, black_box, ideal })
    })
}

fn membership(rows: &[Row]) -> anyhow::Result<Vec<Membership>> {
    let population = rows.get(..POPULATION).unwrap_or(rows);
    on_all_cores(&[None, Some(8.0), Some(2.0), Some(1.0)], |epsilon| membership::measure(population, MODELS, *epsilon))
}

fn inversion(rows: &[Row]) -> anyhow::Result<Vec<Inversion>> {
    let cases = [1, 16].map(|records| [View::NoNoise, View::Noise, View::RandomRecord].map(|view| (view, records)));
    on_all_cores(&cases.concat(), |(view, records)| inversion::measure(rows, *view, *records))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["privacy-audit", "--canaries", "10"]).is_err());
    }

    #[test]
    fn without_the_data_the_audit_says_what_is_missing() {
        let args = Args::parse_from(["privacy-audit", "--data", "nowhere"]);
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("KDDTrain+.txt.gz"), "{error}");
    }
}
