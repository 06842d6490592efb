//! Exact noise, privacy accountants and the privacy ledger's arithmetic.
//!
//! The only package that names opendp. It keeps nothing: durability, signatures and the order "debit first, then noise"
//! are the participant's.

pub mod accountant;
pub mod banded;
pub mod counts;
pub mod distributed;
mod error;
pub mod ledger;
pub mod noise;

pub use error::PrivacyError;
