//! What was proven, for people and as JSON: one line for each claim, then an example of each violation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use policy_as_code_cedar::{Claim, Finding, Outcome, Proof, Solver, Verdict, Violation};
use serde::Serialize;
use shared::Digest;

use super::Names;
use super::certificate::{ProofCertificate, Proven, Subject};
use super::effort::{Effort, milliseconds};
use crate::PolicyError;
use crate::invariant::Invariants;
use crate::repository::Repository;

/// What became of all claims.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProofReport {
    /// One for each invariant, and one for each set of policies that must not fail.
    pub claims: Vec<ClaimReport>,
    /// What it cost.
    #[serde(flatten)]
    pub effort: Effort,
}

/// What became of one claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimReport {
    /// The invariant's id, or the name of a claim that every repository makes.
    pub id: String,
    /// Whether it holds.
    pub standing: Standing,
    /// Who owns the invariant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rationale: Option<String>,
    /// How long it took, in microseconds, summed over the environments.
    pub micros: u64,
    /// What became of it in each environment.
    pub findings: Vec<Finding>,
}

/// Whether a claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// For every request.
    Proven,
    /// Not for some.
    Violated,
    /// Nobody knows.
    Unknown,
}

impl ProofReport {
    pub(super) fn begin(solver: &Solver) -> Self {
        Self { claims: Vec::new(), effort: Effort::begin(solver) }
    }

    /// Adds what was proven of one set of policies.
    pub(super) fn take(&mut self, proof: Proof, names: &Names<'_>, invariants: &Invariants) {
        let Proof { verdicts, queries } = proof;
        self.claims.extend(verdicts.into_iter().map(|verdict| ClaimReport::new(verdict, names, invariants)));
        self.effort.add(queries);
    }

    /// The claims that are not proven.
    pub fn unproven(&self) -> Vec<String> {
        let unproven = self.claims.iter().filter(|claim| claim.standing != Standing::Proven);
        unproven.map(|claim| claim.id.clone()).collect()
    }

    /// The certificate that `repository`, which this report is about, is proven; an error unless everything is.
    pub fn certificate(&self, repository: &Repository) -> Result<ProofCertificate, PolicyError> {
        let unproven = self.unproven();
        if !unproven.is_empty() {
            return Err(PolicyError::Unproven { claims: unproven.join("`, `") });
        }
        let proven = self.claims.iter().map(|claim| (claim.id.clone(), claim.proven())).collect();
        Ok(ProofCertificate { subject: Subject::of(repository)?, solver: self.effort.solver.clone(), proven })
    }
}

impl ClaimReport {
    fn new(verdict: Verdict, names: &Names<'_>, invariants: &Invariants) -> Self {
        let Verdict { claim, findings } = verdict;
        let id = match claim {
            Claim::Never(id) | Claim::Always(id) => id,
            Claim::NoError => names.no_error.to_owned(),
        };
        let annotation = |name| invariants.annotation(&id, name).map(str::to_owned);
        Self {
            standing: Standing::of(&findings),
            owner: annotation("owner"),
            rationale: annotation("rationale"),
            micros: findings.iter().map(|finding| finding.micros).fold(0, u64::saturating_add),
            findings,
            id: names.claim(&id),
        }
    }

    fn proven(&self) -> Proven {
        let queries: BTreeSet<Digest> = self.findings.iter().flat_map(|finding| finding.queries.clone()).collect();
        Proven { environments: self.findings.len(), queries: queries.into_iter().collect() }
    }

    pub(crate) fn violations(&self) -> impl Iterator<Item = (&Finding, &Violation)> {
        self.findings.iter().filter_map(|finding| match &finding.outcome {
            Outcome::Violated(violation) => Some((finding, violation.as_ref())),
            _ => None,
        })
    }

    /// In how many environments the claim stands as it does.
    fn places(&self) -> String {
        let alike =
            self.findings.iter().filter(|finding| Standing::of(std::slice::from_ref(*finding)) == self.standing);
        match (alike.count(), self.findings.len()) {
            (1, 1) => "in 1 environment".to_owned(),
            (some, all) if some == all => format!("in {all} environments"),
            (some, all) => format!("in {some} of {all} environments"),
        }
    }

    /// Reasons why environments are unknown, with how many.
    fn unknown(&self) -> BTreeMap<&str, usize> {
        let mut reasons = BTreeMap::new();
        for finding in &self.findings {
            if let Outcome::Unknown { reason } = &finding.outcome {
                *reasons.entry(reason.as_str()).or_default() += 1;
            }
        }
        reasons
    }
}

impl Standing {
    fn of(findings: &[Finding]) -> Self {
        let any = |wanted: fn(&Outcome) -> bool| findings.iter().any(|finding| wanted(&finding.outcome));
        if any(|outcome| matches!(outcome, Outcome::Violated(_))) {
            Self::Violated
        } else if findings.is_empty() || any(|outcome| matches!(outcome, Outcome::Unknown { .. })) {
            Self::Unknown
        } else {
            Self::Proven
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Proven => "proven",
            Self::Violated => "VIOLATED",
            Self::Unknown => "UNKNOWN",
        })
    }
}

impl fmt::Display for ProofReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.claims.iter().map(|claim| claim.id.len()).max().unwrap_or_default();
        for claim in &self.claims {
            let ClaimReport { id, standing, micros, .. } = claim;
            let (place, time) = (claim.places(), milliseconds(Duration::from_micros(*micros)));
            let owner = claim.owner.as_deref().unwrap_or_default();
            writeln!(f, "{}", format!("{standing:<8}  {id:<width$}  {place:<23}  {time:>9}  {owner}").trim_end())?;
        }
        self.claims.iter().try_for_each(|claim| write!(f, "{}", Details(claim)))?;
        let proven = self.claims.len().saturating_sub(self.unproven().len());
        write!(f, "{proven} of {} proven in {}", self.claims.len(), self.effort)
    }
}

/// What is wrong with a claim; nothing where it is proven.
struct Details<'a>(&'a ClaimReport);

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claim = self.0;
        let violations: Vec<_> = claim.violations().collect();
        if let Some((_, violation)) = violations.first() {
            let names: Vec<String> = violations.iter().map(|(finding, _)| finding.environment.to_string()).collect();
            writeln!(f, "\n{} is violated by {}", claim.id, names.join(", "))?;
            claim.rationale.iter().try_for_each(|rationale| writeln!(f, "  why it stands: {rationale}"))?;
            violation.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        for (reason, count) in claim.unknown() {
            writeln!(f, "\n{} is unknown in {count} environments: {reason}", claim.id)?;
        }
        Ok(())
    }
}
