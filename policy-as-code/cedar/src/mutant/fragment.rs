//! Parts of a policy in Cedar's syntax, as Cedar itself writes them, to be read beside the policy's text.

use cedar_policy::Policy;
use serde_json::{Value, json};

/// A condition's expression.
pub(super) fn expression(expression: &Value) -> String {
    let written = policy(&with(json!({ "conditions": [{ "kind": "when", "body": expression }] })));
    between(&written, "permit(principal, action, resource) when { ", " };")
}

/// What a policy's head says of principal, action or resource.
pub(super) fn scope(part: &str, restricted: &Value) -> String {
    let written = policy(&with(json!({ part: restricted })));
    let (before, after) = match part {
        "principal" => ("permit(", ", action, resource);"),
        "action" => ("permit(principal, ", ", resource);"),
        _ => ("permit(principal, action, ", ");"),
    };
    between(&written, before, after)
}

/// A whole policy; its JSON where Cedar cannot write it.
pub(super) fn policy(policy: &Value) -> String {
    Policy::from_json(None, policy.clone()).map_or_else(|_| policy.to_string(), |policy| policy.to_string())
}

/// The policy that permits everything, but for `fields`.
fn with(fields: Value) -> Value {
    let all = json!({ "op": "All" });
    let mut policy = json!({
        "effect": "permit",
        "principal": all,
        "action": all,
        "resource": all,
        "conditions": [],
    });
    if let (Some(policy), Value::Object(fields)) = (policy.as_object_mut(), fields) {
        policy.extend(fields);
    }
    policy
}

fn between(text: &str, before: &str, after: &str) -> String {
    let inner = text.strip_prefix(before).and_then(|text| text.strip_suffix(after));
    inner.unwrap_or(text).to_owned()
}
