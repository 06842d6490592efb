//! Only listed accounts are touched, once for each detection.

use std::io::Cursor;
use std::sync::Mutex;

use async_trait::async_trait;
use policy_as_code::actuator::dry_run::DryRun;
use policy_as_code::actuator::{Effect, Undo};
use policy_as_code::playbook::Postcondition;
use serde_json::json;
use shared::audit::{AuditKind, AuditRecord};

use super::*;
use crate::collect::{Collector, Format};
use crate::feature;
use crate::online::Online;
use crate::testing::{Lone, Published, account, event, records, shipped_policies};

/// Remembers what it was asked to do.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn applied(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[async_trait]
impl Actuator for Recorder {
    async fn capture(&self, _effect: &Effect) -> Result<Undo, ActuatorError> {
        Ok(Undo(json!({})))
    }

    async fn apply(&self, effect: &Effect) -> Result<(), ActuatorError> {
        self.0.lock().unwrap().push(effect.action.to_string());
        Ok(())
    }

    async fn probe(&self, _effect: &Effect, _postcondition: Postcondition, _undo: &Undo) -> Result<(), ActuatorError> {
        Ok(())
    }

    async fn restore(&self, _effect: &Effect, _undo: &Undo) -> Result<(), ActuatorError> {
        Ok(())
    }
}

fn policies() -> Arc<InForce> {
    Arc::new(InForce::new(Engine::new(&shipped_policies(), None).unwrap()))
}

fn lone() -> Lone {
    Lone::with(|config| config.response.accounts = vec![account("ada")])
}

fn response(lone: &Lone, actuator: Arc<dyn Actuator>) -> Response {
    Response::new(Arc::clone(&lone.site), policies(), actuator).unwrap()
}

fn raised(lone: &Lone, id: &str, seconds: u32, principal: &str) -> Raised {
    let online = Online::new(Arc::clone(&lone.site), feature::Engine::new(&lone.site.tokens));
    online.serve(Published::new(1).installed(), &records()).unwrap();
    let input = Collector::new(Cursor::new(event(id, seconds, principal)), Format::EventJson, lone.site.latest());
    online.take(input, "test").unwrap().raised().remove(0)
}

fn kinds(lone: &Lone) -> Vec<AuditKind> {
    let log = lone.site.journal.log();
    let kind = |index| {
        let record: AuditRecord = lone.site.identity.public().open(&log.entry(index).unwrap()).unwrap();
        record.kind
    };
    (0..log.size()).map(kind).collect()
}

#[tokio::test]
async fn a_principal_that_is_not_listed_touches_nothing() {
    let (lone, recorder) = (lone(), Arc::new(Recorder::default()));
    let response = response(&lone, recorder.clone());
    for principal in ["eve", "ADA", "ada ", "account-01"] {
        let raised = raised(&lone, principal, 10, principal);
        assert_eq!(response.answer(&raised, &Published::new(1).release).await.unwrap(), None, "{principal}");
    }
    assert_eq!(recorder.applied(), 0);
    assert!(response.executor().open_runs().unwrap().is_empty());
    assert!(kinds(&lone).iter().all(|kind| *kind == AuditKind::Detection));
}

#[tokio::test]
async fn the_same_detection_starts_one_run_also_when_answered_at_once() {
    let (lone, recorder) = (lone(), Arc::new(Recorder::default()));
    let response = response(&lone, recorder.clone());
    let (raised, release) = (raised(&lone, "a", 10, "ada"), Published::new(1).release);
    let (first, second) = tokio::join!(response.answer(&raised, &release), response.answer(&raised, &release));
    let (first, second) = (first.unwrap().unwrap(), second.unwrap().unwrap());
    assert_eq!(first.plan.run_id, second.plan.run_id);
    let applied = recorder.applied();
    assert!(applied > 0, "{first:?}");
    response.answer(&raised, &release).await.unwrap();
    assert_eq!((recorder.applied(), response.executor().open_runs().unwrap().len()), (applied, 1));
}

#[tokio::test]
async fn an_id_that_comes_again_on_another_day_is_another_detection() {
    let lone = lone();
    let response = response(&lone, Arc::new(Recorder::default()));
    let release = Published::new(1).release;
    let mut runs = Vec::new();
    for seconds in [10, 20] {
        let mut raised = raised(&lone, &format!("a{seconds}"), seconds, "ada");
        raised.event = crate::event::Event::from_json(event("same", seconds, "ada").as_bytes()).unwrap();
        let run_id = response.answer(&raised, &release).await.unwrap().unwrap().plan.run_id;
        response.executor().rollback(&run_id, "ada's colleague").await.unwrap();
        runs.push(run_id);
    }
    assert_ne!(runs[0], runs[1]);
}

#[tokio::test]
async fn further_detections_on_a_held_account_are_answered_by_the_run_that_holds_it() {
    let (lone, recorder) = (lone(), Arc::new(Recorder::default()));
    let response = response(&lone, recorder.clone());
    let release = Published::new(1).release;
    let first = response.answer(&raised(&lone, "a", 10, "ada"), &release).await.unwrap().unwrap();
    let applied = recorder.applied();
    let further = response.answer(&raised(&lone, "b", 20, "ada"), &release).await.unwrap().unwrap();
    assert_eq!(further.plan.run_id, first.plan.run_id);
    assert_eq!((recorder.applied(), response.executor().open_runs().unwrap().len()), (applied, 1));
}

#[tokio::test]
async fn a_dry_run_decides_and_records_as_any_other() {
    let lone = lone();
    let response = response(&lone, Arc::new(DryRun));
    let raised = raised(&lone, "a", 10, "ada");
    let state = response.answer(&raised, &Published::new(1).release).await.unwrap().unwrap();
    assert_eq!(state.plan.subject.detection, raised.detection);
    let kinds = kinds(&lone);
    assert_eq!(kinds[0], AuditKind::Detection);
    let first = |kind| kinds.iter().position(|found| *found == kind).unwrap_or_else(|| panic!("{kind:?}: {kinds:?}"));
    assert!(first(AuditKind::Decision) < first(AuditKind::Intent));
    assert!(first(AuditKind::Intent) < first(AuditKind::Outcome));
}

#[test]
fn a_playbook_that_is_not_there_is_named() {
    let lone = Lone::with(|config| config.response.playbook = "no-such".to_owned());
    let engine = policies();
    let refused = Response::new(Arc::clone(&lone.site), engine, Arc::new(DryRun)).err().unwrap();
    assert_eq!(shared::Explain::code(&refused), "respond-no-playbook");
    assert!(refused.to_string().contains("`no-such`"), "{refused}");
}
