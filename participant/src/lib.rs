//! One site of the federation: telemetry in, a shared model out, detections answered; raw telemetry never leaves.
//!
//! The modules stand in the order in which an event, then an update, passes through them; see `ARCHITECTURE.md`.

pub mod collect;
pub mod event;
pub mod feature;
pub mod label;
pub mod lake;
pub mod quality;
pub mod range;
pub mod records;

pub mod admit;
pub mod evaluate;
pub mod follow;
pub mod ledger;
pub mod masking;
pub mod rpc;
pub mod train;
pub mod update;

pub mod online;
pub mod respond;
pub mod serve;

pub mod audit;
pub mod cli;
pub mod config;
pub mod error;
pub mod http;
pub mod progress;
pub mod service;
pub mod site;
pub mod start;

#[cfg(test)]
mod testing;

pub use error::SiteError;
