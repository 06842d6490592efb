//! Cedar behind Ringfence's own types: validated policies that say how far a response may go, and how a federation is
//! governed, and proofs about them.
//!
//! The only package that names `cedar-policy` and its symbolic compiler; no type of Cedar leaves it. It reads no file (sources are handed in as
//! text), keeps no state between answers, and never lets an error pass for a permission.

mod attributes;
mod compiled;
mod error;
mod format;
mod governance;
mod limits;
mod mutant;
mod policies;
mod policy_set;
mod symbolic;
mod test_file;
mod test_suite;
mod vocabulary;

pub use error::{CedarError, Place};
pub use format::formatted;
pub use governance::{AdmissionRequest, Caller, GovernanceAnswer, GovernancePolicies, GovernanceRequest};
pub use mutant::{Mutant, Mutants, Shift, Slip};
pub use policies::Source;
pub use policy_set::{CedarRequest, PolicySet};
pub use symbolic::{
    Blame, Bound, Change, Claim, Comparison, Difference, Environment, Example, Finding, Holder, Outcome, Part, Party,
    Proof, Queries, Ruling, Solver, SolverConfig, SolverError, TierDifference, Verdict, Violation,
};
pub use test_file::TestOutcome;
pub use test_suite::{TestName, TestSuite, Touched};
