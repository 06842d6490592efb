//! From a committed round to a release: the gates that a task's last candidate must pass, and what is signed then.
//!
//! A release that passed its task's gates is promoted at once: the operator signed the gates with the task. One that
//! was computed again waits for the operator, because no site has evaluated it.

mod promotion;
mod recompute;

use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::release::{Promotion, Release, RoundRecord};
use shared::round::Tally;
use shared::store::{Batch, Store};
use shared::task::{ReleaseGates, Task};
use shared::{Digest, ReleaseId, Timestamp};
use shared_crypto::{PublicKey, SigningKey, document_digest};
use shared_wire::ReleaseBundle;

pub(crate) use promotion::{History, Standing};
pub(crate) use recompute::{Recomputed, Request};

use crate::{Coordinator, Error, durable};

/// How many digits of the round record's digest name a release.
const ID_DIGITS: usize = 16;

/// A release with the record of its round, both signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedRelease {
    /// The signed [`Release`].
    pub(crate) release: SignedDocument,
    /// The signed [`RoundRecord`].
    pub(crate) round_record: SignedDocument,
}

/// Each gate that the tally does not pass, in words. A rate that nobody could measure passes only a gate that asks
/// nothing.
pub(crate) fn unmet(gates: &ReleaseGates, tally: &Tally) -> Vec<String> {
    let (found, alarms) = (tally.true_positive_rate(), tally.false_positive_rate());
    let lowest = gates.min_true_positive_rate;
    let highest = gates.max_false_positive_rate;
    let enough = lowest <= 0.0 || found.is_some_and(|rate| rate >= lowest);
    let quiet = highest >= 1.0 || alarms.is_some_and(|rate| rate <= highest);
    let reason = |name: &str, rate: Option<f64>, relation: &str, bound: f64| match rate {
        Some(rate) => format!("the {name} rate is {rate:.4}, not {relation} {bound:.4}"),
        None => format!("nobody measured the {name} rate, which must be {relation} {bound:.4}"),
    };
    let enough = (!enough).then(|| reason("true-positive", found, "at least", lowest));
    let quiet = (!quiet).then(|| reason("false-positive", alarms, "at most", highest));
    enough.into_iter().chain(quiet).collect()
}

/// The release that a committed round becomes.
pub(crate) fn release(task: &Task, record: &RoundRecord, record_digest: Digest, now: Timestamp) -> Release {
    Release {
        release_id: release_id(record_digest),
        round_id: record.round_id.clone(),
        task_digest: record.task_digest,
        round_record: record_digest,
        model: task.model.clone(),
        feature_view: task.feature_view.clone(),
        params: record.candidate,
        // Each participant's own ledger holds it to the ceiling; without noise nothing bounds the cost.
        privacy: task.recipe.noise_multiplier.map(|_| task.privacy.ceiling),
        tally: record.tally,
        released_at: now,
        replaces: None,
    }
}

/// The batch that publishes a release that passed its gates, and makes it the latest.
pub(crate) fn publication(
    store: &dyn Store,
    operator: &SigningKey,
    release: &Release,
    signed: &SignedRelease,
    now: Timestamp,
) -> Result<Batch, Error> {
    let (_, batch) = History::load(store, operator.public())?.promote(release, &signed.release, operator, now)?;
    Ok(batch.put(durable::release(&release.release_id), durable::encode(signed)?))
}

fn release_id(record: Digest) -> ReleaseId {
    let digits: String = record.to_string().chars().take(ID_DIGITS).collect();
    #[expect(clippy::expect_used, reason = "`r-` and hexadecimal digits are an id")]
    ReleaseId::new(format!("r-{digits}")).expect("a valid id")
}

/// A release by its id.
pub(crate) fn find(store: &dyn Store, release_id: ReleaseId) -> Result<SignedRelease, Error> {
    let found = durable::read(store, &durable::release(&release_id))?;
    found.ok_or(Error::UnknownRelease(Some(release_id)))
}

/// The operator's last word on which release is the latest; `None` before the first one.
pub(crate) fn latest(store: &dyn Store, operator: PublicKey) -> Result<Option<(Promotion, SignedDocument)>, Error> {
    let Some(word) = durable::read(store, &durable::latest_promotion())? else { return Ok(None) };
    Ok(Some((operator.open(&word)?, word)))
}

/// A release for a participant, with the operator's word on it if it is the latest.
pub(crate) fn bundle(coordinator: &Coordinator, release_id: ReleaseId) -> Result<ReleaseBundle, Error> {
    let store = &*coordinator.store;
    let word = latest(store, coordinator.operator_key())?.filter(|(word, _)| word.release_id == release_id);
    let cosignatures = durable::cosignatures(store, &release_id)?;
    let SignedRelease { release, round_record } = find(store, release_id)?;
    let promotion = word.map(|(_, document)| document);
    Ok(ReleaseBundle { release, round_record, promotion, cosignatures })
}

/// The latest release for a participant who knows the promotion with the digest `known`; `None` where there is no other.
pub(crate) fn latest_bundle(coordinator: &Coordinator, known: Option<Digest>) -> Result<Option<ReleaseBundle>, Error> {
    let word = latest(&*coordinator.store, coordinator.operator_key())?;
    let news = word.filter(|(_, document)| known != Some(document_digest(document)));
    let Some((word, document)) = news else { return Ok(None) };
    let cosignatures = durable::cosignatures(&*coordinator.store, &word.release_id)?;
    let SignedRelease { release, round_record } = find(&*coordinator.store, word.release_id)?;
    Ok(Some(ReleaseBundle { release, round_record, promotion: Some(document), cosignatures }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(true_positives: i64, false_negatives: i64, false_positives: i64, true_negatives: i64) -> Tally {
        Tally { sites: 3, true_positives, false_negatives, false_positives, true_negatives }
    }

    #[test]
    fn a_gate_holds_at_its_bound_and_names_what_is_missing() {
        let gates = ReleaseGates { min_true_positive_rate: 0.8, max_false_positive_rate: 0.01 };
        assert_eq!(unmet(&gates, &tally(8, 2, 1, 99)), Vec::<String>::new());
        assert_eq!(unmet(&gates, &tally(7, 3, 1, 99)), ["the true-positive rate is 0.7000, not at least 0.8000"]);
        assert_eq!(unmet(&gates, &tally(8, 2, 2, 98)), ["the false-positive rate is 0.0200, not at most 0.0100"]);
    }

    #[test]
    fn what_nobody_measured_passes_only_a_gate_that_asks_nothing() {
        let gates = ReleaseGates { min_true_positive_rate: 0.5, max_false_positive_rate: 0.5 };
        assert_eq!(unmet(&gates, &Tally::default()).len(), 2);
        let open = ReleaseGates { min_true_positive_rate: 0.0, max_false_positive_rate: 1.0 };
        assert_eq!(unmet(&open, &Tally::default()), Vec::<String>::new());
    }
}
