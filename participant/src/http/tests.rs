//! The interface answers only to its token, and errors are problem details.

use serde_json::{Value, json};
use shared_ops::metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::testing::{Lone, event};

const TOKEN: &str = "hunter2";

/// A site's interface on a socket.
struct Interface {
    lone: Lone,
    router: Router,
}

impl Interface {
    fn new() -> Self {
        let lone = Lone::new();
        let service = Arc::new(Service::open(Arc::clone(&lone.site), None).unwrap());
        let router = router(service, Secret::new(TOKEN).unwrap(), Health::new(&[]), metrics::install());
        Self { lone, router }
    }

    /// Status, content type and body of the answer to one request.
    async fn send(&self, request: &str, token: Option<&str>, body: &str) -> (u16, String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = tokio::spawn(axum::serve(listener, self.router.clone()).into_future());
        let token = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n{token}\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        server.abort();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        (status, content_type.to_owned(), body.to_owned())
    }

    async fn json(&self, request: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.send(request, Some(TOKEN), body).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }
}

/// Every route of the interface, with what an empty site answers.
const ROUTES: [(&str, u16, &str); 14] = [
    ("POST /api/v1/events", 200, ""),
    ("GET /api/v1/detections", 200, ""),
    ("GET /api/v1/release", 404, "release-none-yet"),
    ("POST /api/v1/release/rollback", 409, "release-nothing-before"),
    ("GET /api/v1/ledger", 200, ""),
    ("GET /api/v1/runs", 409, "response-off"),
    ("GET /api/v1/runs/{run_id}", 409, "response-off"),
    ("POST /api/v1/runs/{run_id}/approvals", 409, "response-off"),
    ("POST /api/v1/runs/{run_id}/rollback", 409, "response-off"),
    ("GET /api/v1/kill-switch", 409, "response-off"),
    ("POST /api/v1/kill-switch", 409, "response-off"),
    ("GET /api/v1/audit/key", 200, ""),
    ("GET /api/v1/audit/checkpoint", 200, ""),
    ("GET /api/v1/audit/receipts/{index}", 404, "audit-no-entry"),
];

fn filled(route: &str) -> String {
    route.replace("{run_id}", "run-1").replace("{index}", "0")
}

fn body(route: &str) -> &'static str {
    match route.rsplit('/').next() {
        Some("approvals") => r#"{"step": 1, "responder": "ada", "on_call": true}"#,
        Some("rollback") => r#"{"responder": "ada"}"#,
        Some("kill-switch") => r#"{"on": true, "responder": "ada"}"#,
        _ => "",
    }
}

#[test]
fn the_description_lists_every_route_and_no_other() {
    let description = serde_json::to_value(openapi()).unwrap();
    let described = description["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let mut described: Vec<String> = described.collect();
    let mut routes: Vec<String> = ROUTES.iter().map(|(route, ..)| (*route).to_owned()).collect();
    described.sort();
    routes.sort();
    assert_eq!(described, routes);
    assert_eq!(description["security"], json!([{"bearer": []}]));
}

#[tokio::test]
async fn no_route_answers_without_the_token() {
    let interface = Interface::new();
    for (route, ..) in ROUTES {
        for (token, code) in [(None, "token-missing"), (Some("guess"), "token-wrong")] {
            let (status, content_type, problem) = interface.send(&filled(route), token, body(route)).await;
            assert_eq!((status, content_type.as_str()), (401, "application/problem+json"), "{route}");
            assert!(problem.contains(code) && !problem.contains(TOKEN), "{route}: {problem}");
        }
    }
    for open in ["GET /openapi.json", "GET /health/livez", "GET /health/readyz", "GET /metrics"] {
        assert_eq!(interface.send(open, None, "").await.0, 200, "{open}");
    }
}

#[tokio::test]
async fn every_route_answers_an_empty_site_with_a_result_or_a_problem() {
    let interface = Interface::new();
    for (route, expected, code) in ROUTES {
        let (status, content_type, text) = interface.send(&filled(route), Some(TOKEN), body(route)).await;
        assert_eq!(status, expected, "{route}: {text}");
        if !code.is_empty() {
            let problem: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (content_type.as_str(), &problem["code"]),
                ("application/problem+json", &json!(code)),
                "{route}"
            );
            assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{route}");
        }
    }
}

#[tokio::test]
async fn events_are_taken_in_once_and_what_is_none_is_counted() {
    let interface = Interface::new();
    let lines = [event("a", 10, "ada"), "{\"no\": \"event\"}".to_owned(), event("a", 10, "ada")].join("\n");
    let (status, taken) = interface.json("POST /api/v1/events", &lines).await;
    let expected = json!({"stored": 1, "duplicates": 1, "rejected": 1, "detections": [], "runs": []});
    assert_eq!((status, taken), (200, expected));
    assert_eq!(interface.lone.site.lake.len(), 1);
    let letters = std::fs::read_to_string(interface.lone.site.folder().join("dead-letters.jsonl")).unwrap();
    assert_eq!(letters.lines().count(), 1, "{letters}");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem() {
    let interface = Interface::new();
    for (request, body, expected, code) in [
        ("POST /api/v1/runs/run-1/rollback", "{\"who\": 1}", 422, "request-body"),
        ("GET /api/v1/runs/A", "", 422, "id-invalid"),
        ("GET /nowhere", "", 404, "request-not-found"),
    ] {
        let (status, content_type, text) = interface.send(request, Some(TOKEN), body).await;
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, content_type.as_str()), (expected, "application/problem+json"), "{request}");
        assert_eq!(problem["code"], json!(code), "{request}");
    }
}
