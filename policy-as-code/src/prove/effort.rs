//! What it cost to ask a solver, and what it proved: part of every report that rests on one.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use policy_as_code_cedar::{Queries, Solver};
use serde::Serialize;
use shared::{Digest, Timestamp};

/// What it cost to ask a solver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// Name and version of the solver.
    pub solver: String,
    /// How many queries the solver answered.
    pub asked: usize,
    /// How many were proven before and not asked again.
    pub recalled: usize,
    /// How long everything took, in microseconds.
    pub micros: u64,
    #[serde(skip)]
    proven: BTreeSet<Digest>,
    #[serde(skip)]
    started: Timestamp,
}

impl Effort {
    /// Begins now.
    pub(crate) fn begin(solver: &Solver) -> Self {
        let (solver, started) = (solver.name(), solver.now());
        Self { solver, asked: 0, recalled: 0, micros: 0, proven: BTreeSet::new(), started }
    }

    pub(crate) fn add(&mut self, queries: Queries) {
        self.asked = self.asked.saturating_add(queries.asked);
        self.recalled = self.recalled.saturating_add(queries.recalled);
        self.proven.extend(queries.proven);
    }

    pub(crate) fn end(&mut self, now: Timestamp) {
        self.micros = u64::try_from(now.since(self.started).as_micros()).unwrap_or(u64::MAX);
    }

    /// The queries that are proven, for [`super::ProofMemory`].
    pub fn proven(&self) -> &BTreeSet<Digest> {
        &self.proven
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { solver, asked, recalled, micros, .. } = self;
        let time = milliseconds(Duration::from_micros(*micros));
        write!(f, "{time}: {asked} queries asked of {solver}, {recalled} recalled")
    }
}

/// Milliseconds with one decimal.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}
