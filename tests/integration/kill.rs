//! Killed in mid-round and started again: the coordinator in every phase that waits for somebody, a participant at every
//! stage of its work. No acknowledged update is lost or counted twice (promise R1), and noise is paid for whenever it
//! may have been drawn (promise P1).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::audit::{AuditKind, AuditRecord};
use shared::release::RoundRecord;
use shared::update::UpdateReceipt;

use crate::process::until;
use crate::puppet::Puppet;
use crate::world::{Site, World, task};

const PARAMS: usize = participant::feature::WIDTH + 1;

/// Kills the coordinator, starts it again, and checks that the round stands where it stood.
async fn kill_and_compare(world: &mut World, round: u32, phase: &str) {
    let before = world.round(round).await;
    assert_eq!(before["phase"], phase, "{before}");
    world.kill();
    world.restart();
    assert_eq!(world.round(round).await, before);
    assert_eq!(world.task().await["round"], round);
}

/// The digests in the signed record of a committed round.
async fn accepted(world: &World, round: u32) -> Value {
    let committed = world.round_until(round, "committed", |view| view["phase"] == "committed").await;
    let record: RoundRecord = serde_json::from_str(committed["record"]["body"].as_str().unwrap()).unwrap();
    let payloads = record.accepted.into_iter().map(|(participant_id, update)| (participant_id, update.payload));
    json!(payloads.collect::<BTreeMap<_, _>>())
}

/// The receipt for the site's update in `round`, as its audit log keeps it.
async fn receipt(site: &Site, round: u32) -> UpdateReceipt {
    let records = site.audit().await.into_iter().map(|receipt| serde_json::from_str(&receipt.entry.body).unwrap());
    let rounds = records.filter(|record: &AuditRecord| record.kind == AuditKind::Round);
    let mut receipts = rounds.map(|record| serde_json::from_value::<UpdateReceipt>(record.content).unwrap());
    receipts.find(|receipt| receipt.round_id.number.0 == round).unwrap()
}

/// How often the site has paid for training in `round`.
async fn training_debits(site: &Site, round: u32) -> usize {
    let (_, ledger) = site.http().get("/api/v1/ledger").await;
    let purpose = format!("training round guard/{round}");
    ledger["debits"].as_array().map_or(0, |debits| debits.iter().filter(|debit| debit["purpose"] == *purpose).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_killed_in_every_phase_goes_on_with_the_same_round() {
    let mut world = World::start();
    let mut site = world.site(0).await;
    let puppet = Puppet::enrol(&world, "puppet", PARAMS).await;
    world.create_task(&task(&[&site.name, "puppet"], 2, 20)).await;

    for round in 1..=2 {
        world.round_until(round, "announced", |view| view["phase"] == "announced").await;
        if round == 1 {
            kill_and_compare(&mut world, round, "announced").await;
            site.serve();
        }
        world.round_until(round, "joined by the site", |view| view["joined"] == json!([site.name])).await;
        kill_and_compare(&mut world, round, "announced").await;

        puppet.join().await;
        let update = puppet.update(0.25).await;
        let delivered = |view: &Value| view["accepted"][&site.name]["payload"].is_string();
        let collecting = world.round_until(round, "holding the site's update", delivered).await;
        kill_and_compare(&mut world, round, "collecting").await;

        let acknowledged = puppet.deliver(&update).await;
        world.kill();
        world.restart();
        assert_eq!(puppet.deliver(&update).await, acknowledged, "the same update gets the same receipt");
        world.round_until(round, "aggregated", |view| view["phase"] == "aggregated").await;
        kill_and_compare(&mut world, round, "aggregated").await;

        puppet.evaluate().await;
        world.kill();
        world.restart();
        let expected = json!({&site.name: collecting["accepted"][&site.name]["payload"], "puppet": update.digest});
        assert_eq!(accepted(&world, round).await, expected);
        assert_eq!(json!(receipt(&site, round).await.payload), expected[&site.name]);
        assert_eq!(training_debits(&site, round).await, 1, "the site did not train twice");
    }
    let released = world.released().await;
    let serves =
        async || Some(site.http().get("/api/v1/release").await.1).filter(|release| release["release_id"] == released);
    until("the site to serve the release", serves).await;
    assert!(site.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_killed_in_mid_round_delivers_one_update_and_pays_for_at_most_one_more() {
    let world = World::start();
    let mut site = world.site(1).await;
    let puppet = Puppet::enrol(&world, "puppet", PARAMS).await;
    world.create_task(&task(&[&site.name, "puppet"], 1, 2000)).await;

    site.serve();
    world.round_until(1, "joined by the site", |view| view["joined"] == json!([site.name])).await;
    site.kill();
    assert_eq!(world.round(1).await["joined"], json!([site.name]), "who joined stays in the round");
    site.serve();
    puppet.join().await;
    let paid = async || (training_debits(&site, 1).await > 0).then_some(());
    until("the debit of the training", paid).await;
    site.kill();
    let while_training = world.round(1).await;
    assert_eq!(while_training["accepted"], json!({}), "killed before it delivered");

    site.serve();
    let delivered = |view: &Value| view["accepted"][&site.name]["payload"].is_string();
    let collecting = world.round_until(1, "holding the site's update", delivered).await;
    until("the receipt to be kept", async || (!site.audit().await.is_empty()).then_some(())).await;
    site.kill();
    site.serve();
    let update = puppet.update(0.25).await;
    puppet.deliver(&update).await;
    puppet.evaluate().await;
    let expected = json!({&site.name: collecting["accepted"][&site.name]["payload"], "puppet": update.digest});
    assert_eq!(accepted(&world, 1).await, expected);
    assert_eq!(json!(receipt(&site, 1).await.payload), expected[&site.name]);
    assert_eq!(training_debits(&site, 1).await, 2, "once before the kill, once for the update that was sent");
    world.released().await;
    assert!(site.terminate());
}
