//! Which policies the tests of a repository decide by, and which no test would miss.
//!
//! Coverage counts what a test ran over; whether a test would notice a change is what [`crate::mutate`] finds out.

use std::collections::BTreeMap;
use std::fmt;

use policy_as_code_cedar::{Place, TestSuite, Touched};
use serde::Serialize;

use crate::PolicyError;
use crate::decide::Engine;
use crate::governance::Governance;
use crate::repository::Repository;

/// How far the tests of a repository touch its policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Of all policies, how many hundredths decided a test, rounded down.
    pub percent: u8,
    /// Every policy, policies of governance first, in the order of files and lines.
    pub policies: Vec<PolicyCoverage>,
}

/// How far the tests touch one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyCoverage {
    /// The policy's id.
    pub id: String,
    /// Where it stands.
    pub place: Place,
    /// How many tests it decided.
    pub decided: usize,
    /// How many tests it was satisfied in, also where another policy decided.
    pub satisfied: usize,
}

impl Coverage {
    /// Runs the tests of `repository`. What holds at every site is covered by the tests of any site, too.
    pub fn of(repository: &Repository) -> Result<Self, PolicyError> {
        let mut policies: BTreeMap<Place, PolicyCoverage> = BTreeMap::new();
        let touched = suites(repository)?.into_iter().flat_map(|suite| suite.tests.touched());
        for Touched { id, place, decided, satisfied } in touched {
            let none = PolicyCoverage { id, place: place.clone(), decided: 0, satisfied: 0 };
            let policy = policies.entry(place).or_insert(none);
            policy.decided = policy.decided.saturating_add(decided);
            policy.satisfied = policy.satisfied.saturating_add(satisfied);
        }
        let decided = policies.values().filter(|policy| policy.decided > 0).count();
        let percent = decided.saturating_mul(100).checked_div(policies.len()).unwrap_or(100);
        Ok(Self { percent: u8::try_from(percent).unwrap_or(100), policies: policies.into_values().collect() })
    }

    /// The policies that decided no test.
    pub fn undecided(&self) -> impl Iterator<Item = &PolicyCoverage> {
        self.policies.iter().filter(|policy| policy.decided == 0)
    }
}

/// A policy set of a repository with its tests.
pub(crate) struct Suite {
    pub(crate) tests: TestSuite,
    /// Whether it is what holds at one site: that site's own policies beside those of all sites.
    pub(crate) of_a_site: bool,
}

/// Every policy set of a repository: governance, what holds everywhere, and what holds at each site.
pub(crate) fn suites(repository: &Repository) -> Result<Vec<Suite>, PolicyError> {
    let tests = Governance::new(repository)?.policies().suite(&repository.governance_tests())?;
    let mut suites = vec![Suite { tests, of_a_site: false }];
    for site in repository.everywhere_and_sites() {
        let engine = Engine::new(repository, site.as_deref())?;
        let tests = engine.policies().suite(&repository.tests(site.as_deref()))?;
        suites.push(Suite { tests, of_a_site: site.is_some() });
    }
    Ok(suites)
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PolicyCoverage { id, place, satisfied, .. } in self.undecided() {
            match satisfied {
                0 => writeln!(f, "{place}: `{id}` decided no test, and was satisfied in none")?,
                _ => writeln!(f, "{place}: `{id}` decided no test, but was satisfied in {satisfied}")?,
            }
        }
        let all = self.policies.len();
        write!(f, "{} of {all} policies decided a test: {} %", all - self.undecided().count(), self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed, shipped};

    #[test]
    fn every_shipped_policy_decides_a_test() {
        let coverage = Coverage::of(&shipped()).unwrap();
        assert_eq!(coverage.undecided().collect::<Vec<_>>(), Vec::<&PolicyCoverage>::new());
        assert_eq!(coverage.percent, 100);
    }

    #[test]
    fn a_policy_without_a_test_is_named_with_its_line_and_whether_it_was_ever_satisfied() {
        let policies = "@id(\"x.other\") forbid (principal, action, resource) when { context.approvals > 15 };\n\
             @id(\"x.covered\")\nforbid (principal, action, resource) when { context.healthy_peers > -1 };";
        let shipped_tests = shipped().tests(None);
        let mut files: Vec<(&str, &str)> =
            shipped_tests.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
        files.push(("policies/30-guardrails.cedar", policies));
        let coverage = Coverage::of(&changed(&files)).unwrap();
        let told = coverage.to_string();
        assert!(
            told.contains(
                "`policies/30-guardrails.cedar` line 1: `x.other` decided no test, and was satisfied in none"
            ),
            "{told}"
        );
        assert!(!told.contains("x.covered"), "{told}");
        assert!(told.contains("but was satisfied in "), "an overridden permit: {told}");
        assert!(coverage.percent < 100);
    }
}
