//! A difference between two versions, for people and as JSON: what widens comes first, what is proven equivalent last.

use std::collections::BTreeSet;
use std::fmt;

use policy_as_code_cedar::{Change, Environment, Solver};
use serde::Serialize;
use shared::detection::Tier;

use crate::prove::Effort;

/// How two versions differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyDiff {
    /// Whether the two versions have different schemas, of containment or of governance.
    pub schema_changed: bool,
    /// Why old policies cannot be compared under the new schema.
    pub incomparable: Vec<String>,
    /// Request environments that only the new schema has.
    pub added: Vec<Environment>,
    /// Request environments that only the old schema has.
    pub removed: Vec<Environment>,
    /// The environments that both have.
    pub environments: Vec<EnvironmentDiff>,
    /// What it cost.
    #[serde(flatten)]
    pub effort: Effort,
}

/// How two versions differ in one environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnvironmentDiff {
    /// The site whose policies these are; `None` for those of all sites.
    pub site: Option<String>,
    /// The environment.
    pub environment: Environment,
    /// In which direction.
    pub direction: Direction,
    /// At which tiers, and by which requests.
    pub tiers: Vec<TierDiff>,
}

/// In which direction a version differs from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It allows more.
    Widened,
    /// It allows some requests more and some less.
    Both,
    /// Nobody knows.
    Unknown,
    /// It allows less.
    Narrowed,
    /// It allows the same.
    Equivalent,
}

/// How two versions differ at one tier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierDiff {
    /// The tier; `None` of policies of governance, which know none.
    pub tier: Option<Tier>,
    /// A request that only the new version allows at this tier.
    pub widened: Option<ChangedRequest>,
    /// A request that only the old version allows at this tier.
    pub narrowed: Option<ChangedRequest>,
    /// Why it is not known whether there are more.
    pub unknown: Option<String>,
}

/// A request that the versions answer differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedRequest {
    /// The request, and by which policies each version answers it at this tier.
    #[serde(flatten)]
    pub change: Change,
    /// What each version decides on it; `None` where no request of Ringfence's looks like it.
    pub decided: Option<Decided>,
}

/// What two versions decide on one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The old version.
    pub base: Tier,
    /// The new version.
    pub head: Tier,
}

impl PolicyDiff {
    pub(super) fn begin(solver: &Solver) -> Self {
        Self {
            schema_changed: false,
            incomparable: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            environments: Vec::new(),
            effort: Effort::begin(solver),
        }
    }

    /// Takes over what became of a schema.
    pub(super) fn schema(&mut self, before: &BTreeSet<Environment>, after: &BTreeSet<Environment>, changed: bool) {
        self.schema_changed |= changed;
        self.removed.extend(before.difference(after).cloned());
        self.added.extend(after.difference(before).cloned());
    }

    /// Whether both versions are proven to allow the same requests.
    pub fn equivalent(&self) -> bool {
        let same = |diff: &EnvironmentDiff| diff.direction == Direction::Equivalent;
        !self.schema_changed && self.incomparable.is_empty() && self.environments.iter().all(same)
    }
}

impl Direction {
    pub(super) fn of(tiers: &[TierDiff], schema_changed: bool) -> Self {
        let widened = tiers.iter().any(|tier| tier.widened.is_some());
        let narrowed = tiers.iter().any(|tier| tier.narrowed.is_some());
        match (widened, narrowed) {
            (true, true) => Self::Both,
            (true, false) => Self::Widened,
            (false, true) => Self::Narrowed,
            (false, false) if tiers.is_empty() && !schema_changed => Self::Equivalent,
            (false, false) => Self::Unknown,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Widened => "WIDENED",
            Self::Both => "BOTH WAYS",
            Self::Unknown => "UNKNOWN",
            Self::Narrowed => "narrowed",
            Self::Equivalent => "equivalent",
        })
    }
}

impl fmt::Display for PolicyDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut environments: Vec<&EnvironmentDiff> = self.environments.iter().collect();
        environments.sort_by_key(|diff| diff.direction);
        for diff in &environments {
            let line = format!("{:<10}  {:<40}  {}", diff.direction, diff.name(), diff.tiers());
            writeln!(f, "{}", line.trim_end())?;
        }
        environments.iter().try_for_each(|diff| write!(f, "{diff}"))?;
        self.schema_note(f)?;
        let verdict = if self.equivalent() { "proven equivalent" } else { "compared" };
        write!(f, "{} environments {verdict} in {}", self.environments.len(), self.effort)
    }
}

impl PolicyDiff {
    fn schema_note(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.schema_changed {
            return Ok(());
        }
        writeln!(f, "\nThe schema changed: requests changed with it, and nothing is called equivalent.")?;
        let named =
            |environments: &[Environment]| environments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        for (what, environments) in [("new", &self.added), ("gone", &self.removed)] {
            if !environments.is_empty() {
                writeln!(f, "  {what}: {}", named(environments))?;
            }
        }
        let told = |reason| writeln!(f, "  the old policies do not fit the new schema: {reason}");
        self.incomparable.iter().try_for_each(told)
    }
}

impl EnvironmentDiff {
    /// The environment, and the site where it is not for all.
    pub(crate) fn name(&self) -> String {
        match &self.site {
            Some(site) => format!("{} at {site}", self.environment),
            None => self.environment.to_string(),
        }
    }

    /// The tiers at which it differs.
    pub(crate) fn tiers(&self) -> String {
        let tiers: Vec<&str> = self.tiers.iter().filter_map(|diff| diff.tier.map(Tier::as_str)).collect();
        tiers.join(", ")
    }
}

/// Every tier at which an environment differs, with its examples.
impl fmt::Display for EnvironmentDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for TierDiff { tier, widened, narrowed, unknown } in &self.tiers {
            let environment = self.name();
            let at = tier.map(|tier| format!(" at {tier}")).unwrap_or_default();
            for (what, request) in [("newly allowed", widened), ("no longer allowed", narrowed)] {
                if let Some(request) = request {
                    writeln!(f, "\n{environment}: {what}{at}{}", request.effect())?;
                    request.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))?;
                }
            }
            if let Some(reason) = unknown {
                writeln!(f, "\n{environment}: not known whether there are more{at}: {reason}")?;
            }
        }
        Ok(())
    }
}

impl ChangedRequest {
    fn effect(&self) -> String {
        match self.decided {
            Some(Decided { base, head }) if base == head => format!("; the decision stays {head}"),
            Some(Decided { base, head }) => format!("; the decision goes from {base} to {head}"),
            None => String::new(),
        }
    }
}

impl fmt::Display for ChangedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { example, base, head } = &self.change;
        writeln!(f, "{example}")?;
        base.to_string().lines().try_for_each(|line| writeln!(f, "before   {line}"))?;
        head.to_string().lines().try_for_each(|line| writeln!(f, "after    {line}"))
    }
}
