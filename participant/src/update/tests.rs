//! The debit comes before the training, and the same bytes are sent again after a restart.

use shared::privacy::Guarantee;
use shared::store::StoreError;
use shared_crypto::{SigningKey, digest_of};
use shared_model::ModelError;

use super::*;
use crate::feature::WIDTH;
use crate::testing::{Lone, now, params, records, round, task};
use crate::train::Dataset;

fn assignment(number: u32) -> Assignment {
    let (task, checkpoint) = (task(), params(0.0));
    Assignment {
        round_id: round(number),
        task_digest: digest_of(&task).unwrap(),
        task: Arc::new(task),
        checkpoint_digest: digest(&checkpoint.to_le_bytes()),
        checkpoint,
    }
}

fn updates(lone: &Lone) -> Updates {
    Updates::new(Arc::clone(&lone.site))
}

/// Training on nothing is an error of its own: it tells whether training was reached.
fn no_records() -> Records {
    Records { train: Dataset::new(WIDTH), holdout: Dataset::new(WIDTH) }
}

fn coordinator() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

fn receipt(prepared: &Prepared, lone: &Lone) -> UpdateReceipt {
    let header: UpdateHeader = lone.site.identity.public().open(&prepared.header).unwrap();
    UpdateReceipt {
        round_id: header.round_id,
        participant_id: header.participant_id,
        payload: header.payload,
        accepted_at: now(),
    }
}

#[test]
fn p1_an_update_asked_for_twice_is_the_same_bytes_for_one_debit_also_after_a_restart() {
    let lone = Lone::new();
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
    let first = updates(&lone).prepare(&assignment(1), &records()).unwrap();
    assert_eq!(updates(&lone).prepare(&assignment(1), &records()).unwrap(), first);
    let lone = lone.reopened();
    assert_eq!(updates(&lone).load(&round(1)).unwrap().as_ref(), Some(&first));
    assert_eq!(updates(&lone).prepare(&assignment(1), &records()).unwrap(), first);
    assert_eq!(lone.site.ledger.debits().unwrap().len(), 1);
}

#[test]
fn the_header_says_what_was_trained_and_the_site_signed_it() {
    let lone = Lone::new();
    let prepared = updates(&lone).prepare(&assignment(3), &records()).unwrap();
    let header: UpdateHeader = lone.site.identity.public().open(&prepared.header).unwrap();
    assert_eq!((header.round_id, header.checkpoint), (round(3), assignment(3).checkpoint_digest));
    assert_eq!((header.payload, header.task_digest), (digest(&prepared.payload), assignment(3).task_digest));
    assert_eq!(u64::try_from(prepared.payload.len()).unwrap(), 4 * header.param_count);
}

#[test]
fn p1_where_the_debit_cannot_be_written_nothing_is_trained() {
    let (lone, store) = Lone::new().on_failing_store();
    store.fail(true);
    let refused = updates(&lone).prepare(&assignment(1), &no_records());
    assert!(matches!(refused, Err(SiteError::Store(StoreError::Engine { .. }))), "training was not reached");
    store.fail(false);
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
    assert!(lone.site.ledger.debits().unwrap().is_empty());
}

#[test]
fn p1_a_training_that_fails_after_its_debit_is_not_refunded() {
    let lone = Lone::new();
    let failed = updates(&lone).prepare(&assignment(1), &no_records());
    assert!(matches!(failed, Err(SiteError::Model(ModelError::Setting { .. }))));
    assert_eq!(lone.site.ledger.debits().unwrap().len(), 1);
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
}

#[test]
fn a_checkpoint_of_another_shape_costs_nothing() {
    let lone = Lone::new();
    let assignment = Assignment { checkpoint: ParamVector::new(vec![0.0; 3]).unwrap(), ..assignment(1) };
    assert!(updates(&lone).prepare(&assignment, &records()).is_err());
    assert!(lone.site.ledger.debits().unwrap().is_empty());
}

#[test]
fn a_coordinator_that_repeats_rounds_cannot_make_a_task_cost_more_than_was_admitted() {
    let lone = Lone::with(|config| config.privacy.budget = Guarantee { epsilon: 100.0, delta: 1e-5 });
    let (ceiling, delta) = (task().privacy.ceiling.epsilon, 1e-5);
    for number in 1..100 {
        match updates(&lone).prepare(&assignment(number), &records()) {
            Ok(_) => {}
            Err(SiteError::Admission(Refusal::TooExpensive { cost, limit, whose: "the task" })) => {
                assert!(number > 1 && limit == ceiling && cost > ceiling, "round {number}: {cost}");
                let costs = lone.site.ledger.costs_of(&task().task_id).unwrap();
                assert!(shared_privacy::accountant::epsilon(&costs, delta).unwrap() <= ceiling);
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never refused");
}

#[test]
fn a_receipt_takes_the_place_of_the_parameters() {
    let lone = Lone::new();
    let prepared = updates(&lone).prepare(&assignment(1), &records()).unwrap();
    let receipt = receipt(&prepared, &lone);
    let signed = coordinator().sign(&receipt).unwrap();
    updates(&lone).keep_receipt(&prepared, &signed, &coordinator().public()).unwrap();
    let lone = lone.reopened();
    assert_eq!(updates(&lone).receipt(&round(1)).unwrap(), Some(receipt));
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
}

#[test]
fn a_receipt_for_anything_else_is_refused_and_the_update_kept() {
    let lone = Lone::new();
    let prepared = updates(&lone).prepare(&assignment(1), &records()).unwrap();
    let good = receipt(&prepared, &lone);
    let others = [
        UpdateReceipt { round_id: round(2), ..good.clone() },
        UpdateReceipt { participant_id: shared::ParticipantId::new("site-2").unwrap(), ..good.clone() },
        UpdateReceipt { payload: digest(b"other"), ..good.clone() },
    ];
    for other in others {
        let signed = coordinator().sign(&other).unwrap();
        let refused = updates(&lone).keep_receipt(&prepared, &signed, &coordinator().public());
        assert!(matches!(refused, Err(SiteError::OtherReceipt(_))), "{other:?}");
    }
    let forged = SigningKey::from_seed(&[8; 32]).sign(&good).unwrap();
    assert!(matches!(
        updates(&lone).keep_receipt(&prepared, &forged, &coordinator().public()),
        Err(SiteError::Crypto(_))
    ));
    assert_eq!(updates(&lone).receipt(&round(1)).unwrap(), None);
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), Some(prepared));
}

#[test]
fn an_update_that_was_never_delivered_is_forgotten_with_the_next_one_of_its_task() {
    let lone = Lone::new();
    updates(&lone).prepare(&assignment(1), &records()).unwrap();
    let second = updates(&lone).prepare(&assignment(2), &records()).unwrap();
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
    assert_eq!(updates(&lone).load(&round(2)).unwrap(), Some(second));
    assert_eq!(lone.site.ledger.debits().unwrap().len(), 2);
}
