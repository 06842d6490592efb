//! Who is waited for, who is not, and for how many.

use shared::participation::Participation;
use shared::task::Task;

use super::*;
use crate::testing::{beat, site};

/// A round that collects, with all sites alive.
fn collecting(task: Task) -> (World, Driver) {
    let world = World::with(task);
    let mut driver = world.driver();
    beat(&driver, &SITES);
    let joins = SITES.iter().map(|site| join(site, &driver).unwrap()).collect();
    assert!(driver.offer(joins).unwrap().iter().all(Result::is_ok));
    driver.advance().unwrap();
    (world, driver)
}

fn deliver(driver: &mut Driver, name: &str) {
    driver.offer(vec![update(name, driver).unwrap()]).unwrap().remove(0).unwrap();
}

#[test]
fn a_killed_participant_holds_a_round_up_for_seconds_and_not_until_the_deadline() {
    let (world, mut driver) = collecting(task());
    ["a", "b"].iter().for_each(|name| deliver(&mut driver, name));
    world.pass(&driver, 2);
    beat(&driver, &["a", "b"]);
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "collecting");
    world.pass(&driver, 1);
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
}

#[test]
fn a_slow_participant_that_makes_progress_is_waited_for() {
    let (world, mut driver) = collecting(task());
    ["a", "b"].iter().for_each(|name| deliver(&mut driver, name));
    for _ in 0..5 {
        world.pass(&driver, 2);
        driver.context().presence.progress(&site("c"), world.clock.now());
        driver.advance().unwrap();
        assert_eq!(driver.snapshot().state.phase(), "collecting");
    }
    deliver(&mut driver, "c");
    driver.advance().unwrap();
    let RoundState::Aggregated(state) = &*driver.snapshot().state else { panic!() };
    assert_eq!(state.accepted.len(), 3);
}

#[test]
fn who_was_lost_and_comes_back_is_waited_for_again() {
    let (world, mut driver) = collecting(task());
    deliver(&mut driver, "a");
    world.pass(&driver, 3);
    driver.advance().unwrap();
    let lost = |driver: &Driver| driver.snapshot().state.lost().unwrap().len();
    assert_eq!((lost(&driver), driver.snapshot().state.phase()), (2, "collecting"), "there is no quorum yet");
    beat(&driver, &["b", "c"]);
    world.pass(&driver, 1);
    driver.advance().unwrap();
    assert_eq!(lost(&driver), 0);
}

#[test]
fn a_restarted_coordinator_gives_everybody_time_to_be_heard_of() {
    let (world, mut driver) = collecting(task());
    ["a", "b"].iter().for_each(|name| deliver(&mut driver, name));
    let mut driver = {
        drop(driver);
        world.driver()
    };
    world.pass(&driver, 14);
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "collecting");
    world.pass(&driver, 1);
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
}

#[test]
fn collection_ends_at_the_goal_however_many_were_invited() {
    let participation = Participation { goal: Some(2), over_selection: 1.5, ..Participation::default() };
    let (_world, mut driver) = collecting(Task { participation, ..task() });
    assert_eq!(driver.snapshot().state.plan().cohort.len(), 3);
    ["c", "a"].iter().for_each(|name| deliver(&mut driver, name));
    let late = update("b", &driver).unwrap();
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "aggregated");
    assert!(matches!(driver.offer(vec![late]).unwrap().remove(0), Err(Error::Round(_))));
}

#[test]
fn only_who_is_invited_may_join() {
    let participation = Participation { goal: Some(2), over_selection: 1.0, ..Participation::default() };
    let world = World::with(Task { participation, ..task() });
    let mut driver = world.driver();
    let joins = SITES.iter().map(|site| join(site, &driver).unwrap()).collect();
    let refused = driver.offer(joins).unwrap().into_iter().filter(Result::is_err).count();
    assert_eq!(refused, 1);
}

#[test]
fn a_paused_task_finishes_its_round_and_begins_none_until_it_is_resumed() {
    let (_world, mut driver) = collecting(task());
    driver.set_paused(true).unwrap();
    SITES.iter().for_each(|name| deliver(&mut driver, name));
    driver.advance().unwrap();
    SITES.iter().for_each(|name| {
        driver.offer(vec![evaluation(name, &driver).unwrap()]).unwrap().remove(0).unwrap();
    });
    driver.advance().unwrap();
    assert_eq!(driver.snapshot().state.phase(), "committed");
    driver.set_paused(false).unwrap();
    driver.advance().unwrap();
    assert_eq!((driver.snapshot().state.phase(), driver.snapshot().rounds_done), ("announced", 1));
}
