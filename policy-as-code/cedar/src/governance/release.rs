//! A release in the words of the schema.

use shared::Timestamp;
use shared::release::Release;
use shared::round::Tally;

use super::{Attributes, Value, count, scaled_up};

/// Counts are in units of this part of one.
const BASIS_POINTS: f64 = 1e4;

/// The release, seen at `now`.
pub(super) fn attributes(release: &Release, now: Timestamp) -> Attributes {
    let Tally { sites, true_positives, false_negatives, false_positives, true_negatives } = release.tally;
    let (epsilon, delta) = release.privacy.map_or((f64::INFINITY, 1.0), |privacy| (privacy.epsilon, privacy.delta));
    let age_days = now.since(release.released_at).as_secs() / 86_400;
    vec![
        ("age_days", Value::Long(i64::try_from(age_days).unwrap_or(i64::MAX))),
        ("delta_e12", Value::Long(scaled_up(delta, 1e12))),
        ("epsilon_milli", Value::Long(scaled_up(epsilon, 1e3))),
        ("false_positive_rate_bp", Value::Long(share(false_positives, true_negatives))),
        ("feature_view", Value::Text(release.feature_view.name.clone())),
        ("miss_rate_bp", Value::Long(share(false_negatives, true_positives))),
        ("parameters", Value::Long(count(release.model.param_count()))),
        ("recomputed", Value::Flag(release.replaces.is_some())),
        ("sites", Value::Long(sites.into())),
        ("task", Value::Text(release.round_id.task_id.to_string())),
    ]
}

/// The part that `some` is of both, in basis points, rounded up; the whole where there is neither.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn share(some: i64, others: i64) -> i64 {
    let (some, all) = (some.max(0) as f64, some.max(0).saturating_add(others.max(0)) as f64);
    scaled_up(some / all, BASIS_POINTS).min(10_000)
}

/// Every attribute with a value of its type.
pub(super) fn specimen() -> Attributes {
    const LONGS: [&str; 7] =
        ["age_days", "delta_e12", "epsilon_milli", "false_positive_rate_bp", "miss_rate_bp", "parameters", "sites"];
    let longs = LONGS.map(|name| (name, Value::Long(0)));
    let texts = ["feature_view", "task"].map(|name| (name, Value::Text(String::new())));
    longs.into_iter().chain(texts).chain([("recomputed", Value::Flag(false))]).collect()
}
