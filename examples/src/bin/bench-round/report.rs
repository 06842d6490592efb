//! What a measurement says, for people and for programs.

use std::fmt;

use serde::Serialize;
use shared_ops::cli::{self, Failure, Format};

/// What one round took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Round {
    /// Seconds from the end of the round before to the end of this one.
    pub(crate) round_s: f64,
    /// CPU seconds of the coordinator's process, user and kernel.
    pub(crate) coordinator_cpu_s: f64,
    /// The coordinator's largest resident set in this round, in bytes.
    pub(crate) coordinator_peak_bytes: u64,
}

/// A measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) participants: u32,
    pub(crate) dim: u32,
    pub(crate) rounds: Vec<Round>,
}

impl Report {
    pub(crate) fn print(&self, format: Format) -> anyhow::Result<()> {
        cli::print(self, format)
            .map_err(|error| Failure::new("output-failed", "give standard output somewhere to go", error).into())
    }

    /// The median round, each figure by itself; without the first round, which fetches the first checkpoint too.
    fn median(&self) -> Option<Round> {
        let rest = self.rounds.get(1..).filter(|rest| !rest.is_empty()).unwrap_or(&self.rounds);
        Some(Round {
            round_s: median(rest.iter().map(|round| round.round_s))?,
            coordinator_cpu_s: median(rest.iter().map(|round| round.coordinator_cpu_s))?,
            coordinator_peak_bytes: rest.iter().map(|round| round.coordinator_peak_bytes).max()?,
        })
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl fmt::Display for Round {
    #[expect(clippy::as_conversions, reason = "megabytes for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.coordinator_peak_bytes as f64 / 1e6;
        write!(f, "{:>9.3} {:>17.3} {:>18.1}", self.round_s, self.coordinator_cpu_s, megabytes)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} participants × {} parameters", self.participants, self.dim)?;
        writeln!(f, "round     seconds  coordinator CPU s  coordinator MB max")?;
        for (number, round) in (1_u32..).zip(&self.rounds) {
            writeln!(f, "{number:<7} {round}")?;
        }
        match self.median() {
            Some(median) => write!(f, "median  {median}"),
            None => Ok(()),
        }
    }
}
