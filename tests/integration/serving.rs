//! A participant that serves, from the outside: probes, events in, detections, release, ledger and receipts out, and a
//! containment that survives a restart and is given back.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use policy_as_code::actuator::embedded::{AccountStatus, EmbeddedAccounts, ThrottleLimits};
use serde_json::{Value, json};
use shared::audit::{AuditKind, AuditRecord};
use shared::release::Promotion;
use shared::{AssetId, ReleaseId};
use shared_audit::{Checkpoint, verify_receipt};
use shared_crypto::{PublicKey, SigningKey, TokenKey};
use shared_ops::clock::SystemClock;
use shared_store::SledStore;

use crate::bundle;
use crate::process::{binary, say, until};
use crate::world::{Site, World, task};

const ROUNDS: u32 = 2;
const CONNECTIONS: u32 = 10;

/// Everything that a participant answers below `/api`.
const ROUTES: [&str; 14] = [
    "get /api/v1/audit/checkpoint",
    "get /api/v1/audit/key",
    "get /api/v1/audit/receipts/{index}",
    "get /api/v1/detections",
    "get /api/v1/kill-switch",
    "get /api/v1/ledger",
    "get /api/v1/release",
    "get /api/v1/runs",
    "get /api/v1/runs/{run_id}",
    "post /api/v1/events",
    "post /api/v1/kill-switch",
    "post /api/v1/release/rollback",
    "post /api/v1/runs/{run_id}/approvals",
    "post /api/v1/runs/{run_id}/rollback",
];

/// A site that serves a release which it learnt alone, and that release's id.
async fn serving(world: &World, number: u8) -> (Site, ReleaseId) {
    let mut site = world.site(number).await;
    world.create_task(&task(&[&site.name], ROUNDS, 800)).await;
    site.serve();
    let released = ReleaseId::new(world.released().await).unwrap();
    until_serving(&site, |release_id| *release_id == json!(released)).await;
    (site, released)
}

/// Waits until the site serves a release that is `wanted`, and gives its id.
async fn until_serving(site: &Site, wanted: impl Fn(&Value) -> bool) -> Value {
    let serves = async || Some(site.http().get("/api/v1/release").await.1["release_id"].clone()).filter(&wanted);
    until("the site to serve the release", serves).await
}

/// The configuration of a response on `target`, for these accounts.
fn response(target: &str, principals: &BTreeSet<String>) -> String {
    let mut text =
        format!("[detection]\nmax_false_positive_rate_bp = 100\n[response]\ntarget = {{ kind = '{target}' }}\n");
    for (principal, number) in principals.iter().zip(1..) {
        text += &format!(
            "[[response.accounts]]\nprincipal = '{principal}'\npeer_group = 'accounts'\npeers = 20\nasset = {{ asset_id = \
             'account-{number}', criticality = 'standard', environment = 'production', owner = 'data', tags = {{}} }}\n"
        );
    }
    text
}

/// The key that checks the site's log. Its public half is all that a verifier needs.
fn log_key(site: &Site) -> PublicKey {
    SigningKey::load_or_create(&site.data().join("keys/audit.key")).unwrap().public()
}

/// Verifies the whole log offline, receipt by receipt; how many records of each kind it holds.
async fn verified_log(site: &Site) -> BTreeMap<String, usize> {
    let (key, origin) = (log_key(site), format!("ringfence.participant/{}", site.name));
    let receipts = site.audit().await;
    let checkpoint = site.http().text("/api/v1/audit/checkpoint").await;
    let size = Checkpoint::open(&checkpoint, &origin, &key).unwrap().size;
    assert_eq!(size, u64::try_from(receipts.len()).unwrap());
    let mut kinds = BTreeMap::new();
    for mut receipt in receipts {
        verify_receipt(&receipt, &key, &origin).unwrap();
        let record: AuditRecord = serde_json::from_str(&receipt.entry.body).unwrap();
        let kind: AuditKind = record.kind;
        *kinds.entry(json!(kind).as_str().unwrap().to_owned()).or_default() += 1;
        receipt.entry.body = receipt.entry.body.replace("20", "21");
        verify_receipt(&receipt, &key, &origin).unwrap_err();
    }
    kinds
}

