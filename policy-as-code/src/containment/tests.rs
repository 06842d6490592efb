//! That decide-and-reserve is one transaction, what it counts, and what gives a place free.

mod interleavings;

use std::thread;

use shared::time::ManualClock;
use shared_store::MemoryStore;

use super::*;
use crate::testing::{asset, engine, request, run_id};

const LEASE: Duration = Duration::from_secs(60);

struct Place {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::default()), clock: Arc::new(ManualClock::new(Timestamp::EPOCH)) }
    }

    /// A ledger as another process would open it: it shares the store and nothing else.
    fn ledger(&self) -> ContainmentLedger {
        ContainmentLedger::new(Arc::clone(&self.store), self.clock.clone())
    }
}

fn claim(run: &str, account: &str, group_size: u32) -> Claim {
    let mut request = request(ContainmentAction::Throttle);
    request.asset = asset(account);
    // What the caller believes about peers and containments counts for nothing.
    request.context.healthy_peers = 1_000;
    let peers = PeerGroup { name: "reporting".to_owned(), size: group_size };
    Claim { run_id: run_id(run), step: 1, peers, lease: LEASE, required: Tier::Automated, request }
}

/// How many of `threads` concurrent claims on different assets of one group are granted.
fn granted(threads: u32, group_size: u32) -> usize {
    let place = Place::new();
    let engine = engine();
    let verdicts: Vec<_> = thread::scope(|scope| {
        let claims: Vec<_> = (0..threads)
            .map(|index| {
                let (ledger, engine) = (place.ledger(), &engine);
                scope.spawn(move || {
                    let claim = claim(&format!("run-{index}"), &format!("account-{index}"), group_size);
                    loop {
                        match ledger.decide_and_reserve(engine, &claim) {
                            Err(ContainmentError::Contended { .. }) => {}
                            verdict => return verdict.unwrap(),
                        }
                    }
                })
            })
            .collect();
        claims.into_iter().map(|claim| claim.join().unwrap()).collect()
    });
    let granted = verdicts.iter().filter(|verdict| verdict.lease.is_some()).count();
    assert_eq!(place.ledger().reservations().unwrap().len(), granted);
    granted
}

#[test]
fn concurrent_claims_cannot_both_see_quorum() {
    for _ in 0..20 {
        // Two healthy peers have to be left: of four, only one may be contained, plus the one that asks.
        assert_eq!(granted(8, 4), 2);
        assert_eq!(granted(8, 3), 1);
        assert_eq!(granted(8, 2), 0);
    }
}

#[test]
fn concurrent_claims_cannot_pass_the_limit_of_containments() {
    for _ in 0..5 {
        assert_eq!(granted(24, 1_000), 10);
    }
}

#[test]
fn what_the_policy_set_sees_is_counted_by_the_ledger() {
    let place = Place::new();
    let ledger = place.ledger();
    ledger.decide_and_reserve(&engine(), &claim("run-a", "a", 10)).unwrap();
    let mut elsewhere = claim("run-b", "b", 10);
    elsewhere.peers.name = "billing".to_owned();
    ledger.decide_and_reserve(&engine(), &elsewhere).unwrap();
    let mut third = claim("run-c", "c", 10);
    third.request.asset.criticality = Criticality::Important;
    third.request.context.blast_radius = 4;
    let asked = ledger.decide_and_reserve(&engine(), &third).unwrap().request.context;
    assert_eq!((asked.active_containments, asked.class_containments, asked.healthy_peers), (2, 0, 8));
    assert_eq!((asked.service_blast_radius, asked.site_blast_radius, asked.recent_actions), (5, 6, 2));
    // A second step on the same asset takes nothing more away, and an earlier step of one's own is not another's.
    let mut again = claim("run-a", "a", 10);
    again.step = 2;
    let asked = ledger.decide_and_reserve(&engine(), &again).unwrap().request.context;
    assert_eq!((asked.active_containments, asked.class_containments, asked.site_blast_radius), (2, 1, 6));
    let asked = ledger.decide_and_reserve(&engine(), &claim("run-d", "d", 10)).unwrap().request.context;
    assert_eq!((asked.active_containments, asked.site_blast_radius, asked.recent_actions), (3, 7, 4));
}

#[test]
fn budgets_of_service_site_class_and_hour_end_automation() {
    type Change = fn(&mut Claim);
    let cases: [(&str, u32, Change); 4] = [
        ("guard.service-budget", 2, |claim| claim.request.context.blast_radius = 12),
        ("guard.site-budget", 4, |claim| {
            claim.request.context.blast_radius = 12;
            claim.peers.name = claim.run_id.to_string();
        }),
        ("guard.important-assets-budget", 3, |claim| claim.request.asset.criticality = Criticality::Important),
        ("guard.concurrency", 10, |_| ()),
    ];
    for (guard, granted, change) in cases {
        let place = Place::new();
        let ask = |number: u32| {
            let mut claim = claim(&format!("run-{number}"), &format!("account-{number}"), 1_000);
            change(&mut claim);
            place.ledger().decide_and_reserve(&engine(), &claim).unwrap()
        };
        assert!((0..granted).all(|number| ask(number).lease.is_some()), "{guard}");
        let refused = ask(granted);
        assert_eq!((refused.lease, &refused.decision.answers[0].policies), (None, &vec![guard.to_owned()]));
    }
}

