//! What an orchestrator asks a process: is it alive, is it ready, what has it counted.
//!
//! Liveness says only that the process answers; a component that is down makes it not ready, never not alive, so that
//! no orchestrator restarts a process because something else is down.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::metrics::MetricsHandle;

/// Which components of a process are ready. Clones share one state.
#[derive(Debug, Clone)]
pub struct Health(Arc<RwLock<BTreeMap<&'static str, bool>>>);

impl Health {
    /// A process of these components, none of them ready yet.
    pub fn new(components: &[&'static str]) -> Self {
        Self(Arc::new(RwLock::new(components.iter().map(|component| (*component, false)).collect())))
    }

    /// Says whether a component is ready.
    pub fn set_ready(&self, component: &'static str, ready: bool) {
        let before = self.0.write().unwrap_or_else(PoisonError::into_inner).insert(component, ready);
        if before != Some(ready) {
            tracing::info!(component, ready, "readiness changed");
        }
    }

    /// Whether every component is ready.
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }

    fn report(&self) -> Report {
        let components = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        Report { ready: components.values().all(|ready| *ready), components }
    }
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    components: BTreeMap<&'static str, bool>,
}

/// The routes `/health/livez` (200), `/health/readyz` (200 or 503, the components as JSON) and `/metrics`.
pub fn probes<S: Clone + Send + Sync + 'static>(health: Health, metrics: MetricsHandle) -> Router<S> {
    Router::new()
        .route("/health/livez", get(|| async { "alive\n" }))
        .route("/health/readyz", get(readyz).with_state(health))
        .route("/metrics", get(render).with_state(metrics))
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let report = health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

async fn render(State(metrics): State<MetricsHandle>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;
    use crate::testing::exchange;

    #[tokio::test]
    async fn a_process_is_ready_when_every_component_is_and_alive_all_the_while() {
        let health = Health::new(&["store", "federation"]);
        let ask = |path: &'static str| exchange(probes(health.clone(), metrics::install()), path, "");
        health.set_ready("store", true);
        let reply = ask("GET /health/readyz").await;
        assert!(reply.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{reply}");
        assert!(reply.ends_with(r#"{"ready":false,"components":{"federation":false,"store":true}}"#), "{reply}");
        assert!(ask("GET /health/livez").await.starts_with("HTTP/1.1 200 OK\r\n"));
        health.set_ready("federation", true);
        assert!(ask("GET /health/readyz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let reply = exchange(probes(Health::new(&[]), metrics::install()), "GET /metrics", "").await;
        assert!(reply.contains("content-type: text/plain; version=0.0.4\r\n"), "{reply}");
        assert!(reply.contains("ringfence_invariant_violations_total{invariant=\"r1_update_durable\"} 0\n"), "{reply}");
    }
}
