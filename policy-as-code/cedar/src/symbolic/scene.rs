//! Request environments: every kind of request that a schema knows, each with its symbols.

use std::fmt;

use cedar_policy::{Policy, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{CompiledPolicy, CompiledPolicySet, CompiledSchema, SymEnv};
use serde::{Deserialize, Serialize};

use crate::CedarError;

/// A kind of request: who may ask for what on what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The type of the principal.
    pub principal: String,
    /// The action.
    pub action: String,
    /// The type of the resource.
    pub resource: String,
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.principal, self.action, self.resource)
    }
}

/// A request environment, and the symbols that stand for any request in it.
pub(super) struct Scene<'a> {
    schema: &'a Schema,
    pub(super) env: RequestEnv,
    pub(super) symbols: SymEnv,
}

impl<'a> Scene<'a> {
    /// Every environment of `schema`, in a fixed order.
    pub(super) fn all(schema: &'a Schema) -> Result<Vec<Self>, CedarError> {
        let compiled = CompiledSchema::new(schema).map_err(CedarError::symbolic)?;
        let scene = |env: RequestEnv| {
            let symbols = compiled.sym_env(&env).map_err(CedarError::symbolic)?;
            Ok(Self { schema, env, symbols })
        };
        sorted(schema).into_iter().map(scene).collect()
    }

    pub(super) fn environment(&self) -> Environment {
        environment(&self.env)
    }

    pub(super) fn set(&self, policies: &PolicySet) -> Result<CompiledPolicySet, CedarError> {
        let symbols = self.symbols.clone();
        CompiledPolicySet::compile_with_custom_symenv(policies, &self.env, self.schema, symbols)
            .map_err(CedarError::symbolic)
    }

    pub(super) fn policy(&self, policy: &Policy) -> Result<CompiledPolicy, CedarError> {
        let symbols = self.symbols.clone();
        CompiledPolicy::compile_with_custom_symenv(policy, &self.env, self.schema, symbols)
            .map_err(CedarError::symbolic)
    }
}

/// Every environment of `schema`, in a fixed order.
pub(super) fn environments(schema: &Schema) -> Vec<Environment> {
    sorted(schema).iter().map(environment).collect()
}

fn sorted(schema: &Schema) -> Vec<RequestEnv> {
    let mut envs: Vec<RequestEnv> = schema.request_envs().collect();
    envs.sort();
    envs
}

fn environment(env: &RequestEnv) -> Environment {
    Environment {
        principal: env.principal().basename().to_owned(),
        action: env.action().id().unescaped().to_owned(),
        resource: env.resource().basename().to_owned(),
    }
}