#[test]
fn the_rate_counts_what_was_granted_within_the_hour_even_if_it_was_given_back() {
    let place = Place::new();
    let ask = |number: u32| {
        let run = format!("run-{number}");
        let verdict = place.ledger().decide_and_reserve(&engine(), &claim(&run, "a", 10)).unwrap();
        place.ledger().release(&run_id(&run), 1).unwrap();
        verdict
    };
    for number in 0..60 {
        assert!(ask(number).lease.is_some(), "{number}");
        place.clock.advance(Duration::from_secs(1));
    }
    let refused = ask(60);
    assert_eq!((refused.lease, &refused.decision.answers[0].policies), (None, &vec!["guard.rate".to_owned()]));
    place.clock.advance(Duration::from_secs(60 * 60 - 60));
    let granted = ask(61);
    assert_eq!((granted.lease.is_some(), granted.request.context.recent_actions), (true, 59));
}

#[test]
fn the_kill_switch_ends_automation_until_it_is_turned_back() {
    let place = Place::new();
    let ledger = place.ledger();
    assert!(ledger.decide_and_reserve(&engine(), &claim("run-a", "a", 10)).unwrap().lease.is_some());
    ledger.set_kill_switch(Some("ada")).unwrap();
    let switch = place.ledger().kill_switch().unwrap().unwrap();
    assert_eq!((switch.by.as_str(), switch.at), ("ada", place.clock.now()));
    let refused = ledger.decide_and_reserve(&engine(), &claim("run-b", "b", 10)).unwrap();
    assert_eq!((refused.lease, &refused.decision.answers[0].policies), (None, &vec!["guard.kill-switch".to_owned()]));
    assert_eq!(ledger.reservations().unwrap().len(), 1, "what is in force stays until its lease lapses");
    ledger.set_kill_switch(None).unwrap();
    assert_eq!(ledger.kill_switch().unwrap(), None);
    assert!(ledger.decide_and_reserve(&engine(), &claim("run-b", "b", 10)).unwrap().lease.is_some());
}

#[test]
fn an_asset_belongs_to_one_run_at_a_time() {
    let place = Place::new();
    let ledger = place.ledger();
    assert!(ledger.decide_and_reserve(&engine(), &claim("run-a", "a", 10)).unwrap().lease.is_some());
    let second = ledger.decide_and_reserve(&engine(), &claim("run-b", "a", 10)).unwrap();
    assert_eq!((second.lease, second.held_by), (None, Some(run_id("run-a"))));
    let mut next_step = claim("run-a", "a", 10);
    next_step.step = 2;
    assert!(ledger.decide_and_reserve(&engine(), &next_step).unwrap().lease.is_some());
    ledger.release(&run_id("run-a"), 1).unwrap();
    assert!(ledger.decide_and_reserve(&engine(), &claim("run-b", "a", 10)).unwrap().lease.is_none());
    ledger.release(&run_id("run-a"), 2).unwrap();
    assert!(ledger.decide_and_reserve(&engine(), &claim("run-b", "a", 10)).unwrap().lease.is_some());
}

#[test]
fn a_lapsed_lease_keeps_its_place_until_it_is_released() {
    let place = Place::new();
    let ledger = place.ledger();
    assert!(ledger.decide_and_reserve(&engine(), &claim("run-a", "a", 3)).unwrap().lease.is_some());
    assert_eq!(ledger.expired(place.clock.now()).unwrap(), []);
    place.clock.advance(LEASE);
    assert_eq!(ledger.expired(place.clock.now()).unwrap().len(), 1);
    assert!(ledger.decide_and_reserve(&engine(), &claim("run-b", "b", 3)).unwrap().lease.is_none());
    ledger.release(&run_id("run-a"), 1).unwrap();
    ledger.release(&run_id("run-a"), 1).unwrap();
    assert!(ledger.decide_and_reserve(&engine(), &claim("run-b", "b", 3)).unwrap().lease.is_some());
}

#[test]
fn a_step_that_asks_again_and_is_refused_gives_up_its_place() {
    let place = Place::new();
    let ledger = place.ledger();
    let mut claim = claim("run-a", "a", 10);
    assert!(ledger.decide_and_reserve(&engine(), &claim).unwrap().lease.is_some());
    claim.request.context.maintenance_window = true;
    assert!(ledger.decide_and_reserve(&engine(), &claim).unwrap().lease.is_none());
    assert_eq!(ledger.reservations().unwrap(), []);
}
