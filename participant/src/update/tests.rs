//! The debit comes before the training, the same bytes are sent again after a restart, and what is carried from round to
//! round changes with the receipt and not before.

use std::fs;

use shared::encoding::PerMille;
use shared::local::LocalTraining;
use shared::privacy::Mechanism;
use shared::store::StoreError;
use shared::task::{Recipe, TrainingMechanism};
use shared_crypto::{SigningKey, bulk_digest, digest, digest_of};
use shared_model::ModelError;

use super::*;
use crate::feature::WIDTH;
use crate::testing::{Lone, now, params, records, round, task};
use crate::train::Dataset;

fn assignment(number: u32) -> Assignment {
    assignment_of(task(), number)
}

fn assignment_of(task: Task, number: u32) -> Assignment {
    let checkpoint = params(0.0);
    Assignment {
        round_id: round(number),
        task_digest: digest_of(&task).unwrap(),
        task: Arc::new(task),
        checkpoint_digest: bulk_digest(&checkpoint.to_le_bytes()),
        checkpoint: Arc::new(checkpoint),
        control: None,
        masking: None,
    }
}

fn updates(lone: &Lone) -> Updates {
    Updates::new(Arc::clone(&lone.site))
}

fn prepare(lone: &Lone, assignment: &Assignment) -> Result<(), SiteError> {
    updates(lone).prepare(assignment, &records(), &mut |_| true)
}

/// Prepares the update of a round and answers what would be sent.
fn prepared(lone: &Lone, assignment: &Assignment) -> (UpdateOpen, Bytes) {
    prepare(lone, assignment).unwrap();
    updates(lone).load(&assignment.round_id).unwrap().unwrap()
}

/// Training on nothing is an error of its own: it tells whether training was reached.
fn no_records() -> Records {
    Records { train: Dataset::new(WIDTH), holdout: Dataset::new(WIDTH), ..records() }
}

fn coordinator() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

fn header(open: &UpdateOpen, lone: &Lone) -> UpdateHeader {
    lone.site.identity.public().open(&open.header).unwrap()
}

fn receipt(open: &UpdateOpen, lone: &Lone) -> UpdateReceipt {
    let header = header(open, lone);
    UpdateReceipt {
        round_id: header.round_id,
        participant_id: header.participant_id,
        payload: header.payload,
        accepted_at: now(),
    }
}

fn keep(lone: &Lone, number: u32, receipt: &UpdateReceipt) -> Result<UpdateReceipt, SiteError> {
    let signed = coordinator().sign(receipt).unwrap();
    updates(lone).keep_receipt(&round(number), &signed, &coordinator().public())
}

fn deliver(lone: &Lone, number: u32) {
    let (open, _) = updates(lone).load(&round(number)).unwrap().unwrap();
    keep(lone, number, &receipt(&open, lone)).unwrap();
}

fn files(lone: &Lone) -> Vec<String> {
    let folder = lone.site.folder().join("updates").join(task().task_id.as_str());
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn p1_an_update_asked_for_twice_is_the_same_bytes_for_one_debit_also_after_a_restart() {
    let lone = Lone::new();
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
    let first = prepared(&lone, &assignment(1));
    assert_eq!(prepared(&lone, &assignment(1)), first);
    let lone = lone.reopened();
    assert_eq!(updates(&lone).load(&round(1)).unwrap().as_ref(), Some(&first));
    assert_eq!(prepared(&lone, &assignment(1)), first);
    assert_eq!(lone.site.ledger.debits().len(), 1);
}

#[test]
fn p1_a_stream_without_sampling_is_debited_for_all_its_steps_and_refused_where_they_cost_too_much() {
    let mechanism = TrainingMechanism::BandedFtrl { bands: 5, passes: 1 };
    let streamed = |noise_multiplier| {
        let recipe =
            Recipe { mechanism, sampling_rate: 0.2, noise_multiplier: Some(noise_multiplier), ..task().recipe };
        assignment_of(Task { recipe, ..task() }, 1)
    };
    let lone = Lone::new();
    let refused = prepare(&lone, &streamed(0.5)).unwrap_err();
    assert!(matches!(refused, SiteError::Admission(Refusal::TooExpensive { .. })), "{refused:?}");
    assert!(lone.site.ledger.debits().is_empty());
    prepare(&lone, &streamed(10.0)).unwrap();
    let debits = lone.site.ledger.debits();
    let cost = Mechanism::BandedGaussian { noise_multiplier: 10.0, bands: 5, steps: 5, participations: 1 };
    assert!(debits.iter().map(|debit| debit.mechanism).eq([Some(cost)]), "{debits:?}");
}

#[test]
fn p1_of_two_who_prepare_one_round_at_once_only_one_trains() {
    let lone = Lone::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| prepare(&lone, &assignment(1)).unwrap());
        }
    });
    assert_eq!(lone.site.ledger.debits().len(), 1);
}

