//! Policy tests in the format of upstream's `cedar run-tests`, so that the public Cedar command line runs the same files.

use std::collections::BTreeSet;

use cedar_policy::{Context, Decision, Entities, EntityUid, Request, Response, Schema};
use serde::Deserialize;

use crate::policies::Policies;
use crate::vocabulary::text;
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

/// A test that was read: it can be put to any policies under the same schema.
pub(crate) struct Test {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) request: Request,
    pub(crate) entities: Entities,
    decision: Expected,
    reason: Vec<String>,
    num_errors: usize,
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
        let respond = |test: &Test| self.authorizer.is_authorized(&test.request, &self.policies, &test.entities);
        let tests = Test::read_all(file, &self.schema)?;
        Ok(tests.iter().map(|test| test.outcome(&respond(test))).collect())
    }
}

impl Test {
    /// The tests of one file.
    pub(crate) fn read_all(file: &Source, schema: &Schema) -> Result<Vec<Self>, CedarError> {
        let bad = |reason: String| CedarError::TestFile { path: file.path.clone(), reason };
        let cases: Vec<TestCase> = serde_json::from_str(&file.text).map_err(|error| bad(error.to_string()))?;
        let read = |case: TestCase| {
            let name = case.name.clone();
            Self::read(&file.path, case, schema).map_err(|why| bad(format!("test `{name}`: {why}")))
        };
        cases.into_iter().map(read).collect()
    }

    fn read(file: &str, case: TestCase, schema: &Schema) -> Result<Self, String> {
        let TestCase { name, request, entities, decision, reason, num_errors } = case;
        let request = request.read(schema)?;
        let entities = Entities::from_json_value(entities, Some(schema)).map_err(text)?;
        Ok(Self { file: file.to_owned(), name, request, entities, decision, reason, num_errors })
    }

    /// What `response` makes of the test.
    pub(crate) fn outcome(&self, response: &Response) -> TestOutcome {
        let policies = response.diagnostics().reason().map(ToString::to_string).collect();
        TestOutcome { name: self.name.clone(), failure: self.difference(response), policies }
    }

    /// What upstream compares: the decision, that the named policies are among those that determined it, and the number
    /// of evaluation errors.
    pub(crate) fn difference(&self, response: &Response) -> Option<String> {
        let decision = if response.decision() == Decision::Allow { Expected::Allow } else { Expected::Deny };
        let determining: BTreeSet<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        if decision != self.decision {
            return Some(format!("expected {:?}, got {decision:?} by {determining:?}", self.decision).to_lowercase());
        }
        if let Some(missing) = self.reason.iter().find(|id| !determining.contains(*id)) {
            return Some(format!("`{missing}` did not determine the answer; these did: {determining:?}"));
        }
        (errors.len() != self.num_errors).then(|| format!("expected {} errors, got {errors:?}", self.num_errors))
    }
}

impl TestRequest {
    fn read(self, schema: &Schema) -> Result<Request, String> {
        let action: EntityUid = self.action.parse().map_err(text)?;
        let context = Context::from_json_value(self.context, Some((schema, &action))).map_err(text)?;
        let principal = self.principal.parse().map_err(text)?;
        let resource = self.resource.parse().map_err(text)?;
        Request::new(principal, action, resource, context, Some(schema)).map_err(text)
    }
}
