//! A task's rounds: [`driver`] decides and persists, without waiting for anything; [`actor`] waits for time and for
//! participants, and calls it. One actor per running task is the only writer of that task's rounds.

pub(crate) mod actor;
pub(crate) mod driver;
mod log;
mod snapshot;
#[cfg(test)]
mod tests;

pub(crate) use log::replay;
pub(crate) use snapshot::{Snapshot, accepted, candidate, joined};
