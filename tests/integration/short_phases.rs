//! The coordinator killed in the phases that wait for nobody: `collected`, while it aggregates, and `evaluated`, while it
//! signs. They last for milliseconds, so the kill follows the log line that opens them.

use std::time::Duration;

use serde_json::{Value, json};
use shared::ParamVector;
use shared_crypto::bulk_digest;

use crate::puppet::Puppet;
use crate::world::{TASK, World, task};

/// Large enough that aggregating takes longer than killing.
const PARAMS: usize = 2_000_001;
const ROUNDS: u32 = 4;

/// Whether the log says that `event` happened in `round`.
fn logged(log: &str, round: u32, event: &str) -> bool {
    let round_id = format!("{TASK}/{round}");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().any(|line| line["event"] == event && line["round_id"] == *round_id)
}

/// Kills the coordinator as soon as it has logged `opening`; whether it was killed before it logged `closing`.
async fn kill_between(world: &mut World, round: u32, opening: &str, closing: &str) -> bool {
    let opened = async {
        while !logged(&world.log(), round, opening) {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), opened).await;
    in_time.unwrap_or_else(|_| panic!("waited a minute in vain for round {round} to log `{opening}`"));
    world.kill();
    !logged(&world.log(), round, closing)
}

/// The task of the two puppets: a linear model that is large enough.
fn large_task() -> Value {
    let mut task = task(&["a", "b"], ROUNDS, 1);
    task["model"]["inputs"] = json!(PARAMS - 1);
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_killed_while_it_aggregates_or_signs_comes_to_the_same_bits() {
    let mut world = World::start();
    let a = Puppet::enrol(&world, "a", PARAMS).await;
    let b = Puppet::enrol(&world, "b", PARAMS).await;
    world.create_task(&large_task()).await;
    let (mut aggregating, mut signing) = (0, 0);
    let mut total = 0.0_f32;
    for round in 1..=ROUNDS {
        tokio::join!(a.join(), b.join());
        let (first, second) = tokio::join!(a.update(1.0), b.update(3.0));
        tokio::join!(a.deliver(&first), b.deliver(&second));
        aggregating += u32::from(kill_between(&mut world, round, "collection_closed", "aggregated").await);
        world.restart();
        total += 2.0;
        let candidate = bulk_digest(&ParamVector::new(vec![total; PARAMS]).unwrap().to_le_bytes());
        let aggregated = world.round_until(round, "aggregated", |view| view["phase"] == "aggregated").await;
        assert_eq!(aggregated["candidate"], json!(candidate), "each update counts once");

        tokio::join!(a.evaluate(), b.evaluate());
        signing += u32::from(kill_between(&mut world, round, "evaluation_closed", "committed").await);
        world.restart();
        let committed = world.round_until(round, "committed", |view| view["phase"] == "committed").await;
        let payloads = ["a", "b"].map(|name| committed["accepted"][name]["payload"].clone());
        assert_eq!(payloads, [json!(first.digest), json!(second.digest)]);
        assert_eq!(committed["candidate"], json!(candidate));
    }
    eprintln!("of {ROUNDS} rounds, {aggregating} were killed while aggregating and {signing} while signing");
    assert!(aggregating > 0, "no kill came before the aggregate: make the model larger");
    world.released().await;
}
