//! Who reaches what over HTTP: tokens, roles, idempotency keys, and the one form of every refusal.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use coordinator::config::{AdminToken, Role};
use coordinator::{Running, start};
use policy_as_code::bundle::{Bundle, Source, certificate};
use policy_as_code::prove::{ProofCertificate, Subject};
use policy_as_code::repository::Repository;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::audit::AuditRecord;
use shared::document::SignedDocument;
use shared::{Explain, Timestamp};
use shared_audit::Receipt;
use shared_crypto::SigningKey;
use shared_ops::clock::SystemClock;
use tokio_util::sync::CancellationToken;

use crate::site::config;

/// The admin API as the bearer of a token sees it.
pub(crate) struct Admin {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Admin {
    pub(crate) fn operator(running: &Running, folder: &Path) -> Self {
        Self::bearing(running, &folder.join("admin.token"))
    }

    fn bearing(running: &Running, token: &Path) -> Self {
        let base = format!("http://{}", running.addresses.admin);
        Self { base, token: std::fs::read_to_string(token).unwrap(), http: reqwest::Client::new() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let status = response.status();
        if !status.is_success() {
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
        (status.as_u16(), serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.request(Method::POST, path).json(body)).await
    }
}

/// A coordinator with a token for each role, in files called after them.
async fn serve(folder: &Path) -> (Running, CancellationToken) {
    let mut config = config(folder);
    let token = |(name, role): (&str, Role)| AdminToken { name: name.to_owned(), role, file: None };
    config.limits.admin_body_bytes = 1_000_000;
    config.admin.tokens = [("vera", Role::Viewer), ("audra", Role::Auditor)].map(token).to_vec();
    let stop = CancellationToken::new();
    (start(config, Arc::new(SystemClock), stop.clone()).await.unwrap(), stop)
}

/// Every operation of the API, with the roles that are let through to it.
async fn measured(running: &Running, folder: &Path) -> String {
    let bearers = [("viewer", "tokens/vera.token"), ("auditor", "tokens/audra.token"), ("operator", "admin.token")];
    let admin = Admin::operator(running, folder);
    let (_, description) = admin.get("/openapi.json").await;
    let paths: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_value(description["paths"].clone()).unwrap();
    let mut table = String::new();
    for (path, methods) in &paths {
        for method in methods.keys().map(|method| method.to_uppercase()) {
            write!(table, "{method} {path}").unwrap();
            for (role, token) in bearers {
                let bearer = Admin::bearing(running, &folder.join(token));
                let concrete = path.replace("{round}", "1").replace("{index}", "0").replace(['{', '}'], "");
                let request = bearer.request(method.parse().unwrap(), &concrete).json(&json!({"nothing": "good"}));
                let response = request.send().await.unwrap();
                if response.status() != 403 {
                    write!(table, " {role}").unwrap();
                }
            }
            table.push('\n');
        }
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_reaches_what_the_table_says_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    let table = measured(&running, folder.path()).await;
    assert_eq!(table, include_str!("rights.txt"), "the whole table is now:\n{table}");
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    let admin = Admin::operator(&running, folder.path());
    let viewer = Admin::bearing(&running, &folder.path().join("tokens/vera.token"));
    let stranger = Admin { token: "guess".to_owned(), ..Admin::operator(&running, folder.path()) };
    let revoke = "/api/v1/participants/a/revoke";
    let post = |path: &str| admin.request(Method::POST, path).header("content-type", "application/json");
    let cases = [
        (stranger.request(Method::GET, "/api/v1/tasks"), 401, "token-wrong"),
        (viewer.request(Method::POST, revoke), 403, "policy-refused"),
        (admin.request(Method::PUT, "/api/v1/tasks"), 405, "request-method"),
        (admin.request(Method::GET, "/api/v1/participants?limit=many"), 400, "request-invalid"),
        (admin.request(Method::GET, "/api/v1/participants?state=odd"), 400, "request-invalid"),
        (admin.request(Method::GET, "/api/v1/participants?after=%21"), 422, "page-after"),
        (admin.request(Method::GET, "/api/v1/tasks/t/rounds/first"), 400, "request-invalid"),
        (admin.request(Method::DELETE, "/api/v1/enrolment/tokens/7"), 400, "request-invalid"),
        (admin.request(Method::GET, "/api/v2"), 404, "request-not-found"),
        (admin.request(Method::GET, "/api/v1/participants/A"), 422, "id-invalid"),
        (admin.request(Method::GET, "/api/v1/participants/a"), 404, "participant-unknown"),
        (post(revoke).body("{"), 400, "request-body"),
        (post(revoke).body("{\"why\": 1}"), 422, "request-body"),
        (post(revoke).body("{\"reason\": \" \"}"), 422, "reason"),
        (admin.request(Method::POST, revoke).body("{}"), 415, "request-body"),
        (post(revoke).body("x".repeat(1_000_001)), 413, "request-body"),
        (post(revoke).header("idempotency-key", "a b").body("{}"), 400, "idempotency-key"),
    ];
    for (number, (request, status, code)) in cases.into_iter().enumerate() {
        let (found, problem) = admin.send(request).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "case {number}: {problem}");
        assert_eq!(problem["status"], status, "case {number}");
    }
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_repeated_with_its_key_is_done_once_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    let issue = |admin: &Admin, name: &str| {
        let request = admin.request(Method::POST, "/api/v1/enrolment/tokens").header("idempotency-key", "\"8e03978e\"");
        request.json(&json!({"participant_id": name}))
    };
    let admin = Admin::operator(&running, folder.path());
    let (status, first) = admin.send(issue(&admin, "a")).await;
    assert_eq!((status, first["participant_id"].as_str()), (201, Some("a")));
    stop.cancel();
    running.ended().await.unwrap();

    let (running, stop) = serve(folder.path()).await;
    let admin = Admin::operator(&running, folder.path());
    assert_eq!(admin.send(issue(&admin, "a")).await, (201, first));
    let (status, problem) = admin.send(issue(&admin, "b")).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("idempotency-reused")));
    let (_, tokens) = admin.get("/api/v1/enrolment/tokens").await;
    assert_eq!(tokens["items"].as_array().unwrap().len(), 1);
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_listed_in_pages_and_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    let admin = Admin::operator(&running, folder.path());
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        let (_, token) = admin.post("/api/v1/enrolment/tokens", &json!({"participant_id": name})).await;
        made.push(token["token_id"].as_str().unwrap().to_owned());
    }
    made.sort();
    let (_, page) = admin.get("/api/v1/enrolment/tokens?limit=2").await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = admin.get(&format!("/api/v1/enrolment/tokens?limit=2&after={next}")).await;
    let items = |page: &Value| page["items"].as_array().unwrap().clone();
    let listed: Vec<_> =
        [items(&page), items(&rest)].concat().into_iter().map(|item| item["token_id"].clone()).collect();
    assert_eq!((json!(listed), &rest["next"]), (json!(made), &Value::Null));
    assert!(!page.to_string().contains("\"token\""), "a token is shown once");
    let path = format!("/api/v1/enrolment/tokens/{}", made[0]);
    assert_eq!(admin.send(admin.request(Method::DELETE, &path)).await.0, 204);
    assert_eq!(admin.send(admin.request(Method::DELETE, &path)).await.1["code"], "token-unknown");
    let (_, authority) = admin.get("/api/v1/enrolment/authority").await;
    assert_eq!(
        (authority["approval"].as_str(), authority["certificate_hours"].as_u64()),
        (Some("automatic"), Some(24))
    );
    assert!(authority["ca_expires_at"].as_str() > authority["server_certificate_expires_at"].as_str());
    stop.cancel();
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_names_who_called_and_who_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (running, stop) = serve(folder.path()).await;
    let admin = Admin::operator(&running, folder.path());
    let viewer = Admin::bearing(&running, &folder.path().join("tokens/vera.token"));
    let body = json!({"participant_id": "a"});
    assert_eq!(viewer.post("/api/v1/enrolment/tokens", &body).await.0, 403);
    assert_eq!(viewer.get("/api/v1/participants").await.0, 200);
    for _ in 0..2 {
        let request = admin.request(Method::POST, "/api/v1/enrolment/tokens").header("idempotency-key", "once");
        assert_eq!(admin.send(request.json(&body)).await.0, 201);
    }
    let (_, checkpoint) = admin.get("/api/v1/audit/checkpoint").await;
    let mut said = Vec::new();
    for index in 0..checkpoint["size"].as_u64().unwrap() {
        let (_, receipt) = admin.get(&format!("/api/v1/audit/receipts/{index}")).await;
        let receipt: Receipt = serde_json::from_value(receipt).unwrap();
        let entry: SignedDocument = receipt.entry;
        let record: AuditRecord = running.coordinator.coordinator_key().open(&entry).unwrap();
        let text = |field: &str| record.content[field].as_str().unwrap_or("-").to_owned();
        said.push([text("event"), text("by"), text("method")].join(" "));
    }
    assert_eq!(said, ["refused vera POST", "called operator POST", "issue_token operator -"]);
    stop.cancel();
    running.ended().await.unwrap();
}

