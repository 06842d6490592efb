//! Knows of every update that was made which one coordinate is its own, and of every receipt that was given, and holds
//! the coordinator's records against that.

use std::collections::{BTreeMap, BTreeSet};

use shared::release::RoundRecord;
use shared::{Digest, ParamVector, ParticipantId, RoundNumber};

/// All that was made and promised.
#[derive(Default)]
pub(super) struct Oracle {
    /// Each update's own coordinate.
    places: BTreeMap<Digest, usize>,
    /// Each receipt: whose update, and the round in which it counts.
    receipts: BTreeMap<(ParticipantId, Digest), RoundNumber>,
    /// Who was shown to have signed two updates for one round.
    pub(super) equivocators: BTreeSet<ParticipantId>,
}

impl Oracle {
    /// A coordinate that no update had before.
    pub(super) fn next_place(&self) -> usize {
        self.places.len()
    }

    pub(super) fn made(&mut self, payload: Digest, place: usize) {
        self.places.insert(payload, place);
    }

    /// A receipt was given. The same update never gets another word.
    pub(super) fn receipt(&mut self, participant_id: &ParticipantId, payload: Digest, counts_in: RoundNumber) {
        let before = self.receipts.insert((participant_id.clone(), payload), counts_in);
        assert!(before.is_none_or(|round| round == counts_in), "two receipts for one update of {participant_id}");
    }

    /// Checks a committed round: its change is the exact mean of one-hots of just the updates that its record names.
    pub(super) fn check(&self, record: &RoundRecord, checkpoint: &ParamVector, candidate: &ParamVector) {
        let ones: BTreeSet<usize> = record.accepted.values().map(|update| self.places[&update.payload]).collect();
        assert_eq!(ones.len(), record.accepted.len(), "no update counts twice in a round");
        let total: u32 = record.accepted.values().map(|update| update.weight).sum();
        let weights: BTreeMap<usize, u32> =
            record.accepted.values().map(|update| (self.places[&update.payload], update.weight)).collect();
        let places = checkpoint.as_slice().iter().zip(candidate.as_slice()).enumerate();
        for (place, (before, after)) in places {
            let weight = weights.get(&place).copied().unwrap_or(0);
            let share = f64::from(weight) / f64::from(total);
            let expected = before + nearest(share);
            assert!(
                after.to_bits() == expected.to_bits(),
                "round {}: coordinate {place} went from {before} to {after}, not to {expected}",
                record.round_id
            );
        }
    }

    /// Checks all rounds together: every receipt is kept, no update counts in two rounds, and a round that acknowledged
    /// its quorum has a result.
    pub(super) fn check_all(&self, records: &[RoundRecord], aborted: &BTreeSet<RoundNumber>, quorum: usize) {
        let mut counted: BTreeMap<Digest, RoundNumber> = BTreeMap::new();
        for record in records {
            for update in record.accepted.values() {
                let number = record.round_id.number;
                assert!(update.trained_in <= number, "an update of round {} counts in {number}", update.trained_in);
                let before = counted.insert(update.payload, number);
                assert_eq!(before, None, "an update counts in round {number} and in {before:?}");
            }
        }
        let decided = records.iter().map(|record| record.round_id.number).chain(aborted.iter().copied()).max();
        let decided = decided.unwrap_or(RoundNumber(0));
        for round in aborted {
            let honest = self.receipts.iter().filter(|((participant_id, _), promised)| {
                *promised == round && !self.equivocators.contains(participant_id)
            });
            let acknowledged = honest.count();
            assert!(acknowledged < quorum, "round {round} acknowledged {acknowledged} updates and has no result");
        }
        for ((participant_id, payload), promised) in &self.receipts {
            let kept = counted.get(payload) == Some(promised);
            let undecided = aborted.contains(promised) || decided < *promised;
            let excused = undecided || self.equivocators.contains(participant_id);
            assert!(kept || excused, "the update of {participant_id} that round {promised} acknowledged is lost");
        }
    }
}

#[expect(clippy::as_conversions, reason = "the one rounding of the mean")]
fn nearest(value: f64) -> f32 {
    value as f32
}
