//! What `simulate` says, for people and for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::statistics::megabytes;

/// What one round took and who counted in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// Real seconds that the round took in this process, without training.
    pub round_s: f64,
    /// This process's largest resident set so far, in bytes.
    pub peak_bytes: u64,
    /// Virtual seconds from announcement to the end of collection.
    pub virtual_s: f64,
    /// How many were invited.
    pub invited: u32,
    /// How many updates count.
    pub accepted: u32,
    /// How many of those are from earlier rounds.
    pub late: u32,
    /// Whether the round had a result.
    pub committed: bool,
    /// Area under the precision-recall curve of the candidate, mean over the sites' hold-outs; only with training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
}

/// A whole simulation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Simulation {
    /// How many virtual participants there were.
    pub participants: u32,
    /// How many parameters an update had.
    pub dim: usize,
    /// Each round, in order.
    pub rounds: Vec<Round>,
}

impl fmt::Display for Simulation {
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
                megabytes(round.peak_bytes),
                round.virtual_s,
                round.invited,
                round.accepted,
                round.late,
            )?;
        }
        Ok(())
    }
}
