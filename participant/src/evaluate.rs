//! What a site says of a candidate: exact figures for its own eyes, noised counts for the coordinator.
//!
//! The counts are taken at a fixed threshold, so that one record changes one count by one, and an entity as many as it
//! has records that count; they carry discrete Gaussian noise for that, with a debit of their own.

use std::collections::HashMap;
use std::sync::Arc;

use shared::document::SignedDocument;
use shared::privacy::{Mechanism, PrivacyUnit};
use shared::store::{Batch, Key};
use shared::task::Task;
use shared::update::Evaluation;
use shared::{Digest, ParamVector, RoundId, canonical};
use shared_model::Model;
use shared_privacy::counts::noisy_counts;

use crate::error::SiteError;
use crate::ledger::Purpose;
use crate::quality::{Quality, Scored};
use crate::records::Records;
use crate::site::Site;

const EVALUATIONS: &str = "evaluation";
const DELIVERED: &str = "evaluation-delivered";

/// The evaluations of a site.
#[derive(Clone)]
pub struct Evaluations {
    site: Arc<Site>,
}

impl Evaluations {
    /// The evaluations kept in `site`'s store.
    pub fn new(site: Arc<Site>) -> Self {
        Self { site }
    }

    /// Evaluates a candidate; the exact quality is `None` where the hold-out lacks attacks or ordinary events.
    ///
    /// Noise is drawn once a round: asked again, the same signed counts are answered.
    pub fn prepare(
        &self,
        round_id: &RoundId,
        task: &Task,
        candidate: Digest,
        params: &ParamVector,
        records: &Records,
    ) -> Result<(SignedDocument, Option<Quality>), SiteError> {
        let scored = records.holdout.scored(&Model::new(&task.model, params)?)?;
        let quality = Quality::measure(&scored);
        if let Some(kept) = self.site.store.get(&key(EVALUATIONS, round_id))? {
            return Ok((canonical::decode(&kept)?, quality));
        }
        let cost = Mechanism::ZeroConcentrated { rho: task.privacy.evaluation_rho };
        self.site.charge(task, cost, Purpose::Evaluation(round_id))?;
        let counting = counting(&scored, records.holdout.entities(), task.privacy.unit);
        let counts = noisy_counts(&counts(&counting), task.privacy.evaluation_rho, task.privacy.unit.records())?;
        let signed = self.site.identity.sign(&self.evaluation(round_id, candidate, &counts))?;
        let key = key(EVALUATIONS, round_id);
        self.site.store.apply(Batch::new().expect_absent(key.clone()).put(key, canonical::encode(&signed)?))?;
        Ok((signed, quality))
    }

    fn evaluation(&self, round_id: &RoundId, candidate: Digest, counts: &[i64]) -> Evaluation {
        let count = |index: usize| counts.get(index).copied().unwrap_or(0);
        Evaluation {
            round_id: round_id.clone(),
            participant_id: self.site.participant_id.clone(),
            candidate,
            true_positives: count(0),
            false_negatives: count(1),
            false_positives: count(2),
            true_negatives: count(3),
        }
    }

    /// Whether the round's evaluation has reached the coordinator.
    pub fn is_delivered(&self, round_id: &RoundId) -> Result<bool, SiteError> {
        Ok(self.site.store.get(&key(DELIVERED, round_id))?.is_some())
    }

    /// Notes that the round's evaluation has reached the coordinator.
    pub fn mark_delivered(&self, round_id: &RoundId) -> Result<(), SiteError> {
        Ok(self.site.store.apply(Batch::new().put(key(DELIVERED, round_id), []))?)
    }
}

/// The records that count: all of them, or the first few of each entity, so that one unit moves the counts by no more
/// than its number of records.
fn counting<'a>(scored: &[Scored<'a>], entities: &[u64], unit: PrivacyUnit) -> Vec<Scored<'a>> {
    let PrivacyUnit::Entity { max_records } = unit else { return scored.to_vec() };
    let mut counted: HashMap<u64, u32> = HashMap::new();
    let mut is_within = |entity: u64| {
        let records = counted.entry(entity).or_default();
        *records = records.saturating_add(1);
        *records <= max_records
    };
    let pairs = scored.iter().copied().zip(entities);
    pairs.filter(|(_, entity)| is_within(**entity)).map(|(scored, _)| scored).collect()
}

/// True positives, false negatives, false positives, true negatives at a logit of 0, that is a probability of one half.
fn counts(scored: &[Scored<'_>]) -> [i64; 4] {
    let count = |attack: bool, above: bool| {
        let matching = scored.iter().filter(|one| one.attack == attack && (one.score > 0.0) == above);
        i64::try_from(matching.count()).unwrap_or(i64::MAX)
    };
    [count(true, true), count(true, false), count(false, true), count(false, false)]
}

fn key(tree: &'static str, round_id: &RoundId) -> Key {
    Key::new(tree, round_id.to_string())
}

#[cfg(test)]
mod tests;
