//! Fault simulation: generated schedules of operations and faults against the production coordinator, the production
//! site's decisions, a virtual clock, and a store and disk that keep only what they promised. Thousands of schedules, each
//! judged by an oracle that would show any update that was lost or counted twice.
//!
//! Every update is a one-hot vector of its own: in a round's change, each coordinate must be 0, or one over the number of
//! updates that the record names; a doubled update would show as twice that, a lost one as 0.
//!
//! `RINGFENCE_SCHEDULES` says how many schedules are explored, 2,000 without it. A failure is shrunk to the shortest
//! schedule that shows it; such schedules are kept below as tests with a name.

mod arrival;
pub(crate) mod ground;
mod oracle;
mod setting;
mod site;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

pub(crate) use self::arrival::is_internal;
use self::ground::{Break, When};
use self::setting::Setting;
use self::site::Fate;
use self::world::World;

/// How many schedules are explored where nobody says.
const SCHEDULES: u32 = 2_000;
/// The longest schedule.
const LONGEST: usize = 80;

/// Something that happens.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// A site looks at the round and does what is due; its message meets this fate.
    Act(usize, Fate),
    /// Time passes, in milliseconds; connected sites send heartbeats.
    Pass(u32),
    /// The coordinator's clock jumps by so many seconds, either way.
    Jump(i32),
    /// The coordinator is killed at this place from now on, or at once.
    Kill(Break),
    /// A site is killed: it remembers what it made durable.
    KillSite(usize),
    /// A site's link breaks, or is mended.
    Link(usize, bool),
    /// A message that was held up arrives now.
    Deliver(usize),
    /// The disk runs full, or has room again.
    Full(bool),
    /// A site signs another update for a round in which it sent one already.
    Equivocate(usize),
    /// Accepted updates are folded into the running sum.
    Fold,
    /// The operator pauses the task, or lets it go on.
    Pause(bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Corrupted),
        1 => Just(Fate::HeldUp),
        2 => (0_u8..4).prop_map(Fate::BreaksAfter),
    ]
}

fn break_() -> impl Strategy<Value = Break> {
    let when = prop_oneof![Just(When::Before), Just(When::After)];
    prop_oneof![
        1 => Just(Break::Now),
        3 => (0_u8..6, when).prop_map(|(writes, when)| Break::Store(writes, when)),
        3 => (0_u8..12).prop_map(Break::Disk),
    ]
}

fn op(sites: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => (0..sites, fate()).prop_map(|(site, fate)| Op::Act(site, fate)),
        6 => (50_u32..900).prop_map(Op::Pass),
        2 => (4_000_u32..20_000).prop_map(Op::Pass),
        1 => (-20_i32..20).prop_map(Op::Jump),
        3 => break_().prop_map(Op::Kill),
        2 => (0..sites).prop_map(Op::KillSite),
        2 => (0..sites, any::<bool>()).prop_map(|(site, up)| Op::Link(site, up)),
        2 => (0_usize..8).prop_map(Op::Deliver),
        1 => any::<bool>().prop_map(Op::Full),
        1 => (0..sites).prop_map(Op::Equivocate),
        2 => Just(Op::Fold),
        1 => any::<bool>().prop_map(Op::Pause),
    ]
}

/// Runs a schedule, then lets everything heal, and judges what came of it.
fn explore(setting: Setting, ops: &[Op], seed: u64) {
    let mut world = World::new(setting, seed);
    for op in ops {
        world.happen(*op);
    }
    world.heal_and_finish();
    world.judge();
}

fn schedules() -> u32 {
    std::env::var("RINGFENCE_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES)
}

#[test]
fn no_schedule_of_faults_loses_or_doubles_an_update() {
    let config = Config { cases: schedules(), failure_persistence: None, ..Config::default() };
    let strategy =
        Setting::any().prop_flat_map(|setting| (Just(setting), vec(op(setting.sites), 0..LONGEST), any::<u64>()));
    let explored = TestRunner::new(config).run(&strategy, |(setting, ops, seed)| {
        explore(setting, &ops, seed);
        Ok(())
    });
    if let Err(failure) = explored {
        panic!("{failure}");
    }
}
