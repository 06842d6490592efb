//! What a policy looks at, so that the guard that should have stopped a request can be named.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Policy, Request, Schema};
use serde_json::Value;

/// The attributes and tags that a policy's conditions look at. The tier is left out: every policy looks at it.
pub(super) fn mentions(policy: &Policy) -> BTreeSet<String> {
    policy.to_json().map_or_else(|_| BTreeSet::new(), |json| mentions_of(&json))
}

/// The same of a part of a policy, as JSON.
pub(super) fn mentions_of(json: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(json, &mut found);
    found.remove("tier");
    found
}

fn collect(json: &Value, found: &mut BTreeSet<String>) {
    match json {
        Value::Object(fields) => {
            found.extend(fields.get("attr").and_then(Value::as_str).map(str::to_owned));
            for access in ["hasTag", "getTag"] {
                let tag = fields.get(access).and_then(|access| access.pointer("/right/Value"));
                found.extend(tag.and_then(Value::as_str).map(str::to_owned));
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Whether `policy` is a `forbid` about requests of this kind.
pub(super) fn in_scope(policy: &Policy, request: &Request, schema: &Schema) -> bool {
    policy.effect() == Effect::Forbid
        && policy.get_valid_request_envs(schema).any(|env| {
            request.principal().is_some_and(|uid| uid.type_name() == env.principal())
                && request.action() == Some(env.action())
                && request.resource().is_some_and(|uid| uid.type_name() == env.resource())
        })
}
