//! How two versions of a policy repository differ in what they allow, proven for every request of their domains.
//!
//! Where the schema changed, requests changed with it: then nothing is called equivalent.

mod report;

pub use report::{ChangedRequest, Decided, Direction, EnvironmentDiff, PolicyDiff, TierDiff};

use std::collections::BTreeSet;

use policy_as_code_cedar::{
    CedarError, Change, Comparison, Difference, Environment, PolicySet, Solver, TierDifference,
};

use crate::PolicyError;
use crate::decide::Engine;
use crate::repository::{Repository, SCHEMA};

/// Compares `head` with `base`, the version before it: the policies of all sites, and those of each site that changed.
pub fn diff(base: &Repository, head: &Repository, solver: &Solver) -> Result<PolicyDiff, PolicyError> {
    let common = Versions::load(base, head, None)?;
    let mut report = common.report(solver);
    common.compare(&mut report, solver)?;
    for site in changed_sites(base, head) {
        Versions::load(base, head, Some(&site))?.compare(&mut report, solver)?;
    }
    report.effort.end(solver.now());
    Ok(report)
}

/// The sites whose own policies differ.
fn changed_sites(base: &Repository, head: &Repository) -> Vec<String> {
    let own = |repository: &Repository, site: &str| repository.folder(&format!("policies/sites/{site}"));
    let sites: BTreeSet<String> = base.sites().union(&head.sites()).cloned().collect();
    sites.into_iter().filter(|site| own(base, site) != own(head, site)).collect()
}

/// Two versions, loaded.
struct Versions {
    site: Option<String>,
    base: Engine,
    head: Engine,
    /// The policies of `base` under the schema of `head`; why not, where that schema does not fit them.
    base_policies: Result<PolicySet, CedarError>,
    schema_changed: bool,
}

impl Versions {
    /// Both versions for `site`; one that knows no such site has the policies of all sites there.
    fn load(base: &Repository, head: &Repository, site: Option<&str>) -> Result<Self, PolicyError> {
        let known = |version: &Repository| site.filter(|site| version.sites().contains(*site));
        let schema = head.file(SCHEMA)?;
        Ok(Self {
            site: site.map(str::to_owned),
            base_policies: PolicySet::parse(&schema, &base.policies(known(base))),
            schema_changed: base.file(SCHEMA)?.text != schema.text,
            base: Engine::new(base, known(base))?,
            head: Engine::new(head, known(head))?,
        })
    }

    /// A report that says what became of the schema, and nothing yet of the policies.
    fn report(&self, solver: &Solver) -> PolicyDiff {
        let (before, after) = (environments(&self.base), environments(&self.head));
        let mut report = PolicyDiff::begin(solver, self.schema_changed);
        report.removed = before.difference(&after).cloned().collect();
        report.added = after.difference(&before).cloned().collect();
        report
    }

    fn compare(&self, report: &mut PolicyDiff, solver: &Solver) -> Result<(), PolicyError> {
        match &self.base_policies {
            Ok(base_policies) => {
                let (bounds, base_bounds) = (self.head.domain().bounds(), self.base.domain().bounds());
                self.take(report, self.head.policies().compare(&bounds, base_policies, &base_bounds, solver)?);
            }
            Err(error) => report.incomparable = Some(error.to_string()),
        }
        Ok(())
    }

    /// Takes over what was found in the environments that were there before.
    fn take(&self, report: &mut PolicyDiff, comparison: Comparison) {
        let Comparison { differences, queries } = comparison;
        let before = environments(&self.base);
        let common = differences.into_iter().filter(|difference| before.contains(&difference.environment));
        report.environments.extend(common.map(|difference| self.environment(difference)));
        report.effort.add(queries);
    }

    fn environment(&self, difference: Difference) -> EnvironmentDiff {
        let Difference { environment, tiers } = difference;
        let tiers: Vec<TierDiff> = tiers.into_iter().map(|tier| self.tier(tier)).collect();
        let direction = Direction::of(&tiers, self.schema_changed);
        EnvironmentDiff { site: self.site.clone(), environment, direction, tiers }
    }

    fn tier(&self, difference: TierDifference) -> TierDiff {
        let TierDifference { tier, widened, narrowed, unknown } = difference;
        let changed = |change: Option<Box<Change>>| change.map(|change| self.decided(*change));
        TierDiff { tier, widened: changed(widened), narrowed: changed(narrowed), unknown }
    }

    /// What both versions decide on the example.
    fn decided(&self, change: Change) -> ChangedRequest {
        let decided = change
            .example
            .request
            .as_ref()
            .map(|request| Decided { base: self.base.decide(request).tier, head: self.head.decide(request).tier });
        ChangedRequest { change, decided }
    }
}

fn environments(version: &Engine) -> BTreeSet<Environment> {
    version.policies().environments().into_iter().collect()
}

#[cfg(test)]
mod tests;
