//! What several of the tours and measurements share. Nothing of the product depends on it.

pub mod parallel;
pub mod plan;
pub mod usage;
