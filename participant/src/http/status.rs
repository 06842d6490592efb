//! What serves, and what it has cost.

use axum::Json;
use axum::extract::State;
use shared::release::Release;

use super::{Refusal, Shared};
use crate::error::ReleaseFault;
use crate::ledger::Statement;
use crate::site::blocking;

/// The release that serves.
#[utoipa::path(get, path = "/api/v1/release", responses((status = 200, body = Object), (status = 404)))]
pub(super) async fn release(State(service): Shared) -> Result<Json<Release>, Refusal> {
    let scorer = service.online.scorer().ok_or(ReleaseFault::NoneYet)?;
    Ok(Json(scorer.installed().release.clone()))
}

/// Makes the release before the serving one serve again.
#[utoipa::path(post, path = "/api/v1/release/rollback", responses((status = 200, body = Object), (status = 409)))]
pub(super) async fn roll_back_release(State(service): Shared) -> Result<Json<Release>, Refusal> {
    Ok(Json(service.roll_back_release().await?))
}

/// The privacy ledger.
#[utoipa::path(get, path = "/api/v1/ledger", responses((status = 200, body = Statement)))]
pub(super) async fn ledger(State(service): Shared) -> Result<Json<Statement>, Refusal> {
    Ok(Json(blocking(move || service.site.ledger.statement()).await?))
}
