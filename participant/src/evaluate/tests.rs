//! Counts are right before the noise, and noise is drawn once a round.

use shared::store::StoreError;
use shared_crypto::digest;

use super::*;
use crate::testing::{Lone, params, records, round, task};

fn prepare(lone: &Lone) -> Result<(SignedDocument, Option<Quality>), SiteError> {
    let evaluations = Evaluations::new(Arc::clone(&lone.site));
    evaluations.prepare(&round(1), &task(), digest(b"candidate"), &params(1.0), &records())
}

#[test]
fn p1_noise_is_drawn_once_a_round_for_one_debit_also_after_a_restart() {
    let lone = Lone::new();
    let (first, quality) = prepare(&lone).unwrap();
    assert_eq!(quality.unwrap().auc, 1.0);
    assert_eq!(prepare(&lone).unwrap().0, first);
    let lone = lone.reopened();
    assert_eq!(prepare(&lone).unwrap().0, first);
    assert_eq!(lone.site.ledger.debits().len(), 1);
}

#[test]
fn the_coordinator_gets_counts_near_the_true_ones_signed_by_the_site() {
    let lone = Lone::new();
    let evaluation: Evaluation = lone.site.identity.public().open(&prepare(&lone).unwrap().0).unwrap();
    assert_eq!((&evaluation.round_id, evaluation.candidate), (&round(1), digest(b"candidate")));
    // ρ = 1e-3 is a deviation of 22: ten of them bound the noise but for one case in 10^22.
    for (noised, exact) in [
        (evaluation.true_positives, 20),
        (evaluation.false_negatives, 0),
        (evaluation.false_positives, 0),
        (evaluation.true_negatives, 20),
    ] {
        assert!((noised - exact).abs() < 224, "{evaluation:?}");
    }
}

#[test]
fn p1_where_the_debit_cannot_be_written_there_are_no_counts() {
    let (lone, store) = Lone::new().on_failing_store();
    store.fail(true);
    assert!(matches!(prepare(&lone), Err(SiteError::Store(StoreError::Engine { .. }))));
    store.fail(false);
    assert!(lone.site.store.get(&key(EVALUATIONS, &round(1))).unwrap().is_none());
}

#[test]
fn counts_before_noise_are_exact_at_a_logit_of_zero() {
    let scored = |score, attack| Scored { score, attack, scenario: "" };
    let scores = [(2.0, true), (0.1, true), (0.0, true), (-1.0, true), (3.0, false), (0.0, false), (-2.0, false)];
    let scores: Vec<_> = scores.into_iter().map(|(score, attack)| scored(score, attack)).collect();
    assert_eq!(counts(&scores), [2, 2, 1, 2]);
}

#[test]
fn what_was_delivered_is_remembered() {
    let lone = Lone::new();
    let evaluations = Evaluations::new(Arc::clone(&lone.site));
    assert!(!evaluations.is_delivered(&round(1)).unwrap());
    evaluations.mark_delivered(&round(1)).unwrap();
    assert!(evaluations.is_delivered(&round(1)).unwrap() && !evaluations.is_delivered(&round(2)).unwrap());
}

#[test]
fn of_each_entity_no_more_records_count_than_the_unit_says() {
    let scored: Vec<_> =
        (0..12_u8).map(|n| Scored { score: f32::from(n) - 5.5, attack: n % 2 == 0, scenario: "" }).collect();
    let entities = [1, 1, 2, 1, 1, 2, 3, 1, 1, 1, 2, 1];
    let all = counting(&scored, &entities, PrivacyUnit::Record);
    assert_eq!(all.len(), 12);
    let bounded = counting(&scored, &entities, PrivacyUnit::Entity { max_records: 2 });
    let places: Vec<f32> = bounded.iter().map(|scored| scored.score + 5.5).collect();
    assert_eq!(places, [0.0, 1.0, 2.0, 5.0, 6.0]);
    // Whatever the second entity's records are, the counts move by no more than its two.
    let others: Vec<_> =
        bounded.iter().copied().zip([1, 1, 2, 2, 3]).filter(|(_, e)| *e != 2).map(|(s, _)| s).collect();
    let moved = counts(&bounded).iter().zip(counts(&others)).map(|(with, without)| (with - without).abs()).sum::<i64>();
    assert_eq!(moved, 2);
}
