//! The federation's coordinator: who may take part, what is trained, round after round, and what becomes of it.
//!
//! It has no model code and sees no event: parameters are vectors of numbers to it. [`start`] runs all of it within the
//! calling process; the binary `ringfence-coordinator` does no more than that.

mod aggregate;
mod audit;
mod blob;
mod budget;
pub mod cli;
pub mod config;
mod context;
mod coordinator;
pub mod core;
mod durable;
pub mod enrol;
mod error;
mod governance;
mod guard;
mod heaps;
mod http;
mod intake;
mod invite;
mod keys;
mod masking;
mod presence;
mod proof;
mod release;
mod round;
mod rpc;
mod runtime;
mod start;
mod task;
#[cfg(test)]
mod testing;
mod transcript;

pub use config::Config;
pub use coordinator::Coordinator;
pub use error::Error;
pub use http::openapi;
pub use intake::IntakeError;
pub use masking::MaskingError;
pub use runtime::runtime;
pub use start::{Addresses, Running, start};
pub use task::{Outcome, zeros_for};
