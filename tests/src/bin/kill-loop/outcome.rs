//! What a run came to, and whether two runs came to the same.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use shared::{Digest, ParticipantId};

/// What counted in a committed round, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Committed {
    /// Whose update counted, and its digest.
    pub(crate) accepted: BTreeMap<ParticipantId, Digest>,
    /// Digest of the candidate's parameters.
    pub(crate) candidate: Digest,
}

/// A whole run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The committed rounds, in order.
    pub(crate) rounds: Vec<Committed>,
    /// How many processes were killed: the coordinator, and sites.
    pub(crate) kills: (u32, u32),
    pub(crate) seconds: f64,
}

/// Two runs beside each other.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    rounds: usize,
    equal_rounds: usize,
    coordinator_kills: u32,
    site_kills: u32,
    calm_s: f64,
    disturbed_s: f64,
    last_candidate: Option<Digest>,
}

impl Verdict {
    pub(crate) fn of(calm: &Outcome, disturbed: &Outcome) -> Self {
        let equal = calm.rounds.iter().zip(&disturbed.rounds).filter(|(calm, disturbed)| calm == disturbed).count();
        Self {
            rounds: calm.rounds.len().max(disturbed.rounds.len()),
            equal_rounds: equal,
            coordinator_kills: disturbed.kills.0,
            site_kills: disturbed.kills.1,
            calm_s: calm.seconds,
            disturbed_s: disturbed.seconds,
            last_candidate: disturbed.rounds.last().map(|round| round.candidate),
        }
    }

    /// Whether every round is the same in both.
    pub(crate) fn holds(&self) -> Result<(), String> {
        match self.equal_rounds == self.rounds && self.rounds > 0 {
            true => Ok(()),
            false => Err(format!("{} of {} rounds are the same", self.equal_rounds, self.rounds)),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, equal_rounds, coordinator_kills, site_kills, calm_s, disturbed_s, .. } = self;
        let kills = coordinator_kills + site_kills;
        writeln!(f, "{equal_rounds} of {rounds} rounds end with the same updates and the same aggregate, bit for bit")?;
        writeln!(f, "{kills} kills: {coordinator_kills} of the coordinator, {site_kills} of sites")?;
        write!(f, "undisturbed {calm_s:.1} s, disturbed {disturbed_s:.1} s")
    }
}
