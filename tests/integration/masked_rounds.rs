//! Masked rounds with real training by real processes: the coordinator learns the sum and nothing else, whoever drops out
//! in the middle, and a release serves once enough sites have checked it themselves.

use serde_json::{Value, json};
use shared::release::RoundRecord;
use shared::round::Tally;

use crate::process::until;
use crate::world::{Site, World, task};

/// A masked task for `sites` of which `quorum` must deliver, and which asks this of updates that nobody sees.
fn masked(sites: &[Site], quorum: usize, (rounds, steps): (u32, u32), assurance: &Value) -> Value {
    let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
    let mut wanted = task(&names, rounds, steps);
    wanted["quorum"] = json!(quorum);
    wanted["secure_aggregation"] = json!({"clip_norm": 20.0, "assurance": assurance});
    wanted
}

fn record(round: &Value) -> RoundRecord {
    serde_json::from_str(round["record"]["body"].as_str().unwrap()).unwrap()
}

/// Waits until a site serves the release.
async fn serves(site: &Site, release_id: &str) {
    let serves = async || (site.http().get("/api/v1/release").await.1["release_id"] == release_id).then_some(());
    until(&format!("{} to serve", site.name), serves).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_sites_learn_and_prove_what_they_send_and_every_round_is_checked_from_its_sum() {
    let world = World::start();
    let mut sites = [world.site(1).await, world.site(2).await, world.site(3).await];
    world.create_task(&masked(&sites, 3, (2, 200), &json!({"kind": "norm_proofs"}))).await;
    sites.iter_mut().for_each(Site::serve);
    let release_id = world.released().await;
    for site in &sites {
        serves(site, &release_id).await;
    }

    let last = world.round(2).await;
    let tally: Tally = serde_json::from_value(last["tally"].clone()).unwrap();
    assert!(tally.true_positives > 40 && tally.false_positives < 200, "{tally:?}");
    assert_eq!(record(&last).accepted.len(), 3);
    assert!(sites.iter_mut().all(Site::terminate));
    for round in [1, 2] {
        let file = world.transcript(round);
        let said = sites[0].run(&["round", "verify", file.to_str().unwrap()]);
        assert_eq!(said.status, Some(0), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_killed_after_it_joined_drops_out_and_the_sum_is_that_of_the_others() {
    let world = World::start();
    let mut sites = Vec::new();
    for number in 1..=4 {
        sites.push(world.site(number).await);
    }
    // Trains so long that there is time to kill it, and the others are waited for.
    world.create_task(&masked(&sites, 3, (1, 2_000), &json!({"kind": "openings", "sites": 1}))).await;
    sites.iter_mut().for_each(Site::serve);
    world.round_until(1, "collecting", |view| view["phase"] == "collecting").await;
    sites[3].kill();
    let release_id = world.released().await;
    for site in &sites[..3] {
        serves(site, &release_id).await;
    }
    let round = world.round(1).await;
    let accepted: Vec<String> = record(&round).accepted.keys().map(ToString::to_string).collect();
    assert_eq!(accepted, sites[..3].iter().map(|site| site.name.clone()).collect::<Vec<_>>());
    assert!(sites[..3].iter_mut().all(Site::terminate));
    let file = world.transcript(1);
    let said = sites[0].run(&["round", "verify", file.to_str().unwrap()]);
    assert_eq!(said.status, Some(0), "{said:?}");
}
