//! What is amiss with policies that load: how they are laid out, and which of them change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use policy_as_code_cedar::{Place, Queries, Solver, Source, formatted};
use serde::Serialize;
use shared::Digest;

use crate::PolicyError;
use crate::decide::Engine;
use crate::governance::Governance;
use crate::repository::{Repository, site_of};

/// The folders that hold policies.
const FOLDERS: [&str; 3] = ["governance", "invariants", "policies"];

/// A policy without which every request would be answered as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shadowed {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub place: Place,
}

impl fmt::Display for Shadowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`", self.place, self.id)
    }
}

/// What is amiss with the policies of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// The files that are not laid out.
    pub unformatted: Vec<String>,
    /// The policies that change no answer.
    pub shadowed: Vec<Shadowed>,
    /// The queries that were proven, for [`crate::prove::ProofMemory`].
    #[serde(skip)]
    pub proven: BTreeSet<Digest>,
}

impl Lint {
    /// Looks at the policies of `repository`, with `solver` for what only a proof can tell.
    pub fn of(repository: &Repository, solver: &Solver) -> Result<Self, PolicyError> {
        let (shadowed, proven) = Suspects::of(repository)?.shadowed(solver)?;
        let unformatted = unformatted(repository)?.into_iter().map(|file| file.path).collect();
        Ok(Self { unformatted, shadowed, proven })
    }
}

/// The files with policies that are not laid out as `cedar format` does it, with the text that they should have.
pub fn unformatted(repository: &Repository) -> Result<Vec<Source>, PolicyError> {
    let mut found = Vec::new();
    for source in FOLDERS.iter().flat_map(|folder| repository.folder(folder)) {
        let text = formatted(&source)?;
        if text != source.text {
            found.push(Source { text, ..source });
        }
    }
    Ok(found)
}

/// Policies that may be superfluous: none of the tests misses any one of them.
pub struct Suspects {
    parts: Vec<(Engine, BTreeSet<String>)>,
    governance: (Governance, BTreeSet<String>),
}

impl Suspects {
    /// The suspects of `repository`: containment policies everywhere and those that each site adds, and policies of
    /// governance.
    pub fn of(repository: &Repository) -> Result<Self, PolicyError> {
        let mut parts = Vec::new();
        for site in repository.everywhere_and_sites() {
            let engine = Engine::new(repository, site.as_deref())?;
            let mut ids = engine.policies().suite(&repository.tests(site.as_deref()))?.unmissed();
            let own = |place: &Place| site_of(&place.path) == site.as_deref();
            ids.retain(|id| engine.policies().places().get(id).is_some_and(own));
            parts.push((engine, ids));
        }
        let governance = Governance::new(repository)?;
        let ids = governance.policies().suite(&repository.governance_tests())?.unmissed();
        Ok(Self { parts, governance: (governance, ids) })
    }

    /// Whether there is nothing to ask a solver.
    pub fn is_empty(&self) -> bool {
        self.governance.1.is_empty() && self.parts.iter().all(|(_, ids)| ids.is_empty())
    }

    /// Those that other policies make superfluous, as `solver` proves it for every request; and the queries that it proved.
    pub fn shadowed(&self, solver: &Solver) -> Result<(Vec<Shadowed>, BTreeSet<Digest>), PolicyError> {
        let (mut found, mut proven) = (Vec::new(), BTreeSet::new());
        let mut take = |places: &BTreeMap<String, Place>, (ids, queries): (BTreeSet<String>, Queries)| {
            let places = places.iter().filter(|(id, _)| ids.contains(*id));
            found.extend(places.map(|(id, place)| Shadowed { id: id.clone(), place: place.clone() }));
            proven.extend(queries.proven);
        };
        for (engine, ids) in self.parts.iter().filter(|(_, ids)| !ids.is_empty()) {
            let policies = engine.policies();
            take(policies.places(), policies.shadowed(ids, &engine.domain().bounds(), solver)?);
        }
        let (governance, ids) = &self.governance;
        if !ids.is_empty() {
            take(governance.policies().places(), governance.policies().shadowed(ids, solver)?);
        }
        found.sort_by(|left, right| left.place.cmp(&right.place));
        Ok((found, proven))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed, shipped, solver};

    #[test]
    fn the_shipped_policies_are_laid_out_and_others_are_named_with_the_text_that_they_should_have() {
        assert_eq!(unformatted(&shipped()).unwrap(), []);
        let odd = "@id(\"x\") forbid(principal,action,resource) when {context.kill_switch};";
        let found = unformatted(&changed(&[("policies/x.cedar", odd)])).unwrap();
        assert_eq!(found.len(), 1);
        assert!(
            found[0].path == "policies/x.cedar" && found[0].text.contains("forbid (principal, action, resource)\n")
        );
    }

    #[test]
    fn a_policy_that_changes_no_answer_is_found_where_it_stands() {
        let shipped = shipped();
        assert!(Suspects::of(&shipped).unwrap().is_empty(), "each shipped policy is missed by a test");
        let idle = "@id(\"idle\")\nforbid (principal, action in Ringfence::Action::\"contain\", \
                    resource)\nwhen { context.tier == \
                    Ringfence::Tier::\"automated\" && context.blast_radius > 30 && context.kill_switch };\n";
        let untested =
            idle.replace("idle", "untested").replace("30 && context.kill_switch", "15 && context.recent_actions > 40");
        let at_a_site = idle.replace("idle", "idle-there");
        let governance = "@id(\"idle-noise\")\nforbid (principal, action == Ringfence::Action::\"admit\", resource)\n\
                          when { resource.noise_milli < 100 };\n";
        let mut files = vec![
            ("policies/40-idle.cedar", idle),
            ("policies/50-untested.cedar", untested.as_str()),
            ("policies/sites/river-grid/40-idle.cedar", at_a_site.as_str()),
            ("governance/40-idle.cedar", governance),
        ];
        let of_sites = shipped.everywhere_and_sites().flat_map(|site| shipped.tests(site.as_deref()));
        let tests: Vec<Source> = of_sites.chain(shipped.governance_tests()).collect();
        files.extend(tests.iter().map(|file| (file.path.as_str(), file.text.as_str())));
        let suspects = Suspects::of(&changed(&files)).unwrap();
        let Some(solver) = solver() else { return };
        let ids: Vec<String> = suspects.shadowed(&solver).unwrap().0.into_iter().map(|one| one.id).collect();
        assert_eq!(ids, ["idle-noise", "idle", "idle-there"]);
    }
}
