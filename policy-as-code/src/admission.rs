//! Which tasks of a federation a site takes part in, by the admission policies of its repository.
//!
//! A policy can refuse what the site's own limits allow; those are checked elsewhere, and no policy lifts them. What no
//! policy permits is refused, and so is whatever cannot be evaluated.

use policy_as_code_cedar::{AdmissionAnswer, AdmissionPolicies, AdmissionRequest};
use shared::Digest;

use crate::PolicyError;
use crate::repository::Repository;

const SCHEMA: &str = "schema/admission.cedarschema";
/// The admission policy that ships.
const SHIPPED: [(&str, &str); 2] = [
    ("admission/10-terms.cedar", include_str!("../admission/10-terms.cedar")),
    (SCHEMA, include_str!("../schema/admission.cedarschema")),
];

/// What a site asks of its admission policies.
pub use policy_as_code_cedar::AdmissionRequest as Request;

/// The answer, and the policies that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the site takes part.
    pub allowed: bool,
    /// The policies that determined the answer; none where no policy permits the task.
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

/// Admission policies in force.
pub struct Admission {
    policies: AdmissionPolicies,
    bundle: Digest,
}

impl Admission {
    /// The admission policies that ship.
    pub fn shipped() -> Result<Self, PolicyError> {
        Self::new(&Repository::from_files(SHIPPED.map(|(path, text)| (path.to_owned(), text.to_owned()))))
    }

    /// Puts the admission policies of `repository` in force.
    pub fn new(repository: &Repository) -> Result<Self, PolicyError> {
        let policies = AdmissionPolicies::parse(&repository.file(SCHEMA)?, &repository.folder("admission"))?;
        Ok(Self { policies, bundle: repository.digest()? })
    }

    /// Whether the site takes part in a task, and by which policies.
    pub fn decide(&self, request: &AdmissionRequest<'_>) -> Answer {
        let AdmissionAnswer { allowed, policies, errors } = self.policies.answer(request);
        let named = |id: String| Named { reason: self.policies.annotation(&id, "reason").map(str::to_owned), id };
        Answer { allowed, policies: policies.into_iter().map(named).collect(), errors }
    }

    /// The policies.
    pub fn policies(&self) -> &AdmissionPolicies {
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
    fn the_shipped_admission_tests_pass_and_every_policy_decides_one_of_them() {
        let admission = Admission::new(&shipped()).unwrap();
        let mut decided = BTreeSet::new();
        for file in shipped().admission_tests() {
            for outcome in admission.policies().run_tests(&file).unwrap() {
                assert_eq!(outcome.failure, None, "{}: {}", file.path, outcome.name);
                decided.extend(outcome.policies);
            }
        }
        let all: BTreeSet<String> = admission.policies().places().keys().cloned().collect();
        assert_eq!(all.difference(&decided).collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn what_is_compiled_in_is_what_ships() {
        let (compiled, shipped) = (Admission::shipped().unwrap(), Admission::new(&shipped()).unwrap());
        assert_eq!(compiled.policies().places(), shipped.policies().places());
    }

    #[test]
    fn admission_policies_are_loaded_whole_or_not_at_all() {
        let schema = shipped().file(SCHEMA).unwrap().text;
        let cases = [
            ((SCHEMA, String::new()), "policy-missing"),
            ((SCHEMA, schema.replace("\"rounds\": Long,", "")), "policy-schema-unfit"),
            ((SCHEMA, schema.replace("\"rule\": String,", "\"rule\": Long,")), "policy-schema-unfit"),
            (("admission/x.cedar", "permit(principal, action, resource);".to_owned()), "policy-no-id"),
            (
                (
                    "admission/x.cedar",
                    "@id(\"x\") permit(principal, action, resource) when { resource.colour };".to_owned(),
                ),
                "policy-invalid",
            ),
        ];
        for ((path, text), code) in cases {
            assert_eq!(Admission::new(&changed(&[(path, &text)])).err().unwrap().code(), code, "{path}: {text}");
        }
    }
}
