//! The counters of decisions in `/metrics`. Each is looked up once, at the first decision that it counts, which is after a
//! server has installed its recorder. It counts; it keeps no decision.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use metrics::Counter;
use shared::decision::{ContainmentAction, Decision};
use shared::detection::Tier;

/// One counter for every action and tier.
pub(super) struct Counters(BTreeMap<(ContainmentAction, Tier), OnceLock<Counter>>);

impl Default for Counters {
    fn default() -> Self {
        let pairs = ContainmentAction::ALL.into_iter().flat_map(|action| Tier::WIDEST_FIRST.map(|tier| (action, tier)));
        Self(pairs.map(|pair| (pair, OnceLock::new())).collect())
    }
}

impl Counters {
    /// Counts `decision` about `action`, and says so in the log where errors narrowed it.
    pub(super) fn count(&self, action: ContainmentAction, decision: &Decision) {
        let tier = decision.tier;
        if let Some(counter) = self.0.get(&(action, tier)) {
            counter.get_or_init(|| decisions(action, tier)).increment(1);
        }
        let errors = decision.answers.iter().map(|answer| answer.errors.len()).sum::<usize>();
        if errors > 0 {
            let action = action.as_str();
            tracing::warn!(action, tier = tier.as_str(), errors, "a decision was narrowed by errors");
            metrics::counter!("ringfence_decision_errors_total", "action" => action).increment(1);
        }
    }
}

fn decisions(action: ContainmentAction, tier: Tier) -> Counter {
    metrics::counter!("ringfence_decisions_total", "action" => action.as_str(), "tier" => tier.as_str())
}
