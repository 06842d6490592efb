//! The admin API v1: what the operator asks and orders. Everything under `/api` needs the bearer token.

mod audit;
mod participants;
mod releases;
mod rounds;
mod tasks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use shared_ops::auth::BearerScheme;
use shared_ops::health::{Health, probes};
use shared_ops::metrics::MetricsHandle;
use shared_ops::problem::{Problem, not_found};
use shared_ops::{Secret, auth};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Class;
use crate::{Coordinator, Error};

type Shared = axum::extract::State<Arc<Coordinator>>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Ringfence coordinator", description = "Tasks, participants, rounds, releases and the audit log"),
    modifiers(&BearerScheme),
    security(("bearer" = []))
)]
struct Description;

fn api() -> OpenApiRouter<Arc<Coordinator>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(tasks::list, tasks::create))
        .routes(routes!(tasks::show))
        .routes(routes!(tasks::cancel))
        .routes(routes!(rounds::list))
        .routes(routes!(rounds::show))
        .routes(routes!(participants::list))
        .routes(routes!(participants::issue_token))
        .routes(routes!(participants::revoke))
        .routes(routes!(releases::list))
        .routes(routes!(releases::show))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(audit::receipt))
}

/// The admin API's description, as `/openapi.json` shows it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().into_openapi()
}

/// The whole HTTP interface: the API behind the token, and the probes and the description in front of it.
pub(crate) fn router(coordinator: Arc<Coordinator>, token: Secret, health: Health, metrics: MetricsHandle) -> Router {
    let limit = usize::try_from(coordinator.limits.admin_body_bytes).unwrap_or(usize::MAX);
    let (api, openapi) = api().with_state(coordinator).split_for_parts();
    auth::bearer(api.layer(DefaultBodyLimit::max(limit)), token)
        .route("/openapi.json", get(|| async { axum::Json(openapi) }))
        .merge(probes(health, metrics))
        .fallback(not_found)
}

/// An error as HTTP says it.
pub(crate) struct Refusal(Error);

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.class() {
            Class::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Class::Unauthenticated => StatusCode::UNAUTHORIZED,
            Class::Denied => StatusCode::FORBIDDEN,
            Class::Missing => StatusCode::NOT_FOUND,
            Class::Conflict => StatusCode::CONFLICT,
            Class::Busy => StatusCode::TOO_MANY_REQUESTS,
            Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, &self.0).into_response()
    }
}
