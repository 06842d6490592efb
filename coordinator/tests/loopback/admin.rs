//! What the operator reaches over HTTP.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use coordinator::Running;
use serde_json::{Value, json};
use shared::ParamVector;
use shared_audit::{Receipt, verify_receipt};
use shared_crypto::PublicKey;

use crate::site::{PARAMS, enrol_with, serve, task_json};

/// The admin API as a client with the token sees it.
struct Admin {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Admin {
    fn new(running: &Running, folder: &Path) -> Self {
        let token = std::fs::read_to_string(folder.join("admin.token")).unwrap();
        Self { base: format!("http://{}", running.addresses.admin), token, http: reqwest::Client::new() }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reaches_everything_with_the_token_and_nothing_without() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    let admin = Admin::new(&running, folder.path());
    let stranger = Admin { token: "guess".to_owned(), ..Admin::new(&running, folder.path()) };
    for path in ["/api/v1/tasks", "/api/v1/participants", "/api/v1/releases", "/api/v1/audit/checkpoint"] {
        assert_eq!(stranger.get(path).await.0, 401, "{path}");
        assert_eq!(admin.get(path).await.0, 200, "{path}");
    }
    let (status, description) = stranger.get("/openapi.json").await;
    assert_eq!((status, description["paths"].as_object().unwrap().len()), (200, 12));
    assert!(stranger.get("/health/readyz").await.1["ready"].as_bool().unwrap());

    let (status, token) = admin.post("/api/v1/participants/tokens", &json!({"participant_id": "a"})).await;
    assert_eq!(status, 201);
    enrol_with(&running, "a", token["token"].as_str().unwrap()).await.unwrap();
    let (status, revoked) = admin.post("/api/v1/participants/a/revoke", &Value::Null).await;
    assert_eq!((status, revoked["revoked_at"].is_string()), (200, true));

    let initial = BASE64_STANDARD.encode(ParamVector::zeros(PARAMS).to_le_bytes());
    let body = json!({"task": task_json(&["a", "b"]), "initial_params": initial});
    assert_eq!(admin.post("/api/v1/tasks", &body).await.0, 201);
    let (status, problem) = admin.post("/api/v1/tasks", &body).await;
    assert_eq!((status, problem["code"].as_str().unwrap()), (409, "task-exists"));
    let mut deep = task_json(&["a", "b"]);
    deep["model"]["hidden"] = json!([4]);
    let (status, problem) = admin.post("/api/v1/tasks", &json!({"task": deep})).await;
    assert_eq!((status, problem["code"].as_str().unwrap()), (422, "task-no-initial-params"));
    let (status, problem) = admin.post("/api/v1/tasks", &json!({"task": {"task_id": "u"}})).await;
    assert_eq!((status, problem["code"].as_str().unwrap()), (422, "task-invalid"));
    let mut inexact = task_json(&["a", "b"]);
    inexact["task_id"] = json!("v");
    inexact["seed"] = json!(u64::MAX);
    assert_eq!(admin.post("/api/v1/tasks", &json!({"task": inexact})).await.0, 422);

    let (_, round) = admin.get("/api/v1/tasks/t/rounds/1").await;
    assert_eq!(round["phase"], "announced");
    assert_eq!(admin.get("/api/v1/tasks/t/rounds/2").await.0, 404);
    assert_eq!(admin.get("/api/v1/tasks/t/rounds").await.1.as_array().unwrap().len(), 1);
    let (status, task) = admin.post("/api/v1/tasks/t/cancel", &Value::Null).await;
    assert_eq!((status, task["state"].as_str().unwrap()), (200, "cancelled"));
    assert_eq!(admin.post("/api/v1/tasks/t/cancel", &Value::Null).await.0, 409);

    let (_, checkpoint) = admin.get("/api/v1/audit/checkpoint").await;
    let log_key: PublicKey = checkpoint["log_key"].as_str().unwrap().parse().unwrap();
    let size = checkpoint["size"].as_u64().unwrap();
    assert_eq!(size, 5, "token, enrolment, revocation, task, end");
    for index in 0..size {
        let (_, receipt) = admin.get(&format!("/api/v1/audit/receipts/{index}")).await;
        let receipt: Receipt = serde_json::from_value(receipt).unwrap();
        verify_receipt(&receipt, &log_key, checkpoint["origin"].as_str().unwrap()).unwrap();
    }
    assert_eq!(admin.get(&format!("/api/v1/audit/receipts/{size}")).await.0, 404);
    stop.cancel();
    running.ended().await.unwrap();
}
