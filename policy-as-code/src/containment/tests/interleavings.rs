//! Every order in which the ledger's steps in the store can follow each other, explored by a model checker.

use std::collections::BTreeSet;
use std::sync::Mutex;

use shared::store::Entry;
use shuttle::thread;

use super::*;

/// A store in which another process may go first before an operation.
struct Interleaved {
    inner: MemoryStore,
    /// Also before an operation that only reads what the head guards.
    everywhere: bool,
}

impl Interleaved {
    fn others_may_go_first(&self, decisive: bool) {
        if decisive || self.everywhere {
            thread::yield_now();
        }
    }
}

impl Store for Interleaved {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.others_may_go_first(*key == head_key());
        self.inner.get(key)
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.others_may_go_first(false);
        self.inner.scan(tree, prefix, limit)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.others_may_go_first(true);
        self.inner.apply(batch)
    }
}

fn place(everywhere: bool) -> Place {
    let store = Interleaved { inner: MemoryStore::default(), everywhere };
    Place { store: Arc::new(store), clock: Arc::new(ManualClock::new(Timestamp::EPOCH)) }
}

/// How many orders there are in which `processes` claim assets of one group of `group_size`, and every set of them that
/// is granted in one.
fn outcomes(processes: u32, group_size: u32, everywhere: bool) -> (usize, BTreeSet<Vec<u32>>) {
    let engine = engine();
    let seen: Arc<Mutex<(usize, BTreeSet<Vec<u32>>)>> = Arc::default();
    let noted = Arc::clone(&seen);
    shuttle::check_dfs(
        move || {
            let place = place(everywhere);
            let claims = (0..processes).map(|number| {
                let (ledger, engine) = (place.ledger(), Arc::clone(&engine));
                let claim = claim(&format!("run-{number}"), &format!("account-{number}"), group_size);
                thread::spawn(move || ledger.decide_and_reserve(&engine, &claim).unwrap().lease.is_some())
            });
            let claims: Vec<_> = claims.collect();
            let granted: Vec<bool> = claims.into_iter().map(|claim| claim.join().unwrap()).collect();
            let granted = (0..processes).zip(granted).filter(|(_, granted)| *granted).map(|(number, _)| number);
            let granted: Vec<u32> = granted.collect();
            assert_eq!(place.ledger().reservations().unwrap().len(), granted.len());
            let mut noted = noted.lock().unwrap();
            noted.0 += 1;
            noted.1.insert(granted);
        },
        None,
    );
    seen.lock().unwrap().clone()
}

#[test]
fn in_no_order_do_two_claims_both_see_quorum() {
    // Two healthy peers have to be left, so of three assets one may be contained; whichever claim came first has it.
    let (orders, outcomes) = outcomes(2, 3, true);
    assert_eq!(outcomes, BTreeSet::from([vec![0], vec![1]]));
    assert!(orders > 500, "{orders} orders");
}

#[test]
fn in_no_order_do_three_claims_pass_quorum() {
    let (orders, outcomes) = outcomes(3, 4, false);
    assert_eq!(outcomes, BTreeSet::from([vec![0, 1], vec![0, 2], vec![1, 2]]));
    assert!(orders > 1_000, "{orders} orders");
}

#[test]
fn in_no_order_is_anything_granted_after_the_kill_switch() {
    let engine = engine();
    let seen: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
    let noted = Arc::clone(&seen);
    shuttle::check_dfs(
        move || {
            let place = place(true);
            let (ledger, engine) = (place.ledger(), Arc::clone(&engine));
            let claims = thread::spawn(move || ledger.decide_and_reserve(&engine, &claim("run-a", "a", 10)).unwrap());
            let ledger = place.ledger();
            let switches = thread::spawn(move || {
                ledger.set_kill_switch(Some("ada")).unwrap();
                ledger.reservations().unwrap().len()
            });
            let (before, _) = (switches.join().unwrap(), claims.join().unwrap());
            assert_eq!(place.ledger().reservations().unwrap().len(), before);
            noted.lock().unwrap().insert(before);
        },
        None,
    );
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([0, 1]), "the switch may come first or last");
}
