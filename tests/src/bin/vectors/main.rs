//! Checks Ringfence's arithmetic against reference vectors of independent implementations: one file per kind. Computes
//! nothing else, and passes over nothing: what it cannot compare is a miss or an error.

mod accounting;
mod aggregation;
mod rdp;
mod table;
mod zcdp;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;
use shared_ops::cli::{self, Failure, Format};

/// Checks arithmetic against reference vectors; a miss ends with exit status 1.
#[derive(Debug, Parser)]
#[command(name = "vectors", version, after_help = cli::exit_help())]
struct Args {
    #[command(subcommand)]
    what: What,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t = Format::Human, global = true)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Aggregation rules, against a JSON list of vectors as `robust_agg_vectors_dev.json` has them.
    ///
    /// Each vector has `n` rows `x` of `d` numbers, `f` of which may lie, and under the name of each rule what it makes
    /// of them: mean, median, trmean, meamed, krum, multikrum, bulyan, geomed_nu1e_6_T50 (smoothing 1e-6, 50
    /// iterations), or rows: nnm, arc. `nnm_` and `arc_` before a rule's name are steps before it. The library ByzFL
    /// clips in place for `arc`, so that what it computed afterwards was computed of clipped rows; what does not match
    /// for the rows is therefore compared for the clipped rows too, and says so.
    Aggregation {
        /// The vectors.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// ε of Poisson-sampled DP-SGD, against a CSV table as `vectors_dev.csv` is.
    ///
    /// Columns, found by their names: `sigma`, `q`, `steps`, `delta`; `eps_pld_upper`, than which ε may be larger by 0.2 %
    /// and 0.001; proven lower bounds, below which ε may never be: `eps_prv_lower` and, for q = 1, the exact
    /// `eps_analytic_gaussian`, each empty or `nan` where it does not apply; and, where they are there, `id`,
    /// `neighboring` (`add_or_remove_one`) and `sampling` (`poisson`, or `full_batch` for q = 1).
    Accounting {
        /// The vectors.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Rényi divergences of the Poisson-sampled Gaussian, against a CSV table as `rdp_orders_dev.csv` is.
    ///
    /// Columns: `sigma`, `q`, the order `alpha`, whole or not, and `rdp_quadrature`, to be matched to one part in 1e6.
    Rdp {
        /// The vectors.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// ε of ρ-zCDP releases, against a CSV table as `zcdp_opendp.csv` is.
    ///
    /// Columns: `rho_opendp`, `delta`, and `eps_opendp` with any version after it, to be matched to one part in 1e5.
    Zcdp {
        /// The vectors.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// How one result compares with its reference.
pub(crate) trait Verdict: Serialize + fmt::Display {
    /// Whether it is as it should be.
    fn matches(&self) -> bool;
}

fn main() -> ExitCode {
    let Args { what, format } = Args::parse();
    let checked = match &what {
        What::Aggregation { file } => aggregation::checks(file).and_then(|checks| report(&checks, format)),
        What::Accounting { file } => accounting::checks(file).and_then(|checks| report(&checks, format)),
        What::Rdp { file } => rdp::checks(file).and_then(|checks| report(&checks, format)),
        What::Zcdp { file } => zcdp::checks(file).and_then(|checks| report(&checks, format)),
    };
    cli::finish(checked, format)
}

/// Prints every result; fails where one misses, or there is none.
fn report(checks: &[impl Verdict], format: Format) -> Result<(), Failure> {
    for check in checks {
        let closed = |error| Failure::new("output-failed", "give standard output somewhere to go", error);
        cli::print(check, format).map_err(closed)?;
    }
    let missed = checks.iter().filter(|check| !check.matches()).count();
    if missed == 0 && !checks.is_empty() {
        return Ok(());
    }
    let message = format!("{missed} of {} results do not match", checks.len());
    Err(Failure::new("vectors-missed", "see what misses, and compare it with its paper", message))
}

/// The file is not what its kind asks for.
pub(crate) fn unreadable(file: &Path, reason: &dyn fmt::Display) -> Failure {
    let hint = "name a file of reference vectors of this kind; `--help` of the subcommand says what it holds";
    Failure::new("vectors-unreadable", hint, format!("{}: {reason}", file.display()))
}
