//! The privacy ledger of real processes: killed at every stage of a round it never says less than the coordinator got
//! (promise P1), and put back from a backup it is found out before it spends again.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use shared::privacy::Mechanism;
use shared_ops::cli::Exit;
use shared_privacy::accountant::epsilon;

use crate::process::until;
use crate::puppet::Puppet;
use crate::world::{Site, World, task};

const PARAMS: usize = participant::feature::WIDTH + 1;
const ROUNDS: u32 = 3;
const STEPS: u32 = 400;

/// Where a participant is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// It has joined.
    Joined,
    /// It has paid for training, and trains or is about to send.
    Trained,
    /// The coordinator has its update; its receipt may be on its way.
    Delivered,
    /// It has paid for its counts.
    Evaluated,
}

/// How many of the ledger's debits are for `what` in this round.
fn debits(ledger: &Value, what: &str, round: u32) -> usize {
    let purpose = format!("{what} guard/{round}");
    ledger["debits"].as_array().map_or(0, |debits| debits.iter().filter(|debit| debit["purpose"] == *purpose).count())
}

/// Waits until the site has come to `moment` of `round`.
async fn come_to(moment: Moment, round: u32, world: &World, site: &Site) {
    let paid = async |what: &str| {
        let purpose = format!("the debit of {what} guard/{round}");
        let paid = async || (debits(&site.http().get("/api/v1/ledger").await.1, what, round) > 0).then_some(());
        until(&purpose, paid).await;
    };
    match moment {
        Moment::Joined => drop(world.round_until(round, "joined", |view| view["joined"][0] == site.name).await),
        Moment::Trained => paid("training round").await,
        Moment::Delivered => {
            let delivered = |view: &Value| view["accepted"][&site.name]["payload"].is_string();
            drop(world.round_until(round, "holding the update", delivered).await);
        }
        Moment::Evaluated => paid("evaluation of round").await,
    }
}

/// Compares the ledger of a site that does not run with what the coordinator has of it.
async fn never_under_reports(world: &World, site: &Site) {
    let verified = site.run(&["ledger", "verify"]);
    assert_eq!(verified.status, Some(0), "{verified:?}");
    let shown = site.run(&["ledger", "show"]);
    assert_eq!(shown.status, Some(0), "{shown:?}");
    let mut received = Vec::new();
    for round in 1..=ROUNDS {
        let view = world.round(round).await;
        let training = usize::from(view["accepted"][&site.name]["payload"].is_string());
        let evaluation = usize::from(view["evaluations"].get(&site.name).is_some());
        assert!(debits(&shown.result, "training round", round) >= training, "round {round}: {shown:?}");
        assert!(debits(&shown.result, "evaluation of round", round) >= evaluation, "round {round}: {shown:?}");
        received.extend(std::iter::repeat_n(training_cost(), training));
        received.extend(std::iter::repeat_n(Mechanism::ZeroConcentrated { rho: 0.01 }, evaluation));
    }
    let (spent, delta) = (&shown.result["spent"], 1e-5);
    assert_eq!(spent["delta"], delta);
    assert!(spent["epsilon"].as_f64().unwrap() >= epsilon(&received, delta).unwrap(), "{received:?}: {shown:?}");
}

