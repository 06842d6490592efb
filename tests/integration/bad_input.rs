//! What is broken, hostile or forbidden, at the real binaries: a code, a hint and an exit status; the good part goes on;
//! nothing is lost in silence.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use shared::Clock;
use shared::invariant::Invariant;
use shared_crypto::pki::CertificateAuthority;
use shared_ops::cli::Exit;
use shared_ops::clock::SystemClock;
use tempfile::TempDir;

use crate::process::{Said, until};
use crate::world::{Site, World};

/// Nobody listens there.
const NOWHERE: &str = "https://localhost:1";

fn lonely_site() -> (TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new(folder.path(), 0, NOWHERE);
    (folder, site)
}

fn event(id: &str, time: &str) -> String {
    json!({"event_id": id, "timestamp": time, "source": "db", "operation": "SELECT", "principal": "ada"}).to_string()
}

fn good(id: &str) -> String {
    event(id, "2026-01-01T00:00:00Z")
}

/// Nine lines: two good events, one of them twice, and seven that are no events, each with the code it deserves.
fn hostile() -> (Vec<u8>, Vec<(u64, &'static str)>) {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"event_id\":\"{}\"}}", "x".repeat(2_000_000));
    let cases: [(Vec<u8>, Option<&str>); 10] = [
        (good("a").into(), None),
        (b"{\"event_id\":".to_vec(), Some("event-malformed")),
        (deep.into(), Some("event-malformed")),
        (b"\xff\xfe\x00\x00".to_vec(), Some("event-malformed")),
        (event("b", "2999-01-01T00:00:00Z").into(), Some("event-in-future")),
        (event("c", "soon").into(), Some("event-bad-timestamp")),
        (good("a").into(), None),
        (long.into(), Some("record-too-long")),
        (good("").into(), Some("event-missing-field")),
        (good("d").into(), None),
    ];
    let rejected = (1..).zip(&cases).filter_map(|(line, (_, code))| Some((line, (*code)?))).collect();
    (cases.map(|(line, _)| line).join(&b'\n'), rejected)
}

/// Asserts that a command failed as it should: with a code, a hint and an exit status.
fn failed(said: &Said, code: &str, exit: Exit) {
    assert_eq!(said.error["code"], code, "{said:?}");
    assert!(said.error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{said:?}");
    assert_eq!(said.status, Some(i32::from(exit.code())), "{said:?}");
}

/// Lines and codes of the site's dead letters, each of which gives a reason.
fn letters(site: &Site) -> Vec<(u64, String)> {
    let text = std::fs::read_to_string(site.data().join("dead-letters.jsonl")).unwrap();
    let letter = |line: &str| {
        let letter: Value = serde_json::from_str(line).unwrap();
        assert!(!letter["reason"].as_str().unwrap().is_empty(), "{letter}");
        (letter["line"].as_u64().unwrap(), letter["code"].as_str().unwrap().to_owned())
    };
    text.lines().map(letter).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn hostile_lines_become_dead_letters_and_the_good_ones_are_stored() {
    let (_folder, site) = lonely_site();
    let (input, rejected) = hostile();
    let said = site.run_with(&["ingest", "-"], &input);
    assert_eq!(said.status, Some(0), "{said:?}");
    let counts = ["stored", "duplicates", "rejected"].map(|count| said.result[count].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 7], "{said:?}");
    assert_eq!(letters(&site), rejected.into_iter().map(|(line, code)| (line, code.to_owned())).collect::<Vec<_>>());
    assert_eq!(site.run(&["verify"]).status, Some(0));
    assert_eq!(site.run_with(&["ingest", "-"], &input).result["duplicates"], 3, "a second time changes nothing");
}

#[test]
fn of_a_truncated_gzip_what_stood_before_the_cut_is_stored() {
    let (folder, site) = lonely_site();
    let events: Vec<String> = (0..5000).map(|number| good(&format!("{number:x}"))).collect();
    let whole = gzip(events.join("\n").as_bytes());
    let file = folder.path().join("events.jsonl.gz");
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let said = site.run(&["ingest", file.to_str().unwrap()]);
    let stored = said.result["stored"].as_u64().unwrap();
    assert_eq!((said.status, &said.result["rejected"]), (Some(0), &json!(1)), "{said:?}");
    assert!((1..5000).contains(&stored), "{stored}");
    assert_eq!(letters(&site)[0].1, "input-truncated");
    std::fs::write(&file, &whole).unwrap();
    let said = site.run(&["ingest", file.to_str().unwrap()]);
    assert_eq!((&said.result["stored"], &said.result["duplicates"]), (&json!(5000 - stored), &json!(stored)));
}

#[test]
fn what_is_asked_wrongly_is_refused_before_anything_is_done() {
    let (_folder, site) = lonely_site();
    site.configure(NOWHERE, "[detection]\nresons = 3\n");
    let said = site.run(&["config", "validate"]);
    failed(&said, "config-field", Exit::Usage);
    let message = said.error["message"].as_str().unwrap();
    for part in ["ringfence-participant.toml", "line 18", "resons"] {
        assert!(message.contains(part), "`{part}`: {message}");
    }
    site.configure(NOWHERE, "");
    assert_eq!(site.run(&["config", "validate"]).status, Some(0));
    let said = site.run(&["ingest", "--as", "carrier-pigeon", "-"]);
    assert_eq!(said.status, Some(i32::from(Exit::Usage.code())), "{said:?}");
    assert!(
        said.text.contains("`carrier-pigeon` is not a format; known are event-json, pgaudit, cloudtrail"),
        "{said:?}"
    );
    failed(&site.run(&["ingest", "/nonexistent/events.jsonl"]), "collect-open", Exit::Failed);
}

#[test]
fn a_key_that_others_can_read_is_refused_by_name() {
    let (_folder, site) = lonely_site();
    assert_eq!(site.run_with(&["ingest", "-"], good("a").as_bytes()).result["stored"], 1);
    let key = site.data().join("keys/identity.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let said = site.run_with(&["ingest", "-"], good("b").as_bytes());
    failed(&said, "key-file-exposed", Exit::Failed);
    let message = said.error["message"].as_str().unwrap();
    assert!(message.contains(key.to_str().unwrap()) && message.contains("644"), "{message}");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(site.run_with(&["ingest", "-"], good("b").as_bytes()).result["stored"], 1, "nothing was half applied");
}

#[test]
fn a_coordinator_that_is_not_there_is_said_so() {
    let (_folder, site) = lonely_site();
    let hour = Duration::from_hours(1);
    let authority = CertificateAuthority::create("nobody", SystemClock.now(), hour).unwrap();
    let said = site.enrol("token", authority.certificate_pem());
    failed(&said, "wire-unreachable", Exit::Failed);
    assert!(!Path::new(&site.data().join("federation")).exists(), "nothing was half applied");
}

/// Waits until the participant says of its federation that it is, or is not, ready.
async fn federation_is(site: &Site, ready: bool) {
    let as_said = async || {
        let (status, report) = site.http().get("/health/readyz").await;
        (report["components"]["federation"] == json!(ready) && (status == 200) == ready).then_some(())
    };
    until(&format!("the federation to be ready: {ready}"), as_said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_starts_without_its_coordinator_says_so_and_finds_it_later() {
    let mut world = World::start();
    let mut site = world.site(2).await;
    world.kill();
    site.serve();
    federation_is(&site, false).await;
    world.restart();
    federation_is(&site, true).await;
    assert!(site.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_participant_is_shut_out_for_good_and_serves_on() {
    let world = World::start();
    let mut site = world.site(1).await;
    let (token, ca_pem) = world.token(&site.name).await;
    let said = world.operator(&["participant", "revoke", &site.name, "--reason", "left the federation"]);
    assert_eq!(said.result["state"], "revoked", "{said:?}");
    let said = site.enrol(&token, &ca_pem);
    failed(&said, "wire-refused", Exit::Failed);
    assert!(said.error["message"].as_str().unwrap().contains("`token-not-good`"), "{said:?}");

    site.serve();
    until("the log to say why", async || site.log().contains("`participant-revoked`").then_some(())).await;
    federation_is(&site, false).await;
    let (status, taken) = site.http().post_text("/api/v1/events", good("late").into()).await;
    assert_eq!((status, &taken["stored"]), (200, &json!(1)), "it serves on");
    assert!(site.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_participant_refuses_a_wrong_token_and_counts_what_it_rejects() {
    let (_folder, mut site) = lonely_site();
    site.serve();
    let (input, rejected) = hostile();
    for (token, code) in [("guess", "token-wrong"), ("", "token-missing")] {
        let refused = site.http().with_token(token).raw("/api/v1/ledger").await;
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["content-type"]),
            (401, &"application/problem+json".parse().unwrap())
        );
        let problem: Value = refused.json().await.unwrap();
        assert!(problem["code"] == code && problem["hint"].is_string(), "{problem}");
    }
    let (status, taken) = site.http().post_text("/api/v1/events", input).await;
    assert_eq!((status, &taken["stored"], &taken["rejected"]), (200, &json!(2), &json!(rejected.len())), "{taken}");
    let metrics = site.http().text("/metrics").await;
    for line in [
        "ringfence_events_rejected_total{code=\"event-malformed\"} 3",
        "ringfence_events_rejected_total{code=\"event-in-future\"} 1",
        "ringfence_events_rejected_total{code=\"record-too-long\"} 1",
        "ringfence_events_ingested_total{source=\"event-json\"} 2",
        "ringfence_events_duplicate_total{source=\"event-json\"} 1",
        "ringfence_http_unauthorized_total 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    for invariant in Invariant::ALL {
        let line = format!("ringfence_invariant_violations_total{{invariant=\"{}\"}} 0", invariant.as_str());
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(site.terminate());
}
