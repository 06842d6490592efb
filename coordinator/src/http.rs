//! The admin API v1: what operators, auditors and viewers ask and order. Everything under `/api` needs a bearer token;
//! rights, audit records and idempotency are layers around all of it, so that no handler can forget them.

pub(crate) mod access;
mod audit;
mod enrolment;
mod evaluations;
mod idempotency;
mod ledger;
mod page;
mod params;
mod participants;
mod releases;
mod rounds;
mod tasks;
mod watch;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use shared::store::Store;
use shared_ops::auth::BearerScheme;
use shared_ops::health::{Health, probes};
use shared_ops::metrics::MetricsHandle;
use shared_ops::problem::{Problem, not_found};
use shared_ops::{Secret, auth};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::access::Actor;
use self::idempotency::Answers;
pub(crate) use self::idempotency::RUNNING;
use crate::error::Class;
use crate::governance::Governance;
use crate::guard::Guarded;
use crate::{Coordinator, Error};

/// The keys of a path's description that are methods.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];

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
        .routes(routes!(tasks::validate))
        .routes(routes!(tasks::show))
        .routes(routes!(tasks::pause))
        .routes(routes!(tasks::resume))
        .routes(routes!(tasks::cancel))
        .routes(routes!(params::put))
        .routes(routes!(rounds::list))
        .routes(routes!(rounds::show))
        .routes(routes!(rounds::proofs))
        .routes(routes!(rounds::transcript))
        .routes(routes!(watch::watch))
        .routes(routes!(ledger::show))
        .routes(routes!(evaluations::list))
        .routes(routes!(participants::list))
        .routes(routes!(participants::show))
        .routes(routes!(participants::approve))
        .routes(routes!(participants::quarantine))
        .routes(routes!(participants::reinstate))
        .routes(routes!(participants::revoke))
        .routes(routes!(enrolment::tokens, enrolment::issue_token))
        .routes(routes!(enrolment::withdraw_token))
        .routes(routes!(enrolment::authority))
        .routes(routes!(releases::list))
        .routes(routes!(releases::latest))
        .routes(routes!(releases::rollback))
        .routes(routes!(releases::show))
        .routes(routes!(releases::params))
        .routes(routes!(releases::promote))
        .routes(routes!(releases::recompute))
        .routes(routes!(releases::transcript))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(audit::receipt))
}

/// The admin API's description, as `/openapi.json` shows it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().into_openapi()
}

/// Every call of the admin API as policies name it, such as `GET /api/v1/tasks/{task_id}`.
pub(crate) fn calls() -> &'static BTreeSet<String> {
    static CALLS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let description = serde_json::to_value(openapi()).unwrap_or_default();
        let paths = description.get("paths").and_then(serde_json::Value::as_object).into_iter().flatten();
        let calls = paths.flat_map(|(path, item)| {
            let found = item.as_object().into_iter().flat_map(|item| item.keys());
            found.filter(|key| METHODS.contains(&key.as_str())).map(move |key| format!("{} {path}", key.to_uppercase()))
        });
        calls.collect()
    });
    &CALLS
}

/// The whole HTTP interface: the API behind the tokens, and the probes and the description in front of it.
pub(crate) async fn router(
    coordinator: Arc<Coordinator>,
    governance: Arc<Governance>,
    tokens: Vec<(Secret, Actor)>,
    health: Health,
    metrics: MetricsHandle,
) -> Result<Router, Error> {
    let limit = usize::try_from(coordinator.limits.admin_body_bytes).unwrap_or(usize::MAX);
    let answers = Arc::new(coordinator.blocking(answers).await?);
    let (api, openapi) = api().with_state(Arc::clone(&coordinator)).split_for_parts();
    // From the inside out: a repeated call is neither made nor recorded again, and rights come before either.
    let api = api
        .layer(DefaultBodyLimit::max(limit))
        .layer(from_fn_with_state(Arc::clone(&coordinator), access::audited))
        .layer(from_fn_with_state(answers, idempotency::once))
        .layer(from_fn_with_state(coordinator, access::authorise))
        .layer(Extension(governance));
    Ok(auth::bearers(api, tokens)
        .route("/openapi.json", get(|| async { axum::Json(openapi) }))
        .merge(probes(health, metrics))
        .fallback(not_found))
}

fn answers(coordinator: &Coordinator) -> Result<Answers, Error> {
    let store: Arc<dyn Store> = Arc::<Guarded>::clone(&coordinator.store);
    let (clock, seal) = (Arc::clone(&coordinator.clock), Arc::clone(&coordinator.keys.answers));
    Answers::open(store, clock, seal, coordinator.limits.clone(), coordinator.tracker.clone())
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

#[cfg(test)]
mod tests {
    /// Run with the environment variable `UPDATE_GOLDEN=1` to take a change of the API over.
    #[test]
    fn the_api_is_the_one_in_the_golden_file() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let found = super::openapi().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &found).unwrap();
        }
        assert!(found.contains("\"openapi\": \"3.1.0\""));
        let golden = std::fs::read_to_string(path).unwrap();
        assert_eq!(golden, found, "if this change of the API is meant, run again with UPDATE_GOLDEN=1");
    }
}
