//! Proofs about a policy repository: every invariant, and that no policy can fail, for every request of the domain.
//!
//! What is not proven is never certified: a violation, a solver that gives up, or no solver at all leave no certificate.

mod certificate;
mod effort;
mod memory;
mod report;

pub use certificate::{ProofCertificate, Proven, Subject};
pub use effort::Effort;
pub use memory::ProofMemory;
pub use report::{ClaimReport, ProofReport, Standing};

use policy_as_code_cedar::{PolicySet, Proof, Solver};

use crate::PolicyError;
use crate::decide::Engine;
use crate::repository::{Repository, SCHEMA};

/// The claim that no containment policy can fail, as it is named beside the invariants.
pub const NO_ERROR: &str = "no-error";
/// The claim that no policy of governance can fail.
pub const NO_GOVERNANCE_ERROR: &str = "no-error.governance";

/// Proves the invariants of `repository`, and that none of its policies can fail; or shows where not.
pub fn prove(repository: &Repository, solver: &Solver) -> Result<ProofReport, PolicyError> {
    let engine = Engine::new(repository, None)?;
    let invariants = engine.invariants();
    let bounds = engine.domain().bounds();
    let mut report = ProofReport::begin(solver);
    let proof = engine.policies().prove(invariants.never(), invariants.always(), &bounds, solver)?;
    report.take(proof, &Names { no_error: NO_ERROR, site: None }, invariants);
    for site in repository.sites() {
        let proof = prove_at(repository, &site, solver)?;
        report.take(proof, &Names { no_error: NO_ERROR, site: Some(&site) }, invariants);
    }
    let proof = engine.governance().policies().prove(solver)?;
    report.take(proof, &Names { no_error: NO_GOVERNANCE_ERROR, site: None }, invariants);
    report.effort.end(solver.now());
    Ok(report)
}

/// What a site adds may only forbid, which the engine checks: what is never allowed stays so. What is always allowed, and
/// that no policy can fail, is proven for each site anew.
fn prove_at(repository: &Repository, site: &str, solver: &Solver) -> Result<Proof, PolicyError> {
    let engine = Engine::new(repository, Some(site))?;
    let never = PolicySet::parse(&repository.file(SCHEMA)?, &[])?;
    let (always, bounds) = (engine.invariants().always(), engine.domain().bounds());
    Ok(engine.policies().prove(&never, always, &bounds, solver)?)
}

/// How claims about one set of policies are named.
struct Names<'a> {
    /// The claim that none of them can fail.
    no_error: &'static str,
    /// The site whose policies are among them.
    site: Option<&'a str>,
}

impl Names<'_> {
    fn claim(&self, id: &str) -> String {
        match self.site {
            Some(site) => format!("{id}@{site}"),
            None => id.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
