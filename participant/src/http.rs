//! The site's own HTTP interface: events in, detections and decisions out, approvals and rollbacks. Everything under
//! `/api` needs the bearer token.

mod audit;
mod events;
mod runs;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use shared::Explain;
use shared_ops::auth::BearerScheme;
use shared_ops::health::{Health, probes};
use shared_ops::metrics::MetricsHandle;
use shared_ops::problem::{Problem, not_found};
use shared_ops::{Secret, auth};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::SiteError;
use crate::service::Service;

/// The largest body of events, in bytes.
const MAX_BODY: usize = 16 * 1024 * 1024;

type Shared = axum::extract::State<Arc<Service>>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Ringfence participant", description = "One site: events, detections, responses, ledger, audit log"),
    modifiers(&BearerScheme),
    security(("bearer" = []))
)]
struct Description;

fn api() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(events::take))
        .routes(routes!(events::detections))
        .routes(routes!(status::release))
        .routes(routes!(status::roll_back_release))
        .routes(routes!(status::ledger))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(runs::approve))
        .routes(routes!(runs::roll_back))
        .routes(routes!(runs::kill_switch, runs::set_kill_switch))
        .routes(routes!(audit::key))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(audit::receipt))
}

/// The interface's description, as `/openapi.json` shows it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().into_openapi()
}

/// The whole interface: the API behind the token, the probes and the description in front of it.
pub fn router(service: Arc<Service>, token: Secret, health: Health, metrics: MetricsHandle) -> Router {
    let (api, openapi) = api().with_state(service).split_for_parts();
    auth::bearer(api.layer(DefaultBodyLimit::max(MAX_BODY)), token)
        .route("/openapi.json", get(|| async { axum::Json(openapi) }))
        .merge(probes(health, metrics))
        .fallback(not_found)
}

/// An error as HTTP says it.
struct Refusal(SiteError);

impl<E: Into<SiteError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.code() {
            "run-unknown" | "release-none-yet" | "audit-no-entry" => StatusCode::NOT_FOUND,
            "run-illegal" | "run-not-undone" | "release-nothing-before" | "response-off" => StatusCode::CONFLICT,
            "id-invalid" => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, &self.0).into_response()
    }
}

#[cfg(test)]
mod tests;
