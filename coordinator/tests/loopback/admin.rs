//! What the operator reaches over HTTP, from a task's creation to the release that replaces its release.

use std::time::Duration;

use coordinator::Running;
use reqwest::Method;
use serde_json::{Value, json};
use shared::release::{Promotion, Release, RoundRecord};
use shared::update::UpdateReceipt;
use shared::{Explain, ParamVector, ReleaseId};
use shared_audit::transcript::{Claim, Trust, verify};
use shared_audit::{Receipt, verify_receipt};
use shared_crypto::{PublicKey, bulk_digest, document_digest};
use shared_wire::Phase;
use tokio_util::sync::CancellationToken;

use crate::access::Admin;
use crate::site::{PARAMS, Site, enrol_with, id, serve, task_json};

/// A coordinator, its operator, and what ends it.
struct Federation {
    running: Running,
    stop: CancellationToken,
    admin: Admin,
    _folder: tempfile::TempDir,
}

impl Federation {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (running, stop) = serve(folder.path()).await;
        let admin = Admin::operator(&running, folder.path());
        Self { running, stop, admin, _folder: folder }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.ended().await.unwrap();
    }

    async fn put(&self, bytes: Vec<u8>) -> (u16, Value) {
        let request = self.admin.request(Method::PUT, "/api/v1/params");
        self.admin.send(request.header("content-type", "application/octet-stream").body(bytes)).await
    }

    async fn download(&self, path: &str) -> Vec<u8> {
        let response = self.admin.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let length = response.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap();
        let bytes = response.bytes().await.unwrap().to_vec();
        assert_eq!(bytes.len(), length);
        bytes
    }

    fn trust(&self) -> Trust {
        let (coordinator, operator) =
            (self.running.coordinator.coordinator_key(), self.running.coordinator.operator_key());
        Trust { coordinator, operator: Some(operator) }
    }

    /// A task of `rounds` rounds in which a and b send 1 and 3, and c sends 8; the receipts of the last round.
    async fn learn(&self, task: &Value, rounds: u32) -> Vec<shared::document::SignedDocument> {
        assert_eq!(self.admin.post("/api/v1/tasks", &json!({"task": task})).await.0, 201);
        let sites = ["a", "b", "c"].map(|name| Site::enrol(&self.running, name));
        let [a, b, c] = sites;
        let (a, b, c) = tokio::join!(a, b, c);
        let mut receipts = Vec::new();
        for _ in 0..rounds {
            a.until(Phase::Announced).await;
            tokio::join!(a.join(), b.join(), c.join());
            let delivered = tokio::join!(a.deliver(1.0), b.deliver(3.0), c.deliver(8.0));
            receipts = vec![delivered.0, delivered.1, delivered.2];
            tokio::join!(a.evaluate(), b.evaluate(), c.evaluate());
        }
        self.until_over().await;
        receipts
    }

    /// Follows the task to its end; the changes that the stream told.
    async fn until_over(&self) -> Vec<Value> {
        let request = self.admin.request(Method::GET, "/api/v1/tasks/t/watch");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let text = response.text().await.unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }
}

fn three(rounds: u32) -> Value {
    let mut task = task_json(&["a", "b", "c"]);
    task["rounds"] = json!(rounds);
    task
}

