//! Policies reduced to what an invariant looks at, so that a large set asks the solver no more than a small one.
//!
//! A reduced set errs on one side only: for an invariant about what is never allowed it allows at least what the set allows,
//! for one about what is always allowed at most. What is proven of it is therefore proven of the set; what is not says
//! nothing. Leaving a condition out widens a policy, leaving a policy out narrows what its effect reaches.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet};
use serde_json::{Value, json};

use super::mentions::{mentions, mentions_of};
use crate::CedarError;

/// On which side a reduced set may err.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// It may allow more.
    More,
    /// It may allow less.
    Less,
}

/// `policies`, reduced to what looks at nothing but `stakes`.
pub(super) fn reduced(policies: &PolicySet, stakes: &BTreeSet<String>, side: Side) -> Result<PolicySet, CedarError> {
    let widened = if side == Side::More { Effect::Permit } else { Effect::Forbid };
    let mut kept = BTreeSet::new();
    for policy in policies.policies() {
        let mut json = policy.to_json().map_err(CedarError::symbolic)?;
        if policy.effect() == widened {
            widen(&mut json, stakes);
        } else if !mentions(policy).is_subset(stakes) {
            continue;
        }
        if let Some(fields) = json.as_object_mut() {
            fields.remove("annotations");
        }
        // Many policies differ only in what was left out.
        kept.insert(json.to_string());
    }
    let parsed = kept.iter().enumerate().map(|(number, text)| {
        let json = serde_json::from_str(text).map_err(CedarError::symbolic)?;
        Policy::from_json(Some(PolicyId::new(number.to_string())), json).map_err(CedarError::symbolic)
    });
    PolicySet::from_policies(parsed.collect::<Result<Vec<_>, CedarError>>()?).map_err(CedarError::symbolic)
}

/// Leaves out of a policy what it demands of anything but `stakes`.
fn widen(policy: &mut Value, stakes: &BTreeSet<String>) {
    let Some(Value::Array(conditions)) = policy.get_mut("conditions") else { return };
    let looks_elsewhere = |demand: &Value| !mentions_of(demand).is_subset(stakes);
    for condition in conditions.iter_mut() {
        let must_hold = condition.get("kind") == Some(&json!("when"));
        let Some(body) = condition.get_mut("body") else { continue };
        let demands = std::mem::take(body);
        *body = if must_hold {
            let kept = conjuncts(demands).into_iter().filter(|demand| !looks_elsewhere(demand));
            kept.reduce(|left, right| json!({"&&": {"left": left, "right": right}})).unwrap_or(json!({"Value": true}))
        } else if looks_elsewhere(&demands) {
            json!({"Value": false})
        } else {
            demands
        };
    }
}

/// What has to hold all at once for `condition` to hold.
fn conjuncts(condition: Value) -> Vec<Value> {
    match condition {
        Value::Object(mut fields) if fields.len() == 1 => match fields.remove("&&") {
            Some(Value::Object(mut sides)) => {
                let sides = ["left", "right"].map(|side| sides.remove(side).unwrap_or_default());
                sides.into_iter().flat_map(conjuncts).collect()
            }
            Some(other) => vec![json!({"&&": other})],
            None => vec![Value::Object(fields)],
        },
        other => vec![other],
    }
}

/// Whether a validated policy has nothing in it that can fail: no arithmetic, which may overflow, and no function of an
/// extension. That is what validation leaves to go wrong (Cedar's theorem of soundness: Cutler et al., OOPSLA 2024, §4).
pub(super) fn is_infallible(policy: &Policy) -> bool {
    policy.to_json().is_ok_and(|json| json.get("conditions").is_some_and(is_plain))
}

fn is_plain(expression: &Value) -> bool {
    const PLAIN: [&str; 36] = [
        "!",
        "!=",
        "&&",
        ".",
        "<",
        "<=",
        "==",
        ">",
        ">=",
        "Set",
        "Slot",
        "Value",
        "Var",
        "arg",
        "attr",
        "body",
        "contains",
        "containsAll",
        "containsAny",
        "else",
        "entity_type",
        "getTag",
        "has",
        "hasTag",
        "if",
        "if-then-else",
        "in",
        "is",
        "isEmpty",
        "kind",
        "left",
        "like",
        "pattern",
        "right",
        "then",
        "||",
    ];
    match expression {
        Value::Object(fields) => fields.iter().all(|(name, value)| {
            PLAIN.contains(&name.as_str()) && (matches!(name.as_str(), "Value" | "pattern") || is_plain(value))
        }),
        Value::Array(items) => items.iter().all(is_plain),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
