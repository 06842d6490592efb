//! The goals: what is measured, how much it may be at most, and what the best peer was found to need for the same work.
//!
//! The peers' figures were measured once, Flower 1.41 over gRPC without TLS; they are not measured again here.

use std::fmt;

use examples::rounds::Victim;
use serde::Serialize;

/// One row of the table of goals.
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) work_load: WorkLoad,
    pub(crate) goals: &'static [Goal],
}

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkLoad {
    /// Whole rounds over loopback.
    Rounds { participants: u32, dim: u32 },
    /// Rounds in one process, on the same state machine and rules.
    Simulation { participants: u32, dim: u32 },
    /// A round in whose middle somebody is cut off.
    Recovery(Victim),
}

/// What is measured of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// Seconds of a whole round.
    RoundSeconds,
    /// CPU seconds of folding updates and finishing the candidate, in a round.
    AggregationCpuSeconds,
    /// The coordinator's largest resident set, in megabytes of 10^6 bytes.
    CoordinatorMegabytes,
    /// Seconds until the round goes on.
    SecondsUntilItGoesOn,
}

/// What a figure may be at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Goal {
    pub(crate) figure: Figure,
    pub(crate) at_most: f64,
    pub(crate) peer: Peer,
}

/// What the best peer needs for the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Peer {
    /// Its figure; the best where there were several.
    Needs(&'static str, f64),
    /// It does not do it at all.
    Fails(&'static str),
    /// Nobody was measured.
    None,
}

impl Figure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::CoordinatorMegabytes => "MB",
            _ => "s",
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundSeconds => "round",
            Self::AggregationCpuSeconds => "CPU of aggregation",
            Self::CoordinatorMegabytes => "coordinator's peak",
            Self::SecondsUntilItGoesOn => "until it goes on",
        })
    }
}

const fn at_most(figure: Figure, at_most: f64, peer: Peer) -> Goal {
    Goal { figure, at_most, peer }
}

const fn flower(figure: f64) -> Peer {
    Peer::Needs("Flower", figure)
}

const fn pfl(figure: f64) -> Peer {
    Peer::Needs("pfl-research", figure)
}

/// All goals.
pub(crate) const ROWS: &[Row] = &[
    Row {
        work: "100 participants × 1e6, one round",
        work_load: WorkLoad::Rounds { participants: 100, dim: 1_000_000 },
        goals: &[
            at_most(Figure::RoundSeconds, 0.8, flower(4.8)),
            at_most(Figure::AggregationCpuSeconds, 0.3, Peer::None),
            at_most(Figure::CoordinatorMegabytes, 100.0, flower(2577.0)),
        ],
    },
    Row {
        work: "10 participants × 1e7, one round",
        work_load: WorkLoad::Rounds { participants: 10, dim: 10_000_000 },
        goals: &[
            at_most(Figure::RoundSeconds, 1.0, flower(7.6)),
            at_most(Figure::CoordinatorMegabytes, 150.0, flower(2322.0)),
        ],
    },
    Row {
        work: "simulation of 100 × 1e6",
        work_load: WorkLoad::Simulation { participants: 100, dim: 1_000_000 },
        goals: &[at_most(Figure::RoundSeconds, 0.05, pfl(0.10))],
    },
    Row {
        work: "simulation of 1,000 × 1e6",
        work_load: WorkLoad::Simulation { participants: 1000, dim: 1_000_000 },
        goals: &[at_most(Figure::RoundSeconds, 0.5, pfl(1.26))],
    },
    Row {
        work: "participant killed in mid-round",
        work_load: WorkLoad::Recovery(Victim::Participant),
        goals: &[at_most(Figure::SecondsUntilItGoesOn, 5.0, flower(63.0))],
    },
    Row {
        work: "participant frozen in mid-round",
        work_load: WorkLoad::Recovery(Victim::FrozenParticipant),
        goals: &[at_most(Figure::SecondsUntilItGoesOn, 5.0, flower(63.0))],
    },
    Row {
        work: "coordinator killed in mid-round",
        work_load: WorkLoad::Recovery(Victim::Coordinator),
        goals: &[at_most(Figure::SecondsUntilItGoesOn, 2.0, Peer::Fails("Flower: the run is lost"))],
    },
    Row {
        work: "1,000 participants × 1e5, one round",
        work_load: WorkLoad::Rounds { participants: 1000, dim: 100_000 },
        goals: &[at_most(Figure::CoordinatorMegabytes, 200.0, Peer::None)],
    },
];
