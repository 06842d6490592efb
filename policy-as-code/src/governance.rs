//! How a federation is governed: which tasks a site takes part in, who may call what of a coordinator's admin API, and
//! which releases may become the latest, by the policies in `governance/` of the repository.
//!
//! A policy can refuse what a site's own limits allow; those are checked elsewhere, and no policy lifts them. What no
//! policy permits is refused, and so is whatever cannot be evaluated.

use std::fmt;

use policy_as_code_cedar::{GovernanceAnswer, GovernancePolicies};
use shared::Digest;

use crate::PolicyError;
use crate::repository::Repository;

/// Where the schema of governance stands.
pub(crate) const SCHEMA: &str = "schema/governance.cedarschema";
/// The policies that ship.
const SHIPPED: [(&str, &str); 4] = [
    ("governance/10-tasks.cedar", include_str!("../governance/10-tasks.cedar")),
    ("governance/20-roles.cedar", include_str!("../governance/20-roles.cedar")),
    ("governance/30-releases.cedar", include_str!("../governance/30-releases.cedar")),
    (SCHEMA, include_str!("../schema/governance.cedarschema")),
];

/// What the policies are asked.
pub use policy_as_code_cedar::{AdmissionRequest, Caller, GovernanceRequest as Request};

/// The answer, and the policies that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it may be.
    pub allowed: bool,
    /// The policies that determined the answer; none where no policy permits it.
    pub policies: Vec<Named>,
    /// What could not be evaluated. Then nothing is allowed.
    pub errors: Vec<String>,
}

/// A policy, as it is named to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its `@id`.
    pub id: String,
    /// Its `@reason`, where it gives one.
    pub reason: Option<String>,
}

impl Answer {
    /// Who refused, in words.
    pub fn refusers(&self) -> String {
        if !self.errors.is_empty() {
            return format!("it cannot be evaluated: {}", self.errors.join("; "));
        }
        match self.policies.iter().map(Named::to_string).collect::<Vec<_>>() {
            named if named.is_empty() => "no policy permits it".to_owned(),
            named => named.join("; "),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "`{}`, since {reason}", self.id),
            None => write!(f, "`{}`", self.id),
        }
    }
}

/// Policies of governance in force.
pub struct Governance {
    policies: GovernancePolicies,
    bundle: Digest,
}

impl Governance {
    /// The policies that ship.
    pub fn shipped() -> Result<Self, PolicyError> {
        Self::new(&Repository::from_files(SHIPPED.map(|(path, text)| (path.to_owned(), text.to_owned()))))
    }

    /// Puts the policies of `repository` in force.
    pub fn new(repository: &Repository) -> Result<Self, PolicyError> {
        let policies = GovernancePolicies::parse(&repository.file(SCHEMA)?, &repository.folder("governance"))?;
        Ok(Self { policies, bundle: repository.digest()? })
    }

    /// Whether something may be, and by which policies.
    pub fn decide(&self, request: &Request<'_>) -> Answer {
        let GovernanceAnswer { allowed, policies, errors } = self.policies.answer(request);
        let named = |id: String| Named { reason: self.policies.annotation(&id, "reason").map(str::to_owned), id };
        Answer { allowed, policies: policies.into_iter().map(named).collect(), errors }
    }

    /// The policies.
    pub fn policies(&self) -> &GovernancePolicies {
        &self.policies
    }

    /// Digest of the repository in force.
    pub fn bundle(&self) -> Digest {
        self.bundle
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use shared::Explain;

    use super::*;
    use crate::testing::{changed, shipped};

    #[test]
    fn the_shipped_tests_pass_and_every_policy_decides_one_of_them() {
        let governance = Governance::new(&shipped()).unwrap();
        let mut decided = BTreeSet::new();
        for file in shipped().governance_tests() {
            for outcome in governance.policies().run_tests(&file).unwrap() {
                assert_eq!(outcome.failure, None, "{}: {}", file.path, outcome.name);
                decided.extend(outcome.policies);
            }
        }
        let all: BTreeSet<String> = governance.policies().places().keys().cloned().collect();
        assert_eq!(all.difference(&decided).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn what_is_compiled_in_is_what_ships() {
        let (compiled, shipped) = (Governance::shipped().unwrap(), Governance::new(&shipped()).unwrap());
        assert_eq!(compiled.policies().places(), shipped.policies().places());
    }

    #[test]
    fn policies_are_loaded_whole_or_not_at_all() {
        let schema = shipped().file(SCHEMA).unwrap().text;
        let cases = [
            ((SCHEMA, String::new()), "policy-missing"),
            ((SCHEMA, schema.replace("\"rounds\": Long,", "")), "policy-schema-unfit"),
            ((SCHEMA, schema.replace("\"rule\": String,", "\"rule\": Long,")), "policy-schema-unfit"),
            (("governance/x.cedar", "permit(principal, action, resource);".to_owned()), "policy-no-id"),
            (
                (
                    "governance/x.cedar",
                    "@id(\"x\") permit(principal, action, resource) when { resource.colour == 1 };".to_owned(),
                ),
                "policy-invalid",
            ),
        ];
        for ((path, text), code) in cases {
            assert_eq!(Governance::new(&changed(&[(path, &text)])).err().unwrap().code(), code, "{path}: {text}");
        }
    }
}