/// What one round's update costs, by the task's recipe.
fn training_cost() -> Mechanism {
    let recipe = &task(&["a"], ROUNDS, STEPS)["recipe"];
    let number = |of: &str| recipe[of].as_f64().unwrap();
    Mechanism::SubsampledGaussian {
        noise_multiplier: number("noise_multiplier"),
        sampling_rate: number("sampling_rate"),
        steps: STEPS,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_participant_killed_between_debit_and_send_never_under_reports() {
    let world = World::start();
    let mut site = world.site(0).await;
    world.create_task(&task(&[&site.name], ROUNDS, STEPS)).await;
    let (mut kills, mut wasted) = (0, 0);
    for round in 1..=ROUNDS {
        for moment in [Moment::Joined, Moment::Trained, Moment::Delivered, Moment::Evaluated] {
            site.serve();
            come_to(moment, round, &world, &site).await;
            site.kill();
            kills += 1;
            never_under_reports(&world, &site).await;
        }
    }
    site.serve();
    world.released().await;
    let metrics = site.http().text("/metrics").await;
    assert!(site.terminate());
    let shown = site.run(&["ledger", "show"]);
    for (name, told) in [("spent", &shown.result["spent"]["epsilon"]), ("left", &shown.result["left"])] {
        let metric = format!("ringfence_privacy_epsilon_{name} ");
        let said: f64 = metrics.lines().find_map(|line| line.strip_prefix(&metric)).unwrap().parse().unwrap();
        assert!((said - told.as_f64().unwrap()).abs() < 1e-9, "{metric}: {said} and {told}");
    }
    for round in 1..=ROUNDS {
        let (training, evaluation) =
            (debits(&shown.result, "training round", round), debits(&shown.result, "evaluation of round", round));
        assert!((1..=2).contains(&training) && (1..=2).contains(&evaluation), "round {round}: {shown:?}");
        wasted += training + evaluation - 2;
    }
    never_under_reports(&world, &site).await;
    println!("{kills} kills cost {wasted} debits beside those of {ROUNDS} rounds");
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_site_put_back_from_a_backup_is_found_out_by_the_coordinator_and_spends_nothing_more() {
    let world = World::start();
    let mut site = world.site(0).await;
    let puppet = Puppet::enrol(&world, "puppet", PARAMS).await;
    let backup = site.data().with_extension("backup");
    copy(&site.data(), &backup);
    world.create_task(&task(&[&site.name, "puppet"], 2, 20)).await;
    site.serve();
    puppet.join().await;
    come_to(Moment::Delivered, 1, &world, &site).await;
    site.kill();
    let newest = site.run(&["ledger", "show"]).result["head"].clone();
    assert_eq!(newest["debits"], 1);

    copy(&backup, &site.data());
    let forgot = site.run(&["ledger", "show"]);
    assert_eq!(forgot.result["head"]["debits"], 0, "nothing at the site tells: {forgot:?}");
    let update = puppet.update(0.25).await;
    puppet.deliver(&update).await;
    site.serve();
    let given_up = async || site.log().contains("this site learns no more").then_some(());
    until("the site to be told that its ledger is old", given_up).await;
    assert!(site.log().contains("ledger-rolled-back"));
    assert!(site.terminate());
    assert_eq!(site.run(&["ledger", "show"]).result["head"]["debits"], 0, "nothing was spent");
    assert!(world.admin.text("/metrics").await.contains("ringfence_ledgers_rolled_back_total 1"));

    let dry = site.run(&["ledger", "adopt", "--at-least", "1", "--dry-run"]);
    assert_eq!((dry.status, site.run(&["ledger", "show"]).result["head"]["debits"].as_u64()), (Some(0), Some(0)));
    let adopted = site.run(&["ledger", "adopt", "--at-least", "1"]);
    assert_eq!(adopted.status, Some(0), "{adopted:?}");
    let shown = site.run(&["ledger", "show"]).result;
    assert_eq!((&shown["spent"]["epsilon"], &shown["left"]), (&Value::Null, &json!(0.0)));
    assert_eq!((&shown["head"]["debits"], &shown["debits"][0]["mechanism"]), (&json!(2), &Value::Null));
    assert_eq!(site.run(&["ledger", "verify"]).status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_counter_on_another_disk_tells_a_restored_site_before_it_asks_anybody() {
    let world = World::start();
    let mut site = world.site(0).await;
    let counter = site.data().with_extension("counter");
    site.configure(&world.address(), &format!("[privacy]\ncounter_file = '{}'\n", counter.display()));
    let backup = site.data().with_extension("backup");
    copy(&site.data(), &backup);
    world.create_task(&task(&[&site.name], 1, 20)).await;
    site.serve();
    world.released().await;
    assert!(site.terminate());
    let verified = site.run(&["ledger", "verify"]);
    assert_eq!(verified.result["debits"], 2, "{verified:?}");

    copy(&backup, &site.data());
    for command in [["ledger", "show"], ["ledger", "verify"], ["audit", "verify"]] {
        let refused = site.run(&command);
        assert_eq!(refused.error["code"], "ledger-rolled-back", "{refused:?}");
        assert_eq!(refused.status, Some(i32::from(Exit::Failed.code())), "{refused:?}");
    }
    assert_eq!(site.run(&["ledger", "adopt"]).status, Some(0));
    assert_eq!(site.run(&["ledger", "verify"]).result["debits"], 3);
    std::fs::remove_file(&counter).unwrap();
    assert_eq!(site.run(&["ledger", "show"]).error["code"], "ledger-counter-missing");
}
