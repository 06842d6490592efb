//! Rego policies that may veto what Ringfence's Cedar policies allow.
//!
//! The only package that names `regorus`. A veto can only narrow a decision, so that what was proven of the Cedar policies
//! holds with it. Its answer follows from its files and the request alone: there is no clock, no randomness, no network
//! and no environment in it, and an error is a veto.

mod error;

use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use serde::Serialize;
use shared::decision::DecisionRequest;
use shared::detection::Tier;

pub use error::RegoError;

/// The package that vetoes.
const PACKAGE: &str = "data.ringfence";
/// Its rule: a set of messages, empty where nothing is vetoed.
const RULE: &str = "data.ringfence.deny";
/// The one function whose answer does not follow from its input.
const RANDOM: &str = "rand.intn";
/// How long one question may take.
const TIME_LIMIT: Duration = Duration::from_millis(100);
/// How many steps pass between two looks at the time.
const CHECK_INTERVAL: u32 = 256;

/// A Rego policy set.
pub struct Veto {
    engine: Engine,
}

/// What a policy sees as `input`: the request as it is logged, and the tier that is asked about.
#[derive(Serialize)]
struct Input<'a> {
    tier: Tier,
    #[serde(flatten)]
    request: &'a DecisionRequest,
}

impl Veto {
    /// Parses the modules, each a path and its text. One of them has to be `package ringfence` with a rule `deny`.
    pub fn parse<'a>(modules: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RegoError> {
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(time_limit());
        let mut denies = false;
        for (path, text) in modules {
            if text.contains(RANDOM) {
                return Err(RegoError::Random { path: path.to_owned() });
            }
            let package = engine.add_policy(path.to_owned(), text.to_owned());
            let package =
                package.map_err(|error| RegoError::Syntax { path: path.to_owned(), reason: first(&error) })?;
            denies |= package == PACKAGE && engine.has_declared_rule_rooted_at(path, "deny").unwrap_or(false);
        }
        if !denies {
            return Err(RegoError::NoRule);
        }
        // Finds what only shows when rules are put together: unknown functions, recursion, two complete rules.
        engine.clone().eval_rule(RULE.to_owned()).map_err(|error| RegoError::Unusable { reason: first(&error) })?;
        Ok(Self { engine })
    }

    /// Why `request` must not run at `tier`; empty where nothing is vetoed.
    pub fn vetoes(&self, request: &DecisionRequest, tier: Tier) -> Result<Vec<String>, RegoError> {
        let failed = |error: &dyn std::fmt::Display| RegoError::Evaluation { reason: error.to_string() };
        let input = serde_json::to_value(Input { tier, request }).map_err(|error| failed(&error))?;
        let mut engine = self.engine.clone();
        engine.set_input(Value::from(input));
        let said = engine.eval_rule(RULE.to_owned()).map_err(|error| failed(&first(&error)))?;
        messages(&said).ok_or_else(|| failed(&"`deny` is no set of messages"))
    }
}

fn time_limit() -> ExecutionTimerConfig {
    ExecutionTimerConfig {
        limit: TIME_LIMIT,
        check_interval: std::num::NonZeroU32::new(CHECK_INTERVAL).unwrap_or(std::num::NonZeroU32::MIN),
    }
}

/// The messages of a set or array; anything in it that is no text as its JSON.
fn messages(said: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    };
    match said {
        Value::Undefined => Some(Vec::new()),
        Value::Set(values) => Some(values.iter().map(text).collect()),
        Value::Array(values) => Some(values.iter().map(text).collect()),
        _ => None,
    }
}

/// The line of an error that says what is wrong, after the lines that point to it.
fn first(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let said = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: ").map(str::to_owned));
    said.unwrap_or(text)
}

#[cfg(test)]
mod tests;
