//! What `bench-round` says, for people and for programs: what each round took, or how long a round that was disturbed
//! took to go on.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::statistics::{median, megabytes};

/// What one round took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Round {
    /// Seconds from the end of the round before to the end of this one.
    pub round_s: f64,
    /// CPU seconds of the coordinator's process, user and kernel.
    pub coordinator_cpu_s: f64,
    /// CPU seconds of those that folded the updates and finished the candidate.
    pub aggregation_cpu_s: f64,
    /// The coordinator's largest resident set in this round, in bytes.
    pub coordinator_peak_bytes: u64,
    /// CPU seconds of one participant, user and kernel: the mean of all, which share a process.
    pub participant_cpu_s: f64,
}

/// A measurement of whole rounds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rounds {
    /// How many took part.
    pub participants: u32,
    /// How many parameters the model had.
    pub dim: u32,
    /// Each round, in order.
    pub rounds: Vec<Round>,
}

impl Rounds {
    /// The median of each figure by itself, and the largest memory; without the first round, which fetches the first
    /// checkpoint too.
    pub fn median(&self) -> Option<Round> {
        let rest = self.rounds.get(1..).filter(|rest| !rest.is_empty()).unwrap_or(&self.rounds);
        Some(Round {
            round_s: median(rest.iter().map(|round| round.round_s))?,
            coordinator_cpu_s: median(rest.iter().map(|round| round.coordinator_cpu_s))?,
            aggregation_cpu_s: median(rest.iter().map(|round| round.aggregation_cpu_s))?,
            coordinator_peak_bytes: rest.iter().map(|round| round.coordinator_peak_bytes).max()?,
            participant_cpu_s: median(rest.iter().map(|round| round.participant_cpu_s))?,
        })
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = megabytes(self.coordinator_peak_bytes);
        let Self { round_s, coordinator_cpu_s, aggregation_cpu_s, participant_cpu_s, .. } = self;
        write!(f, "{round_s:>9.3} {coordinator_cpu_s:>18.3} {aggregation_cpu_s:>18.3} {megabytes:>19.1}")?;
        write!(f, "{participant_cpu_s:>23.3}")
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} participants × {} parameters", self.participants, self.dim)?;
        writeln!(
            f,
            "round     seconds  coordinator CPU s  aggregation CPU s  coordinator MB max  one participant CPU s"
        )?;
        for (number, round) in (1_u32..).zip(&self.rounds) {
            writeln!(f, "{number:<7} {round}")?;
        }
        match self.median() {
            Some(median) => write!(f, "median  {median}"),
            None => Ok(()),
        }
    }
}

/// Who is cut off in the middle of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// A participant in the middle of its upload, by SIGKILL: its connections break.
    Participant,
    /// A participant in the middle of its upload, by SIGSTOP: its connections stay and nothing comes any more.
    FrozenParticipant,
    /// The coordinator, by SIGKILL, when half the updates have their receipts; it is started again at once.
    Coordinator,
}

/// How long a round that was disturbed took to go on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Recovery {
    /// How many took part, the victim included.
    pub participants: u32,
    /// How many parameters the model had.
    pub dim: u32,
    /// Who was cut off.
    pub victim: Victim,
    /// Seconds until the round went on: until its collection ended without the participant; from the coordinator's
    /// start until the first update of the same round had its receipt.
    pub goes_on_s: f64,
    /// Seconds until the round was committed, from the same moment.
    pub committed_s: f64,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { participants, dim, goes_on_s, committed_s, .. } = self;
        let (cut, goes_on) = match self.victim {
            Victim::Participant => ("a participant was killed", "collection ended"),
            Victim::FrozenParticipant => ("a participant froze", "collection ended"),
            Victim::Coordinator => ("the coordinator was killed and started again", "the next receipt came"),
        };
        writeln!(f, "{participants} participants × {dim} parameters; {cut} in mid-round")?;
        write!(f, "{goes_on} after {goes_on_s:.3} s, and the round was committed after {committed_s:.3} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_left_out_where_there_are_others() {
        let round = |round_s: f64, coordinator_peak_bytes| Round {
            round_s,
            coordinator_cpu_s: round_s,
            aggregation_cpu_s: round_s / 2.0,
            coordinator_peak_bytes,
            participant_cpu_s: round_s / 3.0,
        };
        let median = |rounds: Vec<Round>| {
            let median = Rounds { participants: 2, dim: 2, rounds }.median().unwrap();
            (median.round_s, median.coordinator_peak_bytes)
        };
        assert_eq!(median(vec![round(9.0, 90)]), (9.0, 90));
        let rounds = vec![round(9.0, 90), round(1.0, 30), round(3.0, 10), round(2.0, 20)];
        assert_eq!(median(rounds), (2.0, 30));
    }

    #[test]
    fn what_is_printed_as_json_is_read_back() {
        let recovery = Recovery {
            participants: 10,
            dim: 1000,
            victim: Victim::FrozenParticipant,
            goes_on_s: 3.125,
            committed_s: 3.25,
        };
        let json = serde_json::to_string(&recovery).unwrap();
        assert!(json.contains("\"frozen-participant\""), "{json}");
        let read: Recovery = serde_json::from_str(&json).unwrap();
        assert_eq!((read.victim, read.goes_on_s), (Victim::FrozenParticipant, 3.125));
        assert!(read.to_string().contains("froze in mid-round\ncollection ended after 3.125 s"), "{read}");
    }
}
