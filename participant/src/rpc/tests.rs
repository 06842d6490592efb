//! A site against a coordinator that follows a script over real connections: broken streams, broken uploads, lost
//! answers, a pending enrolment, a renewal, the operator's words on which release is the latest.

mod latest;
mod script;
mod stage;

use std::sync::{Arc, Mutex};

use shared::Explain;
use shared::privacy::LedgerShown;
use shared::update::{Evaluation, UpdateHeader};
use shared_wire::{Phase, TaskState};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::progress::{Observer, Progress};
use crate::testing::{Lone, records, task};
use crate::update::Updates;
use script::Script;
use stage::{Running, Stage, candidate};

/// Notes the steps, but for those of an upload; the task is over when the site has evaluated.
struct Notes {
    steps: Mutex<Vec<String>>,
    stage: Arc<Stage>,
}

impl Notes {
    fn of(running: &Running) -> Arc<Self> {
        Arc::new(Self { steps: Mutex::default(), stage: Arc::clone(&running.stage) })
    }
}

impl Observer for Notes {
    fn on(&self, progress: &Progress) {
        let step = match progress {
            Progress::Joined { round } => format!("joined {}", round.0),
            Progress::Sending { .. } => return,
            Progress::Delivered { round, .. } => format!("delivered {}", round.0),
            Progress::Evaluated { round, .. } => format!("evaluated {}", round.0),
            Progress::Released { release_id } => format!("released {release_id}"),
        };
        self.steps.lock().unwrap().push(step);
        if matches!(progress, Progress::Evaluated { .. }) {
            self.stage.end(TaskState::Cancelled);
        }
    }
}

async fn enrolled(script: Script) -> (Running, Lone, Credentials) {
    let running = Running::start(script).await;
    let address = running.address.clone();
    let lone = Lone::with(|config| config.federation.coordinator = address);
    let credentials = enrol(&lone.site, &running.ca_pem, "token").await.unwrap();
    (running, lone, credentials)
}

