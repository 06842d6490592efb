//! The federation's coordinator: who may take part, what is trained, round after round, and what becomes of it.
//!
//! It has no model code and sees no event: parameters are vectors of numbers to it. [`start`] runs all of it within the
//! calling process; the binary `ringfence-coordinator` does no more than that.

mod aggregate;
mod audit;
pub mod cli;
pub mod config;
mod coordinator;
mod durable;
pub mod enrol;
mod error;
mod guard;
mod http;
mod intake;
mod keys;
mod release;
mod round;
mod rpc;
mod start;
mod task;
#[cfg(test)]
mod testing;

pub use config::Config;
pub use coordinator::Coordinator;
pub use error::Error;
pub use http::openapi;
pub use intake::IntakeError;
pub use start::{Addresses, Running, start};
pub use task::{Outcome, zeros_for};
