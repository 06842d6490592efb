//! Counterexamples made believable: replayed through the authorizer, read as a request of Ringfence's, and brought as
//! close to an ordinary one as the point that they make allows.
//!
//! A solver may name a request that the authorizer answers differently; such a one is dropped, never shown.

use cedar_policy::{Entities, Request};
use cedar_policy_symcc::Env;
use serde_json::{Value, json};
use shared::asset::{Asset, Criticality};
use shared::decision::{ContainmentAction, DecisionContext, DecisionRequest, Requester};
use shared::detection::Tier;
use shared::{AssetId, ReleaseId};

use super::Example;
use crate::vocabulary::Vocabulary;

/// Whether a request makes the point that it is an example of.
pub(super) type Point<'a> = &'a dyn Fn(&Request, &Entities) -> bool;

/// An example as the authorizer sees it, and in plain terms.
pub(super) struct Replayed {
    pub(super) request: Request,
    pub(super) entities: Entities,
    pub(super) example: Example,
}

/// The solver's example, as long as it makes its point when replayed.
pub(super) fn replay(found: Env, vocabulary: Option<&Vocabulary>, point: Point<'_>) -> Option<Replayed> {
    let Env { request, entities } = found;
    if !point(&request, &entities) {
        return None;
    }
    let example = Example::of(&request, &entities);
    let ordinary = vocabulary.and_then(|vocabulary| ordinary(&example, vocabulary, point));
    Some(ordinary.unwrap_or(Replayed { request, entities, example }))
}

/// The most ordinary request that still makes the point.
fn ordinary(found: &Example, vocabulary: &Vocabulary, point: Point<'_>) -> Option<Replayed> {
    let tier = serde_json::from_value(found.context.get("tier")?.clone()).ok()?;
    let attempt = |json: &Value| replayed(json, tier, vocabulary, point);
    let (json, model) = (as_request(found)?, ordinary_request(found)?);
    let mut best = [named_like(&json, &model), json].into_iter().find(|json| attempt(json).is_some())?;
    for section in ["requester", "asset", "context"] {
        for (name, value) in model.get(section)?.as_object()? {
            try_out(&mut best, |json| set(json, section, name, value.clone()), attempt);
            approach(&mut best, section, name, value, attempt);
        }
    }
    let tags: Vec<String> = best.pointer("/asset/tags")?.as_object()?.keys().cloned().collect();
    for tag in tags {
        try_out(&mut best, |json| untag(json, &tag), attempt);
    }
    attempt(&best)
}

/// Keeps a change that leaves the point standing.
fn try_out(best: &mut Value, change: impl FnOnce(&mut Value), attempt: impl Fn(&Value) -> Option<Replayed>) {
    let mut changed = best.clone();
    change(&mut changed);
    if changed != *best && attempt(&changed).is_some() {
        *best = changed;
    }
}

/// Brings a number as close to `target` as leaves the point standing, taking it that one bound lies between.
fn approach(best: &mut Value, section: &str, name: &str, target: &Value, attempt: impl Fn(&Value) -> Option<Replayed>) {
    let number = |json: &Value| json.get(section).and_then(|section| section.get(name)).and_then(Value::as_i64);
    let (Some(mut near), Some(mut far)) = (target.as_i64(), number(best)) else { return };
    while near.abs_diff(far) > 1 {
        let middle = near.midpoint(far);
        try_out(best, |json| set(json, section, name, json!(middle)), &attempt);
        if number(best) == Some(middle) { far = middle } else { near = middle }
    }
}

fn replayed(json: &Value, tier: Tier, vocabulary: &Vocabulary, point: Point<'_>) -> Option<Replayed> {
    let asked: DecisionRequest = serde_json::from_value(json.clone()).ok()?;
    let (request, entities) = vocabulary.translate(&asked, tier).ok()?;
    point(&request, &entities).then(|| {
        let example = Example { request: Some(asked), ..Example::of(&request, &entities) };
        Replayed { request, entities, example }
    })
}

fn set(json: &mut Value, section: &str, name: &str, value: Value) {
    if let Some(place) = json.get_mut(section).and_then(|section| section.get_mut(name)) {
        *place = value;
    }
}

fn untag(json: &mut Value, tag: &str) {
    if let Some(tags) = json.pointer_mut("/asset/tags").and_then(Value::as_object_mut) {
        tags.remove(tag);
    }
}

/// `json` with the names of `model`: a solver's names are seldom ones.
fn named_like(json: &Value, model: &Value) -> Value {
    let mut named = json.clone();
    for (section, name) in [("requester", "release_id"), ("requester", "name"), ("asset", "asset_id")] {
        if let Some(value) = model.get(section).and_then(|section| section.get(name)) {
            set(&mut named, section, name, value.clone());
        }
    }
    named
}

/// The example as JSON of a [`DecisionRequest`], if it has the shape of one.
fn as_request(found: &Example) -> Option<Value> {
    let Example { principal, action, resource, context, .. } = found;
    let mut requester = json!(principal.attributes);
    let (kind, name) = match principal.kind.as_str() {
        "Release" => ("release", "release_id"),
        "Responder" => ("responder", "name"),
        _ => return None,
    };
    let fields = requester.as_object_mut()?;
    fields.insert("kind".to_owned(), json!(kind));
    fields.insert(name.to_owned(), json!(principal.id));
    let mut asset = json!(resource.attributes);
    let fields = asset.as_object_mut()?;
    fields.insert("asset_id".to_owned(), json!(resource.id));
    fields.insert("tags".to_owned(), json!(resource.tags));
    let mut context = json!(context);
    context.as_object_mut()?.remove("tier");
    Some(json!({ "requester": requester, "action": action, "asset": asset, "context": context }))
}

/// What an ordinary request looks like, as JSON: a sure score, a standard asset, nothing out of the way.
fn ordinary_request(found: &Example) -> Option<Value> {
    let requester = match found.principal.kind.as_str() {
        "Release" => {
            let release_id = ReleaseId::new("release-1").ok()?;
            Requester::Release { release_id, signed: true, validated: true, age_days: 3 }
        }
        _ => Requester::Responder { name: "ada".to_owned(), on_call: true },
    };
    let request = DecisionRequest {
        requester,
        action: ContainmentAction::Throttle,
        asset: Asset {
            asset_id: AssetId::new("asset-1").ok()?,
            criticality: Criticality::Standard,
            environment: "production".to_owned(),
            owner: "team-1".to_owned(),
            tags: [].into(),
        },
        context: DecisionContext {
            score_bp: 9_900,
            false_positive_rate_bp: 1,
            false_positive_rate_high_bp: 5,
            blast_radius: 1,
            service_blast_radius: 1,
            site_blast_radius: 1,
            healthy_peers: 5,
            playbook_step: 3,
            monitored_s: 600,
            reversible: true,
            ..DecisionContext::default()
        },
    };
    serde_json::to_value(request).ok()
}