#[test]
fn the_header_says_what_was_trained_and_the_site_signed_it() {
    let lone = Lone::new();
    let (open, payload) = prepared(&lone, &assignment(3));
    let header = header(&open, &lone);
    assert_eq!((&header.round_id, header.checkpoint), (&round(3), assignment(3).checkpoint_digest));
    assert_eq!((header.task_digest, header.local_steps), (assignment(3).task_digest, task().recipe.local_steps));
    assert_eq!((header.encoding, header.byte_count), (Encoding::F32, u64::try_from(payload.len()).unwrap()));
    let digests = ChunkDigests::of(&payload);
    assert_eq!((header.payload, open.chunk_digests.as_slice()), (digests.payload(), digests.as_slice()));
}

#[test]
fn p1_where_the_debit_cannot_be_written_nothing_is_trained() {
    let (lone, store) = Lone::new().on_failing_store();
    store.fail(true);
    let refused = updates(&lone).prepare(&assignment(1), &no_records(), &mut |_| true);
    assert!(matches!(refused, Err(SiteError::Store(StoreError::Engine { .. }))), "training was not reached");
    store.fail(false);
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
    assert!(lone.site.ledger.debits().is_empty());
}

#[test]
fn p1_a_training_that_fails_or_is_abandoned_after_its_debit_is_not_refunded() {
    let lone = Lone::new();
    let failed = updates(&lone).prepare(&assignment(1), &no_records(), &mut |_| true);
    assert!(matches!(failed, Err(SiteError::Model(ModelError::Setting { .. }))));
    let mut steps = Vec::new();
    updates(&lone)
        .prepare(&assignment(2), &records(), &mut |done| {
            steps.push(done);
            done < 2
        })
        .unwrap();
    assert_eq!(steps, [0, 1, 2]);
    assert_eq!(lone.site.ledger.debits().len(), 2);
    assert_eq!(updates(&lone).prepared(&task().task_id).unwrap(), None);
}

#[test]
fn what_can_be_refused_is_refused_before_it_costs_anything() {
    let lone = Lone::with(|config| config.federation.encodings = vec![shared::encoding::EncodingKind::Bf16]);
    let refused = prepare(&lone, &assignment(1));
    assert!(matches!(refused, Err(SiteError::Admission(Refusal::NoEncoding))), "{refused:?}");
    let lone = Lone::new();
    let other_shape = Arc::new(ParamVector::new(vec![0.0; 3]).unwrap());
    assert!(prepare(&lone, &Assignment { checkpoint: other_shape, ..assignment(1) }).is_err());
    assert!(lone.site.ledger.debits().is_empty());
}

