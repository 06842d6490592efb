//! How a round grows: over participants with one size of model, and over parameters with one number of participants.

use anyhow::Context;
use examples::statistics::megabytes;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::measure::{Effort, rounds};
use crate::sibling::Siblings;

/// How many parameters the model has while participants grow in number.
const DIM: u32 = 100_000;
const PARTICIPANTS: [u32; 5] = [10, 32, 100, 316, 1000];
/// How many take part while the model grows.
const FEW: u32 = 10;
const DIMS: [u32; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// How many points are measured.
pub(crate) const POINTS: usize = PARTICIPANTS.len() + DIMS.len();

/// The two curves.
#[derive(Debug, Serialize)]
pub(crate) struct Growth {
    pub(crate) over_participants: Vec<Point>,
    pub(crate) over_parameters: Vec<Point>,
}

/// The median round of one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Point {
    pub(crate) participants: u32,
    pub(crate) dim: u32,
    pub(crate) round_s: f64,
    pub(crate) coordinator_mb: f64,
}

impl Growth {
    pub(crate) fn measure(siblings: &Siblings, effort: Effort, progress: &ProgressBar) -> anyhow::Result<Self> {
        let point = |participants: u32, dim: u32| {
            progress.set_message(format!("{participants} participants × {dim} parameters"));
            let point = Point::measure(siblings, participants, dim, effort.rounds);
            progress.inc(1);
            point
        };
        Ok(Self {
            over_participants: PARTICIPANTS
                .map(|participants| point(participants, DIM))
                .into_iter()
                .collect::<Result<_, _>>()?,
            over_parameters: DIMS.map(|dim| point(FEW, dim)).into_iter().collect::<Result<_, _>>()?,
        })
    }
}

impl Point {
    fn measure(siblings: &Siblings, participants: u32, dim: u32, count: u32) -> anyhow::Result<Self> {
        let median = rounds(siblings, participants, dim, count)?.median().context("there was no round")?;
        let coordinator_mb = megabytes(median.coordinator_peak_bytes);
        Ok(Self { participants, dim, round_s: median.round_s, coordinator_mb })
    }
}
