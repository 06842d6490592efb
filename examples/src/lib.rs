//! What several of the tours and measurements share. Nothing of the product depends on it.

pub mod nsl_kdd;
pub mod number;
pub mod output;
pub mod parallel;
pub mod plan;
pub mod plot;
pub mod rounds;
pub mod simulation;
pub mod statistics;
pub mod usage;
