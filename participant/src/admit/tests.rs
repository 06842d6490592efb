//! Each reason to stay away from a task, and that a task within the conditions is admitted.

use std::sync::Arc;

use shared::time::ManualClock;
use shared::{Digest, RoundId, RoundNumber, TaskId};
use shared_crypto::SigningKey;
use shared_store::MemoryStore;

use super::*;
use crate::ledger::Purpose;
use crate::testing::{now, task};

fn ledger(epsilon: f64) -> PrivacyLedger {
    let (store, identity) = (Arc::new(MemoryStore::default()), Arc::new(SigningKey::from_seed(&[1; 32])));
    let budget = Guarantee { epsilon, delta: 1e-5 };
    PrivacyLedger::open(store, identity, Arc::new(ManualClock::new(now())), budget).unwrap()
}

fn conditions() -> AdmissionConfig {
    AdmissionConfig::default()
}

fn refusal(task: &Task, conditions: &AdmissionConfig) -> Refusal {
    match admit(task, conditions, &ledger(8.0)) {
        Err(SiteError::Admission(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn cost(task: &Task) -> f64 {
    accountant::epsilon(&task.cost().unwrap(), 1e-5).unwrap()
}

#[test]
fn a_task_within_all_limits_is_admitted() {
    admit(&task(), &conditions(), &ledger(8.0)).unwrap();
}

#[test]
fn a_task_that_nobody_can_run_is_refused() {
    let mut senseless = task();
    senseless.rounds = 0;
    assert!(matches!(admit(&senseless, &conditions(), &ledger(8.0)), Err(SiteError::Task(_))));
}

#[test]
fn a_task_without_noise_is_refused() {
    let mut noiseless = task();
    noiseless.recipe.noise_multiplier = None;
    assert_eq!(refusal(&noiseless, &conditions()), Refusal::NoNoise);
}

#[test]
fn a_task_above_its_own_ceiling_or_the_sites_is_refused() {
    let (mut above_own, cost) = (task(), cost(&task()));
    above_own.privacy.ceiling.epsilon = cost * 0.99;
    let refused = refusal(&above_own, &conditions());
    assert!(matches!(refused, Refusal::TooExpensive { whose: "the task", .. }), "{refused}");
    for max_epsilon in [cost * 0.99, 0.0, f64::NAN] {
        let refused = refusal(&task(), &AdmissionConfig { max_epsilon, ..conditions() });
        assert!(matches!(refused, Refusal::TooExpensive { whose: "this site", .. }), "{refused}");
    }
    admit(&task(), &AdmissionConfig { max_epsilon: cost, ..conditions() }, &ledger(8.0)).unwrap();
}

#[test]
fn a_lax_delta_does_not_make_a_task_cheaper_for_the_site() {
    let mut lax = task();
    lax.privacy.ceiling.delta = 0.5;
    let conditions = AdmissionConfig { max_epsilon: cost(&lax) * 0.99, ..conditions() };
    assert!(matches!(refusal(&lax, &conditions), Refusal::TooExpensive { whose: "this site", .. }));
}

#[test]
fn a_task_that_the_rest_of_the_budget_does_not_hold_is_refused_evaluations_included() {
    let ledger = ledger(cost(&task()) * 1.01);
    admit(&task(), &conditions(), &ledger).unwrap();
    let mut chatty = task();
    chatty.privacy.evaluation_rho = 0.05;
    let refused = admit(&chatty, &conditions(), &ledger);
    assert!(matches!(refused, Err(SiteError::Admission(Refusal::BudgetTooSmall { .. }))), "{refused:?}");
    let round_id = RoundId { task_id: TaskId::new("other").unwrap(), number: RoundNumber(1) };
    ledger.debit(Mechanism::ZeroConcentrated { rho: 0.01 }, Purpose::Training(&round_id)).unwrap();
    let refused = admit(&task(), &conditions(), &ledger);
    assert!(matches!(refused, Err(SiteError::Admission(Refusal::BudgetTooSmall { .. }))), "{refused:?}");
}

#[test]
fn a_task_for_other_features_or_another_width_is_refused() {
    let mut other = task();
    other.feature_view.digest = Digest([0; 32]);
    assert!(matches!(refusal(&other, &conditions()), Refusal::OtherFeatures { .. }));
    let mut narrow = task();
    narrow.model.inputs -= 1;
    assert!(matches!(refusal(&narrow, &conditions()), Refusal::OtherWidth { .. }));
}

#[test]
fn a_model_that_is_too_large_is_refused() {
    let found = task().model.param_count();
    let refused = refusal(&task(), &AdmissionConfig { max_params: found - 1, ..conditions() });
    assert_eq!(refused, Refusal::ModelTooLarge { found, limit: found - 1 });
}
