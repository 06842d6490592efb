//! A task in the words of the schema.

use serde::Serialize;
use shared::task::Task;

use super::{AdmissionRequest, Attributes, Value, count, scaled_up};

/// The task in the words of the schema.
pub(super) fn attributes(request: &AdmissionRequest<'_>) -> Attributes {
    let Task { recipe, privacy, aggregation, participation, feature_view, model, .. } = request.task;
    let noise_milli = recipe.noise_multiplier.map_or(0, |noise| (-scaled_up(-noise, 1e3)).max(0));
    vec![
        ("epsilon_milli", Value::Long(scaled_up(request.epsilon, 1e3))),
        ("ceiling_epsilon_milli", Value::Long(scaled_up(privacy.ceiling.epsilon, 1e3))),
        ("ceiling_delta_e12", Value::Long(scaled_up(privacy.ceiling.delta, 1e12))),
        ("evaluation_rho_e9", Value::Long(scaled_up(privacy.evaluation_rho, 1e9))),
        ("unit", Value::Text(kind(&privacy.unit))),
        ("noise_milli", Value::Long(noise_milli)),
        ("rounds", Value::Long(request.task.rounds.into())),
        ("local_steps", Value::Long(recipe.local_steps.into())),
        ("cohort", Value::Long(count(request.task.cohort.len()))),
        ("quorum", Value::Long(request.task.quorum.into())),
        ("late_rounds", Value::Long(participation.late.max_staleness().into())),
        ("parameters", Value::Long(count(model.param_count()))),
        ("feature_view", Value::Text(feature_view.name.clone())),
        ("feature_view_version", Value::Long(feature_view.version.into())),
        ("local_training", Value::Text(kind(&recipe.local))),
        ("mechanism", Value::Text(kind(&recipe.mechanism))),
        ("rule", Value::Text(kind(&aggregation.rule))),
        ("pre_steps", Value::Texts(aggregation.pre.iter().map(kind).collect())),
        ("server_step", Value::Text(kind(&aggregation.server))),
        ("sources", Value::Texts(request.sources.iter().cloned().collect())),
        ("encodings", Value::Texts(request.task.encodings.iter().map(kind).collect())),
    ]
}

/// The name of an enum's variant as it stands in the task's JSON.
fn kind<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => {
            let tag = fields.get("kind").and_then(serde_json::Value::as_str);
            tag.or(fields.keys().next().map(String::as_str)).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}

/// Every attribute with a value of its type.
pub(super) fn specimen() -> Attributes {
    const LONGS: [&str; 12] = [
        "epsilon_milli",
        "ceiling_epsilon_milli",
        "ceiling_delta_e12",
        "evaluation_rho_e9",
        "noise_milli",
        "rounds",
        "local_steps",
        "cohort",
        "quorum",
        "late_rounds",
        "parameters",
        "feature_view_version",
    ];
    const TEXTS: [&str; 6] = ["unit", "feature_view", "local_training", "mechanism", "rule", "server_step"];
    let longs = LONGS.map(|name| (name, Value::Long(0)));
    let texts = TEXTS.map(|name| (name, Value::Text(String::new())));
    let sets = ["pre_steps", "encodings", "sources"].map(|name| (name, Value::Texts(vec!["specimen".to_owned()])));
    longs.into_iter().chain(texts).chain(sets).collect()
}