async fn take_part(running: &Running, lone: &Lone, credentials: Credentials) -> (Outcome, Vec<String>) {
    let notes = Notes::of(running);
    let (site, records) = (Arc::clone(&lone.site), Arc::new(records()));
    let membership = Membership::connect(site, records, credentials, notes.clone()).await.unwrap();
    let offered = membership.tasks().await.unwrap().remove(0);
    assert_eq!(offered.document, running.stage.document);
    let outcome = membership.take_part(&offered.document, &CancellationToken::new()).await.unwrap();
    let steps = notes.steps.lock().unwrap().clone();
    (outcome, steps)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_finished_through_broken_streams_and_uploads_with_one_training() {
    let (running, lone, credentials) =
        enrolled(Script { broken_watches: 2, broken_uploads: 2, ..Script::default() }).await;
    let (outcome, steps) = take_part(&running, &lone, credentials).await;
    assert!(matches!(outcome, Outcome::Ended(TaskState::Cancelled)));
    assert_eq!(steps, ["joined 1", "delivered 1", "evaluated 1"]);
    let seen = running.stage.seen();
    assert_eq!(seen.updates.len(), 3, "two broken uploads and one that was taken");
    assert!(seen.updates.windows(2).all(|pair| pair[0] == pair[1]), "the same bytes each time");
    let header: UpdateHeader = lone.site.identity.public().open(&seen.updates[0].0.header).unwrap();
    assert_eq!(header.round_id.number.0, 1);
    let evaluation: Evaluation = lone.site.identity.public().open(&seen.evaluations[0]).unwrap();
    assert_eq!((evaluation.candidate, seen.evaluations.len()), (shared_crypto::bulk_digest(&candidate()), 1));
    assert_eq!(lone.site.ledger.debits().len(), 2, "one training, one evaluation");
    let updates = Updates::new(Arc::clone(&lone.site));
    assert_eq!(updates.receipt(&header.round_id).unwrap().unwrap().payload, header.payload);
    assert_eq!(updates.prepared(&task().task_id).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_the_coordinator_knows_of_every_debit_before_it_gets_what_it_was_for() {
    let (running, lone, credentials) = enrolled(Script::default()).await;
    take_part(&running, &lone, credentials).await;
    let seen = running.stage.seen();
    let shown = |word| lone.site.identity.public().open::<LedgerShown>(word).unwrap().ledger;
    let shown: Vec<_> = seen.ledgers.iter().map(shown).collect();
    let debits: Vec<_> = shown.iter().map(|ledger| ledger.debits).collect();
    assert_eq!(debits, [0, 1, 2], "to join, before the update, before the counts");
    assert_eq!(shown.last(), Some(&lone.site.ledger.head()));
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_site_whose_ledger_the_coordinator_knows_to_be_old_spends_nothing() {
    let (running, lone, credentials) = enrolled(Script { disowned: 1, ..Script::default() }).await;
    let (site, records) = (Arc::clone(&lone.site), Arc::new(records()));
    let membership = Membership::connect(site, records, credentials, Notes::of(&running)).await.unwrap();
    for _ in 0..2 {
        let refused = membership.take_part(&running.stage.document, &CancellationToken::new()).await.err().unwrap();
        assert_eq!(refused.code(), "ledger-rolled-back", "{refused}");
    }
    assert_eq!(running.stage.seen().ledgers.len(), 1, "it is not asked again");
    assert!(lone.site.ledger.debits().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_coordinator_took_is_noted_though_the_task_is_over_before_it_answers() {
    let (running, lone, credentials) = enrolled(Script { ends_before_it_answers: true, ..Script::default() }).await;
    let (outcome, steps) = take_part(&running, &lone, credentials).await;
    assert!(matches!(outcome, Outcome::Ended(TaskState::Cancelled)));
    assert_eq!(steps, ["joined 1", "delivered 1", "evaluated 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_was_prepared_before_a_restart_is_delivered_after_it() {
    let (running, lone, credentials) = enrolled(Script { broken_uploads: usize::MAX, ..Script::default() }).await;
    let (site, records) = (Arc::clone(&lone.site), Arc::new(records()));
    let membership = Membership::connect(site, records, credentials.clone(), Notes::of(&running)).await.unwrap();
    let document = running.stage.document.clone();
    let stop = CancellationToken::new();
    let (taking_part, tried) = (membership.take_part(&document, &stop), running.stage.uploads(1));
    let stopped = tokio::join!(taking_part, async {
        tried.await;
        stop.cancel();
    });
    assert!(matches!(stopped.0.unwrap(), Outcome::Stopped));
    drop(membership);
    running.stage.heal();
    let lone = lone.reopened();
    let (_, steps) = take_part(&running, &lone, credentials).await;
    assert_eq!(steps, ["delivered 1", "evaluated 1"], "neither joined nor trained again");
    let seen = running.stage.seen();
    assert_eq!(seen.updates.first(), seen.updates.last());
    assert_eq!(lone.site.ledger.debits().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_joins_a_round_that_is_over_goes_on_with_the_next() {
    let (running, lone, credentials) = enrolled(Script { late_joins: 1, ..Script::default() }).await;
    let (_, steps) = take_part(&running, &lone, credentials).await;
    assert_eq!(steps, ["joined 2", "delivered 2", "evaluated 2"]);
    assert_eq!(lone.site.ledger.debits().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_update_is_carried_into_the_round_that_collects() {
    let late = shared::participation::LatePolicy::Carry { rounds: 1 };
    let (running, lone, credentials) = enrolled(Script { late, late_uploads: 1, ..Script::default() }).await;
    let (_, steps) = take_part(&running, &lone, credentials).await;
    assert_eq!(steps, ["joined 1", "delivered 1", "evaluated 2"]);
    let seen = running.stage.seen();
    let header: UpdateHeader = lone.site.identity.public().open(&seen.updates.last().unwrap().0.header).unwrap();
    assert_eq!(header.round_id.number.0, 1, "the very update of round 1 counts in round 2");
    assert_eq!(lone.site.ledger.debits().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_update_is_dropped_where_the_task_says_so_and_its_debit_stays() {
    let (running, lone, credentials) = enrolled(Script { late_uploads: 1, ..Script::default() }).await;
    let (_, steps) = take_part(&running, &lone, credentials).await;
    assert_eq!(steps, ["joined 1", "joined 2", "delivered 2", "evaluated 2"]);
    assert_eq!(lone.site.ledger.debits().len(), 3, "two trainings, one evaluation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_enrolment_asks_with_the_very_same_request_and_is_resumed() {
    let running = Running::start(Script { pending: 1, ..Script::default() }).await;
    let address = running.address.clone();
    let lone = Lone::with(|config| config.federation.coordinator = address);
    assert!(resume_enrolment(&lone.site).await.unwrap().is_none());
    let asked = running.stage.asked(1);
    tokio::select! {
        _ = enrol(&lone.site, &running.ca_pem, "token") => panic!("enrolled before it was approved"),
        () = asked => {}
    }
    let lone = lone.reopened();
    let credentials = resume_enrolment(&lone.site).await.unwrap().unwrap();
    let requests = running.stage.seen().requests;
    assert!(requests.len() == 2 && requests[0] == requests[1]);
    let kept = Credentials::load(&lone.site.folder().join("federation")).unwrap().unwrap();
    assert_eq!(kept.certificate_pem, credentials.certificate_pem);
    assert!(resume_enrolment(&lone.site).await.unwrap().is_none(), "nothing is pending any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_brings_a_new_key_that_later_calls_go_by() {
    let (running, lone, credentials) = enrolled(Script::default()).await;
    let (site, records) = (Arc::clone(&lone.site), Arc::new(records()));
    let membership = Membership::connect(site, records, credentials.clone(), Notes::of(&running)).await.unwrap();
    membership.tasks().await.unwrap();
    let before = running.stage.seen().last_caller;
    membership.renew().await.unwrap();
    membership.tasks().await.unwrap();
    assert_ne!(running.stage.seen().last_caller, before);
    let kept = Credentials::load(&lone.site.folder().join("federation")).unwrap().unwrap();
    assert_ne!(kept.key_pem.expose(), credentials.key_pem.expose());
    assert_eq!(kept.coordinator_key, credentials.coordinator_key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_shut_out_is_told_why() {
    let (running, lone, credentials) = enrolled(Script { shut_out: true, ..Script::default() }).await;
    let (site, records) = (Arc::clone(&lone.site), Arc::new(records()));
    let membership = Membership::connect(site, records, credentials, Notes::of(&running)).await.unwrap();
    let refused = membership.take_part(&running.stage.document, &CancellationToken::new()).await.err().unwrap();
    assert_eq!(refused.remote_code(), Some("participant-quarantined"), "{refused}");
    assert!(running.stage.seen().updates.is_empty());
    assert_eq!(running.stage.phase(), Phase::Announced);
}

#[test]
fn two_sites_that_lose_the_coordinator_at_once_do_not_come_back_in_step() {
    let waits = || Patience::default().0.take(8).collect::<Vec<_>>();
    assert_ne!(waits(), waits());
}
