//! What may run and how: decisions, containment ledger, playbooks, actuators, bundles.
//!
//! The way of a response: a detection asks [`decide::Engine`] how far it may go; [`containment`] decides and reserves in
//! one transaction; [`playbook`] carries the steps out, each behind a durable intent, each under a lease;
//! [`actuator`] changes the target and gives it back. Nothing here acts without a decision, and an error never widens
//! one. Apart from all this, [`governance`] says which tasks a site takes part in, and who may do what in a federation.

pub mod actuator;
pub mod bundle;
pub mod cli;
pub mod config;
pub mod containment;
pub mod coverage;
pub mod decide;
pub mod diff;
pub mod domain;
pub mod error;
pub mod governance;
pub mod http;
pub mod invariant;
pub mod journal;
pub mod lint;
pub mod mutate;
pub mod playbook;
pub mod prove;
pub mod replay;
pub mod repository;
pub mod review;
#[cfg(test)]
mod testing;
mod veto;

pub use error::PolicyError;
