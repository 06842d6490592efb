//! Cedar behind Ringfence's own types: a validated policy set that answers one request at one tier.
//!
//! The only package that names `cedar-policy`; no type of Cedar leaves it. It reads no file (sources are handed in as
//! text), keeps no state between answers, and never lets an error pass for a permission.

mod error;
mod policy_set;
mod test_file;
mod vocabulary;

pub use error::{CedarError, Place};
pub use policy_set::{PolicySet, Source};
pub use test_file::TestOutcome;