/// The runs that still hold something.
async fn open_runs(site: &Site) -> Vec<Value> {
    let (_, open) = site.http().get("/api/v1/runs").await;
    let mut runs = Vec::new();
    for run_id in open.as_array().unwrap() {
        runs.push(site.http().get(&format!("/api/v1/runs/{}", run_id.as_str().unwrap())).await.1);
    }
    runs
}

/// A run that really did something: its first step is in force, and was probed. Where the model, which learnt under noise,
/// is not sure enough to act by itself, a person approves the step.
async fn run_in_force(site: &Site) -> Value {
    let approval = json!({"step": 1, "responder": "ada", "on_call": true});
    for run in open_runs(site).await.iter().filter(|run| run["steps"][0]["phase"]["phase"] == "awaiting_approval") {
        let path = format!("/api/v1/runs/{}/approvals", run["plan"]["run_id"].as_str().unwrap());
        let (status, answer) = site.http().post(&path, &approval).await;
        assert_eq!(status, 200, "{answer}");
    }
    let runs = open_runs(site).await;
    let found = runs.iter().find(|run| run["steps"][0]["phase"]["phase"] == "verified");
    found.unwrap_or_else(|| panic!("no run is in force: {runs:?}")).clone()
}

/// Has a person give back every open run, and checks that none holds anything any more.
async fn roll_back_all(site: &Site) {
    for run in open_runs(site).await {
        let path = format!("/api/v1/runs/{}/rollback", run["plan"]["run_id"].as_str().unwrap());
        let (status, undone) = site.http().post(&path, &json!({"responder": "ada"})).await;
        assert_eq!((status, &undone["status"]["outcome"]["outcome"]), (200, &json!("rolled_back")), "{undone}");
        assert_eq!(site.http().post(&path, &json!({"responder": "ada"})).await.0, 409, "nothing is left to undo");
    }
    assert_eq!(site.http().get("/api/v1/runs").await, (200, json!([])));
}

/// The embedded account store of a site that does not run.
fn accounts(site: &Site) -> EmbeddedAccounts {
    let store = Arc::new(SledStore::open(site.data().join("store")).unwrap());
    let key = TokenKey::load_or_create(&site.data().join("keys/token.key")).unwrap();
    EmbeddedAccounts::new(store, Arc::new(SystemClock), key, ThrottleLimits::default())
}

/// Accounts `account-1` to `account-N`, as [`response`] lists them.
fn create_accounts(site: &Site, count: usize) {
    let accounts = accounts(site);
    for number in 1..=count {
        let name = AssetId::new(format!("account-{number}")).unwrap();
        accounts.create(&name, "correct horse", CONNECTIONS).unwrap();
    }
}

