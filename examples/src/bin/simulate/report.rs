//! What a simulation says, for people and for programs.

use std::fmt;

use serde::Serialize;
use shared_ops::cli::{self, Failure, Format};

/// What one round took and who counted in it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    /// Real seconds that the round took in this process, without training.
    pub(crate) round_s: f64,
    /// This process's largest resident set so far, in bytes.
    pub(crate) peak_bytes: u64,
    /// Virtual seconds from announcement to the end of collection.
    pub(crate) virtual_s: f64,
    /// How many were invited.
    pub(crate) invited: u32,
    /// How many updates count.
    pub(crate) accepted: u32,
    /// How many of those are from earlier rounds.
    pub(crate) late: u32,
    /// Whether the round had a result.
    pub(crate) committed: bool,
    /// Area under the precision-recall curve of the candidate, mean over the sites' hold-outs; only with training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) average_precision: Option<f64>,
}

/// A simulation.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) participants: u32,
    pub(crate) dim: usize,
    pub(crate) rounds: Vec<Round>,
}

impl Report {
    pub(crate) fn print(&self, format: Format) -> anyhow::Result<()> {
        cli::print(self, format)
            .map_err(|error| Failure::new("output-failed", "give standard output somewhere to go", error).into())
    }
}

impl fmt::Display for Report {
    #[expect(clippy::as_conversions, reason = "megabytes for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} virtual participants × {} parameters", self.participants, self.dim)?;
        write!(f, "round  real s   peak MB  virtual s  invited  accepted   late  result   AUPRC")?;
        for (number, round) in (1_u32..).zip(&self.rounds) {
            let result = if round.committed { "yes" } else { "none" };
            let quality = round.average_precision.map_or("-".to_owned(), |precision| format!("{precision:.3}"));
            write!(
                f,
                "\n{number:<5} {:>7.3} {:>9.1} {:>10.1} {:>8} {:>9} {:>6}  {result:<6} {quality:>6}",
                round.round_s,
                round.peak_bytes as f64 / 1e6,
                round.virtual_s,
                round.invited,
                round.accepted,
                round.late,
            )?;
        }
        Ok(())
    }
}
