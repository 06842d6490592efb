//! The HTTP interface: decisions behind a bearer token, the probes and the description in front of it. It changes
//! nothing and reserves nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::get;
use shared::decision::{Decision, DecisionRequest};
use shared_ops::auth::BearerScheme;
use shared_ops::health::{Health, probes};
use shared_ops::metrics::MetricsHandle;
use shared_ops::problem::{Json, not_found};
use shared_ops::{Secret, auth};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::decide::InForce;

#[derive(OpenApi)]
#[openapi(
    info(title = "Ringfence policy engine", description = "How far may a response go without a person?"),
    modifiers(&BearerScheme),
    security(("bearer" = []))
)]
struct Description;

/// Asks the policy set: the widest tier that every policy leaves open, and why.
#[utoipa::path(post, path = "/api/v1/decide", tag = "decisions",
    request_body(content = Object, description = "A decision request", example = json!({
        "requester": { "kind": "release", "release_id": "fraud-7", "signed": true, "validated": true, "age_days": 3 },
        "action": "throttle",
        "asset": {
            "asset_id": "reporting-reader", "criticality": "standard", "environment": "production",
            "owner": "reporting", "tags": { "pci": "true" }
        },
        "context": {
            "score_bp": 9100, "false_positive_rate_bp": 12, "false_positive_rate_high_bp": 25,
            "reasons": ["statement_rate_60s"], "blast_radius": 1, "service_blast_radius": 1, "site_blast_radius": 1,
            "healthy_peers": 4, "active_containments": 0, "class_containments": 0, "recent_actions": 0,
            "playbook_step": 1, "monitored_s": 0, "reversible": true, "maintenance_window": false,
            "kill_switch": false, "approvals": 0
        }
    })),
    responses(
        (status = 200, description = "The decision: `tier`, `answers` in the order asked, `bundle`", body = Object),
        (status = 401, description = "No token, or another one"),
        (status = 413, description = "The request is too large"),
        (status = 422, description = "The body is no decision request")
    ))]
async fn decide(State(policies): State<Arc<InForce>>, Json(request): Json<DecisionRequest>) -> axum::Json<Decision> {
    axum::Json(policies.engine().decide(&request))
}

fn api() -> OpenApiRouter<Arc<InForce>> {
    OpenApiRouter::with_openapi(Description::openapi()).routes(routes!(decide))
}

/// The interface's description, as `/openapi.json` shows it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().into_openapi()
}

/// The whole interface over the policies in force.
pub fn router(
    policies: Arc<InForce>,
    token: Secret,
    body_bytes: usize,
    health: Health,
    metrics: MetricsHandle,
) -> Router {
    let (api, openapi) = api().with_state(policies).split_for_parts();
    auth::bearer(api.layer(DefaultBodyLimit::max(body_bytes)), token)
        .route("/openapi.json", get(|| async { axum::Json(openapi) }))
        .merge(probes(health, metrics))
        .fallback(not_found)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// The status and body of a reply.
    async fn exchange(line: &str, token: &str, body: &str) -> (u16, String) {
        let health = Health::new(&["policies"]);
        let token_of_server = Secret::new("right").unwrap();
        let router = router(crate::testing::in_force(), token_of_server, 4_096, health, shared_ops::metrics::install());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let request = format!(
            "{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
             authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        server.abort();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        (status, reply.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn example() -> String {
        let document = serde_json::to_value(openapi()).unwrap();
        let body = &document["paths"]["/api/v1/decide"]["post"]["requestBody"];
        body["content"]["application/json"]["example"].to_string()
    }

    #[tokio::test]
    async fn the_documented_example_is_decided() {
        let (status, body) = exchange("POST /api/v1/decide", "right", &example()).await;
        let decision: Decision = serde_json::from_str(&body).unwrap();
        assert_eq!((status, decision.tier), (200, shared::detection::Tier::Automated));
    }

    #[tokio::test]
    async fn what_is_no_request_is_a_problem_with_code_and_hint() {
        for (line, token, body, expected, code) in [
            ("POST /api/v1/decide", "wrong", example(), 401, "token-wrong"),
            ("POST /api/v1/decide", "right", "{".to_owned(), 400, "request-body"),
            ("POST /api/v1/decide", "right", example().replace("score_bp", "score"), 422, "request-body"),
            ("POST /api/v1/decide", "right", "x".repeat(5_000), 413, "request-body"),
            ("GET /api/v2", "right", String::new(), 404, "request-not-found"),
        ] {
            let (status, body) = exchange(line, token, &body).await;
            let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, problem["code"].as_str()), (expected, Some(code)), "{body}");
        }
    }

    #[tokio::test]
    async fn probes_and_description_need_no_token() {
        for (path, expected) in
            [("/health/livez", 200), ("/health/readyz", 503), ("/metrics", 200), ("/openapi.json", 200)]
        {
            assert_eq!(exchange(&format!("GET {path}"), "", "").await.0, expected, "{path}");
        }
    }
}
