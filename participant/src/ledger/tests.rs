//! A spent budget stays spent, and nothing is charged that is not durable.

use shared::store::StoreError;
use shared::time::ManualClock;
use shared::{RoundNumber, Timestamp};
use shared_privacy::PrivacyError;
use shared_store::MemoryStore;

use super::*;
use crate::testing::FailingStore;

const BUDGET: Guarantee = Guarantee { epsilon: 1.0, delta: 1e-5 };
const COST: Mechanism = Mechanism::ZeroConcentrated { rho: 0.005 };

fn identity() -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&[1; 32]))
}

fn open(store: &Arc<dyn Store>) -> Result<PrivacyLedger, SiteError> {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    PrivacyLedger::open(Arc::clone(store), identity(), clock, BUDGET)
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

fn round(task: &str, number: u32) -> RoundId {
    RoundId { task_id: TaskId::new(task).unwrap(), number: RoundNumber(number) }
}

fn is_over_budget(refused: &Result<Debit, SiteError>) -> bool {
    matches!(refused, Err(SiteError::Privacy(PrivacyError::BudgetExceeded { .. })))
}

#[test]
fn what_exceeds_the_budget_is_refused_and_stays_refused_after_a_restart() {
    let store = memory();
    let ledger = open(&store).unwrap();
    let fitting = ledger.forecast(&COST).unwrap();
    for number in 1..=u32::try_from(fitting).unwrap() {
        ledger.debit(COST, Purpose::Training(&round("guard", number))).unwrap();
    }
    let spent = ledger.spent().unwrap();
    assert!((1..40).contains(&fitting) && spent.epsilon <= BUDGET.epsilon, "{fitting} debits cost {spent:?}");
    for ledger in [&ledger, &open(&store).unwrap()] {
        assert!(is_over_budget(&ledger.debit(COST, Purpose::Training(&round("other", 1)))));
        assert_eq!(
            (ledger.spent().unwrap(), ledger.debits().unwrap().len()),
            (spent, usize::try_from(fitting).unwrap())
        );
    }
}

#[test]
fn a_debit_that_was_tampered_with_is_refused_at_open() {
    let store = memory();
    open(&store).unwrap().debit(COST, Purpose::Training(&round("guard", 1))).unwrap();
    let (key, bytes) = store.scan(TREE, &[], 1).unwrap().remove(0);
    let cheaper = String::from_utf8(bytes).unwrap().replace("0.005", "0.001");
    store.apply(Batch::new().put(Key::new(TREE, key), cheaper)).unwrap();
    assert!(matches!(open(&store), Err(SiteError::Crypto(_))));
}

#[test]
fn a_debit_of_somebody_else_is_refused_at_open() {
    let store = memory();
    let debit = open(&store).unwrap().debit(COST, Purpose::Training(&round("guard", 1))).unwrap();
    let forged = SigningKey::from_seed(&[2; 32]).sign(&debit).unwrap();
    let key = Key::new(TREE, debit.sequence.to_be_bytes());
    store.apply(Batch::new().put(key, canonical::encode(&forged).unwrap())).unwrap();
    assert!(matches!(open(&store), Err(SiteError::Crypto(_))));
}

#[test]
fn a_gap_is_refused_at_open() {
    let store = memory();
    let ledger = open(&store).unwrap();
    for number in 1..=3 {
        ledger.debit(COST, Purpose::Training(&round("guard", number))).unwrap();
    }
    store.apply(Batch::new().delete(Key::new(TREE, 2_u64.to_be_bytes()))).unwrap();
    let refused = open(&store).err().unwrap();
    assert!(matches!(refused, SiteError::Privacy(PrivacyError::OutOfSequence { expected: 2, found: 3 })), "{refused}");
}

#[test]
fn a_write_that_fails_charges_nothing() {
    let store = Arc::new(FailingStore::new(memory()));
    let shared: Arc<dyn Store> = store.clone();
    let ledger = open(&shared).unwrap();
    store.fail(true);
    let (first, second) = (round("guard", 1), round("guard", 2));
    let refused = ledger.debit(COST, Purpose::Training(&first));
    assert!(matches!(refused, Err(SiteError::Store(StoreError::Engine { .. }))));
    assert_eq!(ledger.spent().unwrap().epsilon, 0.0);
    store.fail(false);
    assert_eq!(ledger.debit(COST, Purpose::Training(&second)).unwrap().sequence, 1);
}

#[test]
fn a_second_ledger_on_the_same_store_is_refused_instead_of_hiding_a_debit() {
    let store = memory();
    let (first, second) = (open(&store).unwrap(), open(&store).unwrap());
    first.debit(COST, Purpose::Training(&round("guard", 1))).unwrap();
    let refused = second.debit(COST, Purpose::Training(&round("guard", 1)));
    assert!(matches!(refused, Err(SiteError::Store(StoreError::Conflict { .. }))));
    assert_eq!(open(&store).unwrap().debits().unwrap().len(), 1);
}

#[test]
fn the_costs_of_a_task_are_its_own_trainings_and_evaluations_alone() {
    let ledger = open(&memory()).unwrap();
    let counts = Mechanism::ZeroConcentrated { rho: 0.001 };
    ledger.debit(COST, Purpose::Training(&round("guard", 1))).unwrap();
    ledger.debit(counts, Purpose::Evaluation(&round("guard", 1))).unwrap();
    ledger.debit(COST, Purpose::Training(&round("guard-2", 1))).unwrap();
    ledger.debit(COST, Purpose::Training(&round("rd", 1))).unwrap();
    let costs = |task: &str| ledger.costs_of(&TaskId::new(task).unwrap()).unwrap();
    assert_eq!((costs("guard"), costs("rd"), costs("round")), (vec![COST, counts], vec![COST], vec![]));
    let all = ledger.after(&[COST]).unwrap().epsilon;
    assert!(all > ledger.spent().unwrap().epsilon);
}
