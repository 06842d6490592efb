//! Proofs about policy sets, for all requests of a domain at once: what is never allowed, what is always allowed, that no
//! policy can fail, and how two sets differ.
//!
//! Cedar's symbolic compiler states each question as a formula, and the solver cvc5 answers it. Nothing is proven that
//! the solver has not said, and nothing is refuted that the authorizer does not confirm.

mod abstraction;
mod difference;
mod domain;
mod error;
mod example;
mod mentions;
mod process;
mod proof;
mod replay;
mod scene;
mod session;
mod solver;

pub use difference::{Change, Comparison, Difference, TierDifference};
pub use domain::{Bound, Holder};
pub use error::SolverError;
pub use example::{Blame, Example, Part, Party, Ruling};
pub use proof::{Claim, Finding, Outcome, Proof, Verdict, Violation};
pub use scene::Environment;
pub use session::Queries;
pub use solver::{Solver, SolverConfig};

use std::collections::BTreeSet;

use difference::{Pair, Side};
use proof::{Inquiry, Stated};

use crate::{CedarError, GovernancePolicies, PolicySet};

impl PolicySet {
    /// Proves of this set, within `bounds`, that it allows nothing of `never` and everything of `always`, and that none
    /// of its policies can fail; or shows where not.
    pub fn prove(&self, never: &Self, always: &Self, bounds: &[Bound], solver: &Solver) -> Result<Proof, CedarError> {
        let mut inquiry = Inquiry::new(&self.policies, Some(&self.vocabulary), bounds);
        inquiry.stated = Stated::all(&self.policies.policies, &never.policies, Claim::Never, &inquiry.domain)?;
        inquiry.stated.extend(Stated::all(&self.policies.policies, &always.policies, Claim::Always, &inquiry.domain)?);
        inquiry.run(solver)
    }

    /// How this set within `bounds` differs from `base` within its own. Both were parsed under the same schema.
    pub fn compare(
        &self,
        bounds: &[Bound],
        base: &Self,
        base_bounds: &[Bound],
        solver: &Solver,
    ) -> Result<Comparison, CedarError> {
        let (base, head) = (Side::new(&base.policies, base_bounds)?, Side::new(&self.policies, bounds)?);
        Pair { base, head, vocabulary: Some(&self.vocabulary) }.run(solver)
    }

    /// Those of `suspects` without any one of which this set would answer every request within `bounds` as it does.
    pub fn shadowed(
        &self,
        suspects: &BTreeSet<String>,
        bounds: &[Bound],
        solver: &Solver,
    ) -> Result<(BTreeSet<String>, Queries), CedarError> {
        difference::shadowed(&self.policies, suspects, bounds, solver)
    }

    /// The request environments of the schema, in a fixed order.
    pub fn environments(&self) -> Vec<Environment> {
        scene::environments(&self.policies.schema)
    }
}

impl GovernancePolicies {
    /// Proves that none of the policies can fail, or shows where one does.
    pub fn prove(&self, solver: &Solver) -> Result<Proof, CedarError> {
        Inquiry::new(&self.policies, None, &[]).run(solver)
    }

    /// How these policies differ from `base`. Both were parsed under the same schema.
    pub fn compare(&self, base: &Self, solver: &Solver) -> Result<Comparison, CedarError> {
        let (base, head) = (Side::new(&base.policies, &[])?, Side::new(&self.policies, &[])?);
        Pair { base, head, vocabulary: None }.run(solver)
    }

    /// Those of `suspects` without any one of which every request would be answered as it is.
    pub fn shadowed(
        &self,
        suspects: &BTreeSet<String>,
        solver: &Solver,
    ) -> Result<(BTreeSet<String>, Queries), CedarError> {
        difference::shadowed(&self.policies, suspects, &[], solver)
    }

    /// The request environments of the schema, in a fixed order.
    pub fn environments(&self) -> Vec<Environment> {
        scene::environments(&self.policies.schema)
    }
}

#[cfg(test)]
mod tests;
