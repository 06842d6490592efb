//! How two versions of a policy repository differ in what they allow, proven for every request of their domains.
//!
//! Where the schema changed, requests changed with it: then nothing is called equivalent.

mod report;

pub use report::{ChangedRequest, Decided, Direction, EnvironmentDiff, PolicyDiff, TierDiff};

use std::collections::BTreeSet;

use policy_as_code_cedar::{
    CedarError, Change, Comparison, Difference, Environment, GovernancePolicies, PolicySet, Solver, TierDifference,
};

use crate::PolicyError;
use crate::decide::Engine;
use crate::governance;
use crate::repository::{Repository, SCHEMA};

/// Compares `head` with `base`, the version before it: the policies of all sites, those of each site that changed, and
/// those of governance.
pub fn diff(base: &Repository, head: &Repository, solver: &Solver) -> Result<PolicyDiff, PolicyError> {
    let mut report = PolicyDiff::begin(solver);
    let common = Versions::load(base, head, None)?;
    report.schema(&common.old.environments, &environments(&common.head), common.old.schema_changed);
    common.compare(&mut report, solver)?;
    for site in changed_sites(base, head) {
        Versions::load(base, head, Some(&site))?.compare(&mut report, solver)?;
    }
    common.compare_governance(&mut report, base, head, solver)?;
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
    old: Old<PolicySet>,
}

/// Policies of the old version under the schema of the new one.
struct Old<P> {
    /// Why they are not, where that schema does not fit them.
    policies: Result<P, CedarError>,
    /// The environments of the old schema.
    environments: BTreeSet<Environment>,
    schema_changed: bool,
}

impl Versions {
    /// Both versions for `site`; one that knows no such site has the policies of all sites there.
    fn load(base: &Repository, head: &Repository, site: Option<&str>) -> Result<Self, PolicyError> {
        let known = |version: &Repository| site.filter(|site| version.sites().contains(*site));
        let schema = head.file(SCHEMA)?;
        let engine = Engine::new(base, known(base))?;
        let old = Old {
            policies: PolicySet::parse(&schema, &base.policies(known(base))),
            environments: environments(&engine),
            schema_changed: base.file(SCHEMA)?.text != schema.text,
        };
        Ok(Self { site: site.map(str::to_owned), base: engine, head: Engine::new(head, known(head))?, old })
    }

    fn compare(&self, report: &mut PolicyDiff, solver: &Solver) -> Result<(), PolicyError> {
        let (bounds, base_bounds) = (self.head.domain().bounds(), self.base.domain().bounds());
        let compare = |old: &PolicySet| self.head.policies().compare(&bounds, old, &base_bounds, solver);
        self.take(report, &self.old, compare)
    }

    /// Compares which tasks a site admits, who may call what, and which releases may be promoted.
    fn compare_governance(
        &self,
        report: &mut PolicyDiff,
        base: &Repository,
        head: &Repository,
        solver: &Solver,
    ) -> Result<(), PolicyError> {
        let environments =
            |version: &Engine| version.governance().policies().environments().into_iter().collect::<BTreeSet<_>>();
        let schema = head.file(governance::SCHEMA)?;
        let old = Old {
            policies: GovernancePolicies::parse(&schema, &base.folder("governance")),
            environments: environments(&self.base),
            schema_changed: base.file(governance::SCHEMA)?.text != schema.text,
        };
        report.schema(&old.environments, &environments(&self.head), old.schema_changed);
        self.take(report, &old, |old| self.head.governance().policies().compare(old, solver))
    }

    /// Takes over what `compare` finds in the environments that were there before.
    fn take<P>(
        &self,
        report: &mut PolicyDiff,
        old: &Old<P>,
        compare: impl FnOnce(&P) -> Result<Comparison, CedarError>,
    ) -> Result<(), PolicyError> {
        match &old.policies {
            Ok(policies) => {
                let Comparison { differences, queries } = compare(policies)?;
                let known = differences.into_iter().filter(|one| old.environments.contains(&one.environment));
                report.environments.extend(known.map(|one| self.environment(one, old.schema_changed)));
                report.effort.add(queries);
            }
            Err(error) => report.incomparable.push(error.to_string()),
        }
        Ok(())
    }

    fn environment(&self, difference: Difference, schema_changed: bool) -> EnvironmentDiff {
        let Difference { environment, tiers } = difference;
        let tiers: Vec<TierDiff> = tiers.into_iter().map(|tier| self.tier(tier)).collect();
        let direction = Direction::of(&tiers, schema_changed);
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