#[test]
fn a_coordinator_that_repeats_rounds_cannot_make_a_task_cost_more_than_was_admitted() {
    let lone = Lone::new();
    let (ceiling, delta) = (task().privacy.ceiling.epsilon, 1e-5);
    for number in 1..100 {
        match prepare(&lone, &assignment(number)) {
            Ok(()) => {}
            Err(SiteError::Admission(Refusal::TooExpensive { cost, limit, whose: "the task" })) => {
                assert!(number > 1 && limit == ceiling && cost > ceiling, "round {number}: {cost}");
                let costs = lone.site.ledger.costs_of(&task().task_id);
                assert!(shared_privacy::accountant::epsilon(&costs, delta).unwrap() <= ceiling);
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never refused");
}

#[test]
fn a_receipt_takes_the_place_of_the_payload() {
    let lone = Lone::new();
    let (open, _) = prepared(&lone, &assignment(1));
    let receipt = keep(&lone, 1, &receipt(&open, &lone)).unwrap();
    assert_eq!(files(&lone), Vec::<String>::new());
    let lone = lone.reopened();
    assert_eq!(updates(&lone).receipt(&round(1)).unwrap(), Some(receipt));
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
}

#[test]
fn a_late_update_is_acknowledged_in_the_round_that_counts_it() {
    let lone = Lone::new();
    let (open, _) = prepared(&lone, &assignment(1));
    let late = UpdateReceipt { round_id: round(2), ..receipt(&open, &lone) };
    assert_eq!(keep(&lone, 1, &late).unwrap(), late);
    assert_eq!(updates(&lone).receipt(&round(2)).unwrap(), Some(late));
    assert_eq!(updates(&lone).receipt(&round(1)).unwrap(), None);
    assert_eq!(updates(&lone).prepared(&task().task_id).unwrap(), None);
}

#[test]
fn a_receipt_for_anything_else_is_refused_and_the_update_kept() {
    let lone = Lone::new();
    let prepared = prepared(&lone, &assignment(2));
    let good = receipt(&prepared.0, &lone);
    let other_task = RoundId { task_id: shared::TaskId::new("other").unwrap(), ..round(2) };
    let others = [
        UpdateReceipt { round_id: round(1), ..good.clone() },
        UpdateReceipt { round_id: other_task, ..good.clone() },
        UpdateReceipt { participant_id: shared::ParticipantId::new("site-2").unwrap(), ..good.clone() },
        UpdateReceipt { payload: digest(b"other"), ..good.clone() },
    ];
    for other in others {
        assert!(matches!(keep(&lone, 2, &other), Err(SiteError::OtherReceipt(_))), "{other:?}");
    }
    let forged = SigningKey::from_seed(&[8; 32]).sign(&good).unwrap();
    let refused = updates(&lone).keep_receipt(&round(2), &forged, &coordinator().public());
    assert!(matches!(refused, Err(SiteError::Crypto(_))));
    assert_eq!(updates(&lone).receipt(&round(2)).unwrap(), None);
    assert_eq!(updates(&lone).load(&round(2)).unwrap(), Some(prepared));
}

#[test]
fn an_update_that_was_never_delivered_makes_room_for_the_next_one_and_stays_paid_for() {
    let lone = Lone::new();
    prepared(&lone, &assignment(1));
    let second = prepared(&lone, &assignment(2));
    assert_eq!(updates(&lone).load(&round(1)).unwrap(), None);
    assert_eq!(updates(&lone).load(&round(2)).unwrap(), Some(second));
    updates(&lone).forget(&round(2)).unwrap();
    assert_eq!(updates(&lone).prepared(&task().task_id).unwrap(), None);
    assert_eq!(files(&lone), Vec::<String>::new());
    assert_eq!(lone.site.ledger.debits().len(), 2);
}

#[test]
fn a_damaged_or_missing_payload_is_never_sent() {
    let lone = Lone::new();
    prepared(&lone, &assignment(1));
    let path = lone.site.folder().join("updates").join(task().task_id.as_str()).join("1.payload");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(updates(&lone).load(&round(1)), Err(SiteError::DamagedUpdate(_))));
    fs::remove_file(&path).unwrap();
    assert!(matches!(updates(&lone).load(&round(1)), Err(SiteError::DamagedUpdate(_))));
}

fn top_k() -> Task {
    Task { encodings: vec![Encoding::TopK { per_mille: PerMille::new(100).unwrap() }], ..task() }
}

#[test]
fn every_encoding_has_the_length_that_the_coordinator_expects() {
    for encoding in [r#"{"kind":"bf16"}"#, r#"{"kind":"int8","block":256}"#, r#"{"kind":"int4","block":256}"#] {
        let lone = Lone::new();
        let encoding: Encoding = serde_json::from_str(encoding).unwrap();
        let (open, payload) = prepared(&lone, &assignment_of(Task { encodings: vec![encoding], ..task() }, 1));
        assert_eq!(header(&open, &lone).encoding, encoding);
        assert_eq!(payload.len(), encoding.encoded_len(task().update_len()));
        encoding.decode(task().update_len(), &payload).unwrap();
    }
}

#[test]
fn what_an_encoding_leaves_out_is_carried_from_an_update_that_counts_and_from_no_other() {
    let lone = Lone::new();
    let carried = |lone: &Lone| updates(lone).carried(&top_k(), top_k().encodings[0]).unwrap().residual;
    prepared(&lone, &assignment_of(top_k(), 1));
    assert_eq!(carried(&lone), None, "nothing counts yet");
    deliver(&lone, 1);
    let lone = lone.reopened();
    let first = carried(&lone).unwrap();
    assert!(first.l2_norm() > 0.0);
    assert_eq!(files(&lone), ["1.residual"]);
    prepared(&lone, &assignment_of(top_k(), 2));
    assert_eq!(files(&lone), ["1.residual", "2.payload", "2.residual"]);
    updates(&lone).forget(&round(2)).unwrap();
    assert_eq!(carried(&lone).as_ref(), Some(&first), "what never counted changed nothing");
    prepared(&lone, &assignment_of(top_k(), 3));
    deliver(&lone, 3);
    assert_ne!(carried(&lone), Some(first));
    assert_eq!(files(&lone), ["3.residual"]);
    updates(&lone).end(&task().task_id).unwrap();
    assert_eq!((carried(&lone), files(&lone)), (None, Vec::new()));
}

#[test]
fn scaffold_sends_two_vectors_and_keeps_its_control_variate() {
    let lone = Lone::new();
    let mut scaffold = task();
    scaffold.recipe.local = LocalTraining::Scaffold;
    let assignment =
        |number| Assignment { control: Some(Arc::new(params(0.5))), ..assignment_of(scaffold.clone(), number) };
    let (_, payload) = prepared(&lone, &assignment(1));
    let count = task().model.param_count();
    let sent = Encoding::F32.decode(2 * count, &payload).unwrap();
    deliver(&lone, 1);
    let kept = updates(&lone).carried(&scaffold, Encoding::F32).unwrap().correction.unwrap();
    assert_eq!(kept.as_slice(), &sent.as_slice()[count..], "from zero on, the turn is the control variate itself");
    prepared(&lone, &assignment(2));
    assert_eq!(files(&lone), ["1.correction", "2.correction", "2.payload"]);
}