fn open<T: shared::document::Document>(key: PublicKey, document: &Value) -> T {
    key.open(&serde_json::from_value(document.clone()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_checked_created_paused_resumed_and_cancelled() {
    let federation = Federation::begin().await;
    let admin = &federation.admin;
    let task = task_json(&["a", "b"]);
    let (status, plan) = admin.post("/api/v1/tasks/validate", &json!({"task": task})).await;
    assert_eq!((status, &plan["params"], &plan["update_bytes"]), (200, &json!(PARAMS), &json!([PARAMS * 4])));
    assert_eq!((&plan["absent"], plan["warnings"].as_array().unwrap().len()), (&json!(["a", "b"]), 2));
    assert_eq!(admin.get("/api/v1/tasks").await.1["items"], json!([]), "nothing was stored");

    let initial = ParamVector::new(vec![0.5; PARAMS]).unwrap().to_le_bytes();
    let (status, params) = federation.put(initial.clone()).await;
    assert_eq!((status, &params["digest"]), (201, &json!(bulk_digest(&initial))));
    let (_, short) = federation.put(initial[4..].to_vec()).await;
    let body = |initial: &Value| json!({"task": task, "initial_params": initial});
    let (status, problem) = admin.post("/api/v1/tasks", &body(&short["digest"])).await;
    assert_eq!((status, &problem["code"]), (422, &json!("params-wrong-length")));
    let (status, problem) = admin.post("/api/v1/tasks", &body(&json!("0".repeat(64)))).await;
    assert_eq!((status, &problem["code"]), (404, &json!("params-unknown")));
    assert_eq!(admin.post("/api/v1/tasks", &body(&params["digest"])).await.0, 201);
    for path in ["/api/v1/tasks", "/api/v1/tasks/validate"] {
        let (status, problem) = admin.post(path, &body(&params["digest"])).await;
        assert_eq!((status, &problem["code"]), (409, &json!("task-exists")), "{path}");
    }
    let mut deep = task.clone();
    (deep["model"]["hidden"], deep["task_id"]) = (json!([4]), json!("deep"));
    let (status, problem) = admin.post("/api/v1/tasks", &json!({"task": deep})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("task-no-initial-params")));
    let (status, problem) = admin.post("/api/v1/tasks", &json!({"task": {"task_id": "u"}})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("task-invalid")));

    let (_, round) = admin.get("/api/v1/tasks/t/rounds/1").await;
    assert_eq!((&round["phase"], &round["checkpoint"]), (&json!("announced"), &params["digest"]));
    assert_eq!(admin.get("/api/v1/tasks/t/rounds/2").await.0, 404);
    assert_eq!(admin.get("/api/v1/tasks/t/rounds").await.1["items"].as_array().unwrap().len(), 1);
    for (order, state) in [("pause", "paused"), ("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")] {
        let (status, task) = admin.post(&format!("/api/v1/tasks/t/{order}"), &Value::Null).await;
        assert_eq!((status, &task["state"]), (200, &json!(state)), "{order}");
    }
    for order in ["pause", "resume", "cancel"] {
        let (status, problem) = admin.post(&format!("/api/v1/tasks/t/{order}"), &Value::Null).await;
        assert_eq!((status, &problem["code"]), (409, &json!("task-ended")), "{order}");
    }
    federation.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_the_round_as_it_is_then_each_change_and_the_end() {
    let federation = Federation::begin().await;
    assert_eq!(federation.admin.post("/api/v1/tasks", &json!({"task": task_json(&["a", "b"])})).await.0, 201);
    let a = Site::enrol(&federation.running, "a").await;
    let request = federation.admin.request(Method::GET, "/api/v1/tasks/t/watch");
    let mut stream = request.send().await.unwrap();
    let mut text = String::new();
    let mut until = async |wanted: &str| {
        while !text.contains(wanted) {
            let piece = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await.unwrap();
            text.push_str(std::str::from_utf8(&piece.unwrap().unwrap_or_else(|| panic!("no {wanted}"))).unwrap());
        }
    };
    until("event: round").await;
    until("\"phase\":\"announced\"").await;
    a.join().await;
    until("\"joined\":[\"a\"]").await;
    until(": heartbeat").await;
    assert_eq!(federation.admin.post("/api/v1/tasks/t/cancel", &Value::Null).await.0, 200);
    until("\"task_state\":\"cancelled\"").await;
    assert!(stream.chunk().await.unwrap().is_none(), "the stream ends with the task");
    federation.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_verified_offline_from_its_transcript_alone() {
    let federation = Federation::begin().await;
    let mut task = three(2);
    task["aggregation"] = json!({"rule": "mean", "pre": [],
        "server": {"fed_adam": {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 0.001}}});
    let receipts = federation.learn(&task, 2).await;
    let trust = federation.trust();
    let first = federation.download("/api/v1/tasks/t/rounds/1/transcript").await;
    assert_eq!(verify(first.as_slice(), &trust, None).unwrap().updates, 3);
    let second = federation.download("/api/v1/tasks/t/rounds/2/transcript").await;
    let verified = verify(second.as_slice(), &trust, Some(&Claim::Acknowledged(receipts[1].clone()))).unwrap();
    let own: UpdateReceipt = trust.coordinator.open(&receipts[1]).unwrap();
    assert_eq!((verified.evaluations, verified.included.unwrap().payload), (3, own.payload));
    let refused = verify(first.as_slice(), &trust, Some(&Claim::Acknowledged(receipts[1].clone()))).unwrap_err();
    assert_eq!(refused.code(), "transcript-differs", "the receipt is of the other round");
    // Somewhere in the middle of every section: the header, the content, the padding.
    for at in (0..second.len()).step_by(second.len() / 60) {
        let mut changed = second.clone();
        changed[at] ^= 0x40;
        assert!(verify(changed.as_slice(), &trust, None).is_err(), "byte {at}");
    }
    let (status, problem) = federation.admin.get("/api/v1/tasks/t/rounds/3/transcript").await;
    assert_eq!((status, &problem["code"]), (404, &json!("round-unknown")));
    federation.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_recomputed_without_a_site_then_promoted_and_rolled_back() {
    let federation = Federation::begin().await;
    let admin = &federation.admin;
    federation.learn(&three(2), 2).await;
    let (_, releases) = admin.get("/api/v1/releases").await;
    let first = releases["items"][0]["release_id"].as_str().unwrap().to_owned();
    assert_eq!((&releases["items"][0]["state"], &releases["next"]), (&json!("promoted"), &Value::Null));
    let path = |release: &str, what: &str| format!("/api/v1/releases/{release}{what}");
    let params = federation.download(&path(&first, "/params")).await;
    assert_eq!(ParamVector::from_le_bytes(&params, PARAMS).unwrap().as_slice()[7], 8.0, "twice the mean of 1, 3, 8");

    let without = |names: &[&str], dry_run: bool| json!({"without": names, "dry_run": dry_run});
    let recompute = path(&first, "/recompute");
    let (status, plan) = admin.post(&recompute, &without(&["c"], true)).await;
    assert_eq!((status, &plan["release_id"], &plan["rounds"]), (200, &Value::Null, &json!([1, 2])));
    for (names, code) in [(vec!["x"], "recompute-nothing-to-leave-out"), (vec!["b", "c"], "recompute-no-quorum")] {
        let (status, problem) = admin.post(&recompute, &without(&names, false)).await;
        assert_eq!((status, &problem["code"]), (409, &json!(code)));
    }
    let (status, recomputed) = admin.post(&recompute, &without(&["c"], false)).await;
    assert_eq!((status, &recomputed["from_before"], &recomputed["left_out"]), (201, &json!(true), &json!(["c"])));
    let second = recomputed["release_id"].as_str().unwrap().to_owned();
    let params = federation.download(&path(&second, "/params")).await;
    assert_eq!(ParamVector::from_le_bytes(&params, PARAMS).unwrap().as_slice()[7], 4.0, "twice the mean of 1 and 3");

    let (_, view) = admin.get(&path(&second, "")).await;
    let release: Release = open(federation.trust().coordinator, &view["release"]);
    let record: RoundRecord = open(federation.trust().coordinator, &view["round_record"]);
    assert_eq!((&view["state"], release.replaces.unwrap().as_str()), (&json!("published"), first.as_str()));
    assert_eq!((release.params, record.tally.sites), (bulk_digest(&params), 0), "nobody evaluated it");
    assert!(!record.accepted.contains_key(&id("c")) && record.recomputed.unwrap().left_out.contains(&id("c")));

    for round in [1, 2] {
        let transcript = federation.download(&path(&second, &format!("/rounds/{round}/transcript"))).await;
        let verified = verify(transcript.as_slice(), &federation.trust(), None).unwrap();
        assert_eq!((verified.updates, verified.evaluations), (2, 0));
        assert_eq!(verified.candidate == release.params, round == 2);
    }
    let (status, problem) = admin.get(&path(&first, "/rounds/1/transcript")).await;
    assert_eq!((status, &problem["code"]), (404, &json!("release-not-recomputed")));

    let (_, promoted) = admin.post(&path(&second, "/promote"), &Value::Null).await;
    let word: Promotion = open(federation.running.coordinator.operator_key(), &promoted["promotion"]);
    assert_eq!((&promoted["state"], word.number, word.release_id.as_str()), (&json!("promoted"), 2, second.as_str()));
    assert_eq!(admin.get(&path(&first, "")).await.1["state"], "superseded");
    let (status, problem) = admin.post(&path(&second, "/promote"), &Value::Null).await;
    assert_eq!((status, &problem["code"]), (409, &json!("release-already-latest")));
    let (_, latest) = admin.post(&path("rollback", ""), &Value::Null).await;
    assert_eq!((&latest["release_id"], &latest["state"]), (&json!(first), &json!("promoted")));
    assert_eq!(admin.get(&path(&second, "")).await.1["state"], "rolled_back");
    assert_eq!(admin.get(&path("latest", "")).await.1["release_id"], json!(first));
    each_participant_is_told_the_operators_last_word(&federation, &first, &second).await;
    let (status, problem) = admin.post(&path("rollback", ""), &Value::Null).await;
    assert_eq!((status, &problem["code"]), (409, &json!("release-nothing-before")));
    federation.end().await;
}

/// After `second` was promoted and rolled back to `first`.
async fn each_participant_is_told_the_operators_last_word(federation: &Federation, first: &str, second: &str) {
    let site = Site::enrol(&federation.running, "d").await.client;
    let latest = site.latest_release(None).await.unwrap().unwrap();
    let document = latest.promotion.clone().unwrap();
    let word: Promotion = federation.running.coordinator.operator_key().open(&document).unwrap();
    assert_eq!((word.number, word.release_id.as_str()), (3, first));
    assert_eq!(word.rolled_back.unwrap().as_str(), second);
    assert_eq!(word.release, document_digest(&latest.release));
    assert_eq!(site.latest_release(Some(document_digest(&document))).await.unwrap(), None, "it is known");
    let named = async |name: &str| site.release(&ReleaseId::new(name).unwrap()).await.unwrap();
    assert_eq!(named(first).await, latest);
    assert_eq!(named(second).await.promotion, None, "it is not the latest any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_bounds_what_a_task_costs_and_the_matrix_has_a_cell_for_each_site() {
    let federation = Federation::begin().await;
    let admin = &federation.admin;
    let mut task = three(1);
    task["recipe"]["noise_multiplier"] = json!(1.0);
    federation.learn(&task, 1).await;
    let (_, ledger) = admin.get("/api/v1/tasks/t/ledger?limit=2").await;
    let entry = &ledger["items"][0];
    assert_eq!((ledger["items"].as_array().unwrap().len(), &ledger["next"]), (2, &json!("b")));
    assert_eq!(
        (&entry["rounds_started"], &entry["rounds_accepted"], &entry["authority"]),
        (&json!(1), &json!(1), &json!("site"))
    );
    let spent = entry["spent"]["epsilon"].as_f64().unwrap();
    assert!(spent > 0.0 && spent <= entry["ceiling"]["epsilon"].as_f64().unwrap(), "{entry}");

    let (_, matrix) = admin.get("/api/v1/tasks/t/evaluations").await;
    let candidate = &matrix["items"][0];
    assert!(candidate["release_id"].is_string() && candidate["sites"].as_array().unwrap().len() == 3, "{candidate}");
    for site in candidate["sites"].as_array().unwrap() {
        assert_eq!((&site["true_positive_rate"], &site["false_positive_rate"]), (&json!(0.9), &json!(0.01)));
        assert!(site["document"]["signature"].is_string());
    }
    federation.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_of_the_audit_log_comes_with_a_proof() {
    let federation = Federation::begin().await;
    let admin = &federation.admin;
    let (status, token) = admin.post("/api/v1/enrolment/tokens", &json!({"participant_id": "a"})).await;
    assert_eq!(status, 201);
    enrol_with(&federation.running, "a", token["token"].as_str().unwrap()).await.unwrap();
    let (_, checkpoint) = admin.get("/api/v1/audit/checkpoint").await;
    let log_key: PublicKey = checkpoint["log_key"].as_str().unwrap().parse().unwrap();
    let size = checkpoint["size"].as_u64().unwrap();
    assert!(size >= 2, "the token and the enrolment");
    for index in 0..size {
        let (_, receipt) = admin.get(&format!("/api/v1/audit/receipts/{index}")).await;
        let receipt: Receipt = serde_json::from_value(receipt).unwrap();
        verify_receipt(&receipt, &log_key, checkpoint["origin"].as_str().unwrap()).unwrap();
    }
    assert_eq!(admin.get(&format!("/api/v1/audit/receipts/{}", size + 100)).await.0, 404);
    federation.end().await;
}
