//! The local and server terms that correct for how sites differ, with real training by real processes: they find attacks,
//! what a site keeps from round to round outlives it, and each round can be computed again from its transcript.

use serde_json::{Value, json};
use shared::round::Tally;

use crate::world::{Site, World, task};

const ROUNDS: u32 = 4;

/// Runs a task whose recipe and aggregation have `local` and `aggregation`, and kills a site after its first round;
/// whether the server kept something from round to round.
async fn learns(local: Value, aggregation: Value) -> bool {
    let world = World::start();
    let mut sites = [world.site(1).await, world.site(2).await];
    let mut wanted = task(&[&sites[0].name, &sites[1].name], ROUNDS, 300);
    wanted["recipe"]["local"] = local;
    wanted["aggregation"] = aggregation;
    world.create_task(&wanted).await;
    sites.iter_mut().for_each(Site::serve);

    world.round_until(1, "committed", |view| view["phase"] == "committed").await;
    sites[0].kill();
    sites[0].serve();
    world.released().await;
    assert!(sites.iter_mut().all(Site::terminate));

    let last = world.round(ROUNDS).await;
    let tally: Tally = serde_json::from_value(last["tally"].clone()).unwrap();
    // Of some 90 attacks and 2,280 ordinary events; the counts carry noise of 10.
    assert!(tally.true_positives > 40 && tally.false_positives < 100, "{tally:?}");
    for round in 1..=ROUNDS {
        let file = world.transcript(round);
        let said = sites[0].run(&["round", "verify", file.to_str().unwrap()]);
        assert_eq!(said.status, Some(0), "{said:?}");
    }
    let record: Value = serde_json::from_str(last["record"]["body"].as_str().unwrap()).unwrap();
    !record["server_state"].is_null()
}

#[tokio::test(flavor = "multi_thread")]
async fn fednova_learns() {
    let kept = learns(json!({"kind": "plain"}), json!({"rule": "fed_nova"})).await;
    assert!(!kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn feddyn_learns_and_keeps_its_linear_term() {
    let kept =
        learns(json!({"kind": "fed_dyn", "alpha": 0.002}), json!({"server": {"fed_dyn": {"alpha": 0.002}}})).await;
    assert!(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn scaffold_learns_and_keeps_its_control_variate() {
    let kept = learns(json!({"kind": "scaffold"}), json!({"server": {"scaffold": {"learning_rate": 1.0}}})).await;
    assert!(kept);
}