/// Has a bundle with `governance` beside the shipped policies lie in `folder`, and names it in the configuration.
fn put_policies(folder: &Path, version: u64, governance: &str) -> Source {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-as-code");
    let files = Repository::read(&shipped).unwrap();
    let own = ("governance/90-own.cedar".to_owned(), governance.to_owned());
    let files = files.files().map(|(path, text)| (path.to_owned(), text.clone())).chain([own]);
    let repository = Repository::from_files(files);
    // What is proven of the shipped policies is taken as proven of these, which spares a solver.
    let subject = Subject::of(&repository).unwrap();
    let certificate = ProofCertificate { subject, ..certificate(&shipped).unwrap() };
    let key = SigningKey::from_seed(&[5; 32]);
    Bundle::build(repository, certificate, version, &key, Timestamp::EPOCH).unwrap().write(folder).unwrap();
    Source { dir: folder.to_owned(), public_key: key.public(), site: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_own_policies_govern_from_a_signed_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    let mut config = config(folder.path());
    config.admin.tokens = vec![AdminToken { name: "deployer".to_owned(), role: Role::Viewer, file: None }];
    config.policy = Some(put_policies(
        &policies,
        1,
        "@id(\"own.deployer\")\npermit (principal == Ringfence::Caller::\"deployer\", action == \
         Ringfence::Action::\"POST /api/v1/enrolment/tokens\", resource);\n@id(\"own.nobody-leaves\")\n@reason(\"who is in \
         stays in\")\nforbid (principal, action == Ringfence::Action::\"POST \
         /api/v1/participants/{participant_id}/revoke\", resource);\n",
    ));
    let stop = CancellationToken::new();
    let running = start(config.clone(), Arc::new(SystemClock), stop.clone()).await.unwrap();
    let deployer = Admin::bearing(&running, &folder.path().join("tokens/deployer.token"));
    let body = json!({"participant_id": "a"});
    assert_eq!(deployer.post("/api/v1/enrolment/tokens", &body).await.0, 201);
    assert_eq!(deployer.get("/api/v1/audit/checkpoint").await.1["code"], "policy-refused");
    let operator = Admin::operator(&running, folder.path());
    let (status, problem) = operator.post("/api/v1/participants/a/revoke", &json!({"reason": "gone"})).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("policy-refused")));
    assert!(problem.to_string().contains("`own.nobody-leaves`, since who is in stays in"), "{problem}");
    stop.cancel();
    running.ended().await.unwrap();

    std::fs::write(policies.join("governance/90-own.cedar"), "").unwrap();
    std::fs::remove_file(folder.path().join("policy-in-force.json")).unwrap();
    let refused = start(config, Arc::new(SystemClock), CancellationToken::new()).await.err().unwrap();
    assert_eq!(refused.code(), "bundle-content");
}
