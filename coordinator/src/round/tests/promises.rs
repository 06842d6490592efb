//! The promises of learning that the coordinator keeps, by their names.

use shared::document::SignedDocument;
use shared::store::Batch;
use shared::task::Task;
use shared::update::{Evaluation, Join, UpdateHeader, UpdateReceipt};

use super::*;
use crate::durable::Evidence;
use crate::testing::{key, site};

/// A coin whose falls a number decides.
fn coin(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state & 1 == 1
    }
}

#[test]
fn r1_update_durable_a_machine_that_loses_power_at_any_write_changes_nothing_in_the_end() {
    let (expected, _) = undisturbed();
    let world = World::with(task());
    let before = world.disk.operations();
    run(&mut world.driver()).unwrap();
    let operations = world.disk.operations() - before;
    assert!(operations > 30, "{operations}");
    for (operation, seed) in (0..operations).flat_map(|operation| (0..4).map(move |seed| (operation, seed))) {
        let world = World::with(task());
        world.disk.stop_after(operation);
        let stopped = world
            .try_context(world.store.clone())
            .and_then(|context| Driver::open(context, &task().task_id))
            .and_then(|mut driver| run(&mut driver));
        // What only had to be removed is removed later.
        assert!(matches!(stopped, Ok(()) | Err(Error::Disk { .. })), "{operation}: {stopped:?}");
        world.disk.crash(&mut coin(seed * 1000 + operation));
        run(&mut world.driver()).unwrap();
        assert_eq!(legacy(&world), expected, "{operation} {seed}");
    }
}

#[test]
fn r4_round_signed_every_word_that_decides_a_round_is_signed_by_who_says_it() {
    let world = World::with(Task { rounds: 1, ..task() });
    let mut driver = world.driver();
    run(&mut driver).unwrap();
    let context = driver.context();
    let first = RoundId { task_id: task().task_id, number: RoundNumber::FIRST };
    for name in SITES {
        let kept = |kind| durable::read(&*world.store, &durable::evidence(&first, kind, &site(name))).unwrap().unwrap();
        key(name).public().open::<Join>(&kept(Evidence::Join)).unwrap();
        let header: UpdateHeader = key(name).public().open(&kept(Evidence::Update)).unwrap();
        key(name).public().open::<Evaluation>(&kept(Evidence::Evaluation)).unwrap();
        let receipt: UpdateReceipt = context.signer.public().open(&kept(Evidence::Receipt)).unwrap();
        assert_eq!(receipt.payload, header.payload);
    }
    context.operator.public().open::<Task>(&driver.task().document).unwrap();
    let record: SignedDocument = durable::read(&*world.store, &durable::record(&first)).unwrap().unwrap();
    let record: RoundRecord = context.signer.public().open(&record).unwrap();
    assert_eq!(record.updates_root, shared_audit::transcript::updates_root(&record.accepted).unwrap());
}

#[test]
fn r4_round_signed_a_task_that_its_operator_did_not_sign_is_not_taken_up() {
    let world = World::with(task());
    let mut entry = crate::task::entry(&*world.store, &task().task_id).unwrap();
    entry.document.body = entry.document.body.replace("\"quorum\":2", "\"quorum\":1");
    let tampered = Batch::new().put(durable::task(&task().task_id), durable::encode(&entry).unwrap());
    world.store.apply(tampered).unwrap();
    let opened = Driver::open(world.context(world.store.clone()), &task().task_id);
    assert!(matches!(opened.err().unwrap(), Error::Crypto(_)));
}

#[test]
fn r5_memory_bounded_what_a_round_holds_does_not_grow_with_those_who_take_part() {
    let peak = |names: &str| {
        let cohort = names.chars().map(|name| site(&name.to_string())).collect();
        let world = World::with(Task { cohort, rounds: 1, ..task() });
        let mut driver = world.driver();
        let offer = |driver: &mut Driver, propose: &dyn Fn(&str, &Driver) -> Result<Proposal, Error>| {
            for name in names.chars().map(|name| name.to_string()) {
                let proposal = propose(&name, driver).unwrap();
                driver.offer(vec![proposal]).unwrap().remove(0).unwrap();
            }
            driver.advance().unwrap();
        };
        offer(&mut driver, &join);
        offer(&mut driver, &update);
        assert_eq!(driver.snapshot().state.phase(), "aggregated");
        driver.context().budget.held()
    };
    let (few, many) = (peak("abc"), peak("abcdefghijklmnopqrstuvwxyz"));
    assert_eq!(few, many);
    assert_eq!(few.0, 0, "nothing is held when the candidate is there");
}
