//! Policy tests in the format of upstream's `cedar run-tests`, so that the public Cedar command line runs the same files.

use std::collections::BTreeSet;

use cedar_policy::{Context, Decision, Entities, EntityUid, Request, Response};
use serde::Deserialize;

use crate::policies::Policies;
use crate::{CedarError, Source};

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// The test's name.
    pub name: String,
    /// Why it failed; `None` when it passed.
    pub failure: Option<String>,
    /// Ids of the policies that determined the answer.
    pub policies: Vec<String>,
}

#[derive(Deserialize)]
struct TestCase {
    #[serde(default)]
    name: String,
    request: TestRequest,
    entities: serde_json::Value,
    decision: Expected,
    reason: Vec<String>,
    num_errors: usize,
}

#[derive(Deserialize)]
struct TestRequest {
    principal: String,
    action: String,
    resource: String,
    context: serde_json::Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
}

impl Policies {
    /// Runs the tests of one file.
    pub(crate) fn run_tests(&self, file: &Source) -> Result<Vec<TestOutcome>, CedarError> {
        let bad = |reason: String| CedarError::TestFile { path: file.path.clone(), reason };
        let cases: Vec<TestCase> = serde_json::from_str(&file.text).map_err(|error| bad(error.to_string()))?;
        let outcome = |case: &TestCase| self.run_test(case).map_err(|why| bad(format!("test `{}`: {why}", case.name)));
        cases.iter().map(outcome).collect()
    }

    fn run_test(&self, case: &TestCase) -> Result<TestOutcome, String> {
        let entities = Entities::from_json_value(case.entities.clone(), Some(&self.schema)).map_err(text)?;
        let response = self.authorizer.is_authorized(&self.test_request(&case.request)?, &self.policies, &entities);
        let policies = response.diagnostics().reason().map(ToString::to_string).collect();
        Ok(TestOutcome { name: case.name.clone(), failure: difference(case, &response), policies })
    }

    fn test_request(&self, request: &TestRequest) -> Result<Request, String> {
        let action: EntityUid = request.action.parse().map_err(text)?;
        let schema = Some((&self.schema, &action));
        let context = Context::from_json_value(request.context.clone(), schema).map_err(text)?;
        let principal = request.principal.parse().map_err(text)?;
        let resource = request.resource.parse().map_err(text)?;
        Request::new(principal, action, resource, context, Some(&self.schema)).map_err(text)
    }
}

/// What upstream compares: the decision, that the named policies are among those that determined it, and the number of
/// evaluation errors.
fn difference(case: &TestCase, response: &Response) -> Option<String> {
    let decision = if response.decision() == Decision::Allow { Expected::Allow } else { Expected::Deny };
    let determining: BTreeSet<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    if decision != case.decision {
        return Some(format!("expected {:?}, got {decision:?} by {determining:?}", case.decision).to_lowercase());
    }
    if let Some(missing) = case.reason.iter().find(|id| !determining.contains(*id)) {
        return Some(format!("`{missing}` did not determine the answer; these did: {determining:?}"));
    }
    (errors.len() != case.num_errors).then(|| format!("expected {} errors, got {errors:?}", case.num_errors))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