/// How the account that a run contains stands.
fn status(site: &Site, run: &Value) -> AccountStatus {
    let name = AssetId::new(run["plan"]["subject"]["asset"]["asset_id"].as_str().unwrap()).unwrap();
    accounts(site).status(&name).unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_answers_what_its_description_lists_and_nothing_without_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::new(folder.path(), 4, "https://localhost:1");
    site.serve();
    let http = site.http();
    let (status, description) = http.with_token("").get("/openapi.json").await;
    assert_eq!(status, 200);
    let paths = description["paths"].as_object().unwrap().iter();
    let routes = paths
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}")));
    assert_eq!(routes.collect::<BTreeSet<_>>(), ROUTES.map(str::to_owned).into());

    for route in ROUTES {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{index}", "0").replace("{run_id}", "run-1");
        let ask = async |http: &crate::world::Http| match method {
            "get" => http.get(&path).await.0,
            _ => http.post(&path, &json!({})).await.0,
        };
        assert_eq!(ask(&http.with_token("guess")).await, 401, "{route}");
        assert!(![0, 401, 405, 500].contains(&ask(&http).await), "{route}");
    }
    let (status, problem) = http.get("/nowhere").await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("request-not-found")));
    assert_eq!(http.with_token("").text("/health/livez").await, "alive\n");
    let (status, ready) = http.with_token("").get("/health/readyz").await;
    assert_eq!((status, &ready["components"]["lake"]), (200, &json!(true)));
    assert!(site.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_scores_contains_and_gives_back_and_its_log_proves_it() {
    let world = World::start();
    let (mut site, released) = serving(&world, 0).await;
    let ([first, second], attackers) = site.attack();
    assert!(site.terminate());

    site.configure(&world.address(), &response("dry_run", &attackers));
    site.serve();
    assert_eq!(site.http().get("/api/v1/release").await.1["release_id"], json!(released), "the release is kept");
    let (_, taken) = site.http().post_text("/api/v1/events", first.clone()).await;
    assert!(!taken["detections"].as_array().unwrap().is_empty(), "{taken}");
    let (_, again) = site.http().post_text("/api/v1/events", first).await;
    assert_eq!((&again["stored"], &again["duplicates"]), (&json!(0), &taken["stored"]));
    let (_, kept) = site.http().get("/api/v1/detections").await;
    assert_eq!(kept.as_array().map(Vec::len), taken["detections"].as_array().map(Vec::len));
    run_in_force(&site).await;
    roll_back_all(&site).await;
    turn_kill_switch(&site).await;
    assert!(site.terminate());

    create_accounts(&site, attackers.len());
    site.configure(&world.address(), &response("embedded", &attackers));
    site.serve();
    let (status_code, taken) = site.http().post_text("/api/v1/events", second).await;
    assert_eq!(status_code, 200, "{taken}");
    let run = run_in_force(&site).await;
    site.kill();
    let contained = status(&site, &run);
    assert!(contained.connections < CONNECTIONS && contained.queries_per_minute.is_some(), "{contained:?}");
    site.serve();
    assert!(open_runs(&site).await.contains(&run), "a restart forgets nothing that holds");
    roll_back_all(&site).await;

    let (_, ledger) = site.http().get("/api/v1/ledger").await;
    let debits = ledger["debits"].as_array().unwrap().len();
    assert_eq!(debits, usize::try_from(ROUNDS).unwrap() * 2, "training and evaluation in every round");
    assert!(ledger["spent"]["epsilon"].as_f64().unwrap() > 0.0);
    let kinds = verified_log(&site).await;
    for (kind, least) in [("task", 1), ("debit", debits), ("round", 2), ("release", 1), ("detection", 2)] {
        assert!(kinds.get(kind).is_some_and(|found| *found >= least), "{kind}: {kinds:?}");
    }
    for kind in ["bundle", "decision", "intent", "outcome", "rollback"] {
        assert!(kinds.contains_key(kind), "{kind}: {kinds:?}");
    }
    assert!(site.terminate());
    let free = status(&site, &run);
    assert_eq!((free.connections, free.enabled, free.queries_per_minute), (CONNECTIONS, true, None));
    for command in [&["audit", "verify"][..], &["verify"], &["ledger", "show"]] {
        let said = site.run(command);
        assert_eq!(said.status, Some(0), "{said:?}");
    }
    replays_as_recorded(&site);
}

/// Has a person stop all automation and let it go on again.
async fn turn_kill_switch(site: &Site) {
    const PATH: &str = "/api/v1/kill-switch";
    let turn = async |on: bool| site.http().post(PATH, &json!({"on": on, "responder": "ada"})).await;
    assert_eq!(site.http().get(PATH).await, (200, Value::Null));
    assert_eq!(turn(true).await.1["by"], json!("ada"));
    assert_eq!(site.http().get(PATH).await.1["by"], json!("ada"));
    assert_eq!(turn(false).await, (200, Value::Null));
}

/// What the site decided by its policies is decided again as its log tells it.
fn replays_as_recorded(site: &Site) {
    let exported = site.run(&["audit", "export", "--kind", "decision", "--kind", "rollback"]);
    let policies = site.policies().display().to_string();
    let mut command = Command::new(binary("ringfence-policy"));
    command.args(["--format", "json", "replay", &policies, &policies, "--decisions", "-"]);
    let said = say(&mut command, exported.text.as_bytes());
    assert!(said.result["decisions"].as_u64().is_some_and(|decisions| decisions > 0), "{said:?}");
    assert_eq!(said.result["unreproduced"]["decisions"], json!(0), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_goes_over_to_a_newer_bundle_and_to_no_other() {
    const VERSION: &str = "ringfence_policy_bundle_version";
    const STRICTER: &str =
        "@id(\"stricter\")\nforbid (principal, action, resource)\nwhen { context.blast_radius > 0 };\n";
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::new(folder.path(), 0, "https://127.0.0.1:9");
    site.serve();
    let refused = async |site: &Site| {
        let text = site.http().text("/metrics").await;
        let count = text.lines().find_map(|line| line.strip_prefix("ringfence_policy_bundles_refused_total "));
        count.map_or(0, |count| count.parse::<u32>().unwrap())
    };
    let serves = async |site: &Site, line: &str| {
        let told = async || site.http().text("/metrics").await.lines().any(|told| told == line).then_some(());
        until(line, told).await;
    };
    serves(&site, &format!("{VERSION} 1")).await;
    bundle::put(&site.policies(), 2, &[("policies/40-today.cedar", STRICTER)]);
    serves(&site, &format!("{VERSION} 2")).await;
    let before = refused(&site).await;
    std::fs::write(site.policies().join("policies/20-people.cedar"), "permit (principal, action, resource);").unwrap();
    until("the changed file to be refused", async || (refused(&site).await > before).then_some(())).await;
    serves(&site, &format!("{VERSION} 2")).await;
    site.kill();
    std::fs::remove_dir_all(site.policies()).unwrap();
    site.serve();
    serves(&site, &format!("{VERSION} 2")).await;
    assert!(site.terminate());
    let records = site.run(&["audit", "export", "--kind", "bundle"]);
    let told = |what: &str| records.text.contains(what);
    assert!(told("\"loaded\":1") && told("\"loaded\":2") && told("\"refused\":\"bundle-content\""), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_goes_forward_and_back_with_the_operators_word_and_back_by_itself() {
    let world = World::start();
    let (mut site, first) = serving(&world, 1).await;
    let mut again = task(&[&site.name], ROUNDS, 200);
    again["task_id"] = json!("guard-2");
    world.create_task(&again).await;
    let second = until_serving(&site, |release_id| release_id.is_string() && *release_id != json!(first)).await;

    let order = |arguments: &[&str]| assert_eq!(world.operator(arguments).status, Some(0), "{arguments:?}");
    order(&["release", "rollback"]);
    until_serving(&site, |release_id| *release_id == json!(first)).await;
    let (status, problem) = site.http().post("/api/v1/release/rollback", &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("release-nothing-before")), "the operator went back from it");
    site.kill();
    site.serve();
    assert_eq!(site.http().get("/api/v1/release").await.1["release_id"], json!(first));

    order(&["release", "promote", second.as_str().unwrap()]);
    until_serving(&site, |release_id| *release_id == second).await;
    let (status, release) = site.http().post("/api/v1/release/rollback", &json!({})).await;
    assert_eq!((status, &release["release_id"]), (200, &json!(first)));
    let words = site.audit().await.into_iter().filter_map(|receipt| {
        let record: AuditRecord = serde_json::from_str(&receipt.entry.body).unwrap();
        (record.kind == AuditKind::Release).then(|| record.content["promotion"].clone())
    });
    let numbers = words.map(|word| {
        let word: Option<Promotion> = word["body"].as_str().map(|body| serde_json::from_str(body).unwrap());
        word.map(|word| (word.number, word.rolled_back.is_some()))
    });
    let expected = [Some((1, false)), Some((2, false)), Some((3, true)), Some((4, false)), None];
    assert_eq!(numbers.collect::<Vec<_>>(), expected, "the last one was the site's own");
}
