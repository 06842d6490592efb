//! The certificate that a repository is proven: what about, what was proven, by which solver, with which queries.
//!
//! Whoever serves a repository holds it against the files without a solver. The certificate is not signed by itself; a
//! bundle's signature is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::Digest;

use super::{NO_ERROR, NO_GOVERNANCE_ERROR, Names};
use crate::PolicyError;
use crate::decide::Engine;
use crate::invariant::Invariants;
use crate::repository::Repository;

/// That everything that a repository claims is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofCertificate {
    /// What the proofs are about.
    pub subject: Subject,
    /// Name and version of the solver.
    pub solver: String,
    /// What is proven: the invariants by id, and that no policy can fail.
    pub proven: BTreeMap<String, Proven>,
}

/// Digests of what the proofs are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Of the containment policies.
    pub policies: Digest,
    /// Of the policies of governance.
    pub governance: Digest,
    /// Of the schemas.
    pub schema: Digest,
    /// Of the domain, which the proofs assume.
    pub domain: Digest,
    /// Of the invariants.
    pub invariants: Digest,
}

/// A claim that is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// In how many request environments.
    pub environments: usize,
    /// SHA-256 of each query, as SMT-LIB text, that the solver answered `unsat`. An environment in which the claim holds
    /// at sight has none.
    pub queries: Vec<Digest>,
}

impl ProofCertificate {
    /// Checks that the certificate is about exactly what `repository` holds, and that it leaves out no claim.
    pub fn covers(&self, repository: &Repository) -> Result<(), PolicyError> {
        if let Some(part) = self.subject.difference(&Subject::of(repository)?) {
            return Err(PolicyError::CertificateSubject { part });
        }
        let engine = Engine::new(repository, None)?;
        let contained = engine.policies().environments().len();
        let governed = engine.governance().policies().environments().len();
        let invariants = engine.invariants().ids().into_iter().chain([NO_ERROR.to_owned()]);
        let claims = invariants.chain(claims_of_sites(repository, engine.invariants())).map(|id| (id, contained));
        let mut claims = claims.chain([(NO_GOVERNANCE_ERROR.to_owned(), governed)]);
        claims.try_for_each(|(claim, environments)| self.proves(claim, environments))
    }

    fn proves(&self, claim: String, environments: usize) -> Result<(), PolicyError> {
        match self.proven.get(&claim) {
            Some(proven) if proven.environments == environments => Ok(()),
            _ => Err(PolicyError::CertificateIncomplete { claim }),
        }
    }
}

/// What has to be proven for each site anew.
fn claims_of_sites(repository: &Repository, invariants: &Invariants) -> Vec<String> {
    let sites = repository.sites();
    let claims = |site: &String| {
        let names = Names { no_error: NO_ERROR, site: Some(site) };
        let always = invariants.always().places().keys().map(|id| names.claim(id));
        always.chain([names.claim(NO_ERROR)]).collect::<Vec<_>>()
    };
    sites.iter().flat_map(claims).collect()
}

impl Subject {
    /// What proofs about `repository` are about.
    pub fn of(repository: &Repository) -> Result<Self, PolicyError> {
        let files = repository.digests();
        let digest = |belongs: &dyn Fn(&str) -> bool| {
            let part: BTreeMap<&String, &Digest> = files.iter().filter(|(path, _)| belongs(path)).collect();
            shared_crypto::digest_of(&part)
        };
        Ok(Self {
            policies: digest(&|path| path.starts_with("policies/"))?,
            governance: digest(&|path| path.starts_with("governance/"))?,
            schema: digest(&|path| path.starts_with("schema/") && path.ends_with(".cedarschema"))?,
            domain: digest(&|path| path == "schema/domain.toml")?,
            invariants: digest(&|path| path.starts_with("invariants/"))?,
        })
    }

    /// The first part in which two subjects differ.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let parts = [
            ("policies", self.policies == other.policies),
            ("policies of governance", self.governance == other.governance),
            ("schemas", self.schema == other.schema),
            ("ranges of `schema/domain.toml`", self.domain == other.domain),
            ("invariants", self.invariants == other.invariants),
        ];
        parts.into_iter().find(|(_, same)| !same).map(|(part, _)| part)
    }
}
