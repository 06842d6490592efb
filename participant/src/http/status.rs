//! What serves, and what it has cost.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shared::privacy::Guarantee;
use shared::release::Release;
use shared_privacy::ledger::Debit;
use utoipa::ToSchema;

use super::{Refusal, Shared};
use crate::error::ReleaseFault;
use crate::site::blocking;

/// The privacy ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ledger {
    /// What may be spent over the site's lifetime.
    #[schema(value_type = Object)]
    budget: Guarantee,
    /// What is spent.
    #[schema(value_type = Object)]
    spent: Guarantee,
    /// Every debit, oldest first.
    #[schema(value_type = Vec<Object>)]
    debits: Vec<Debit>,
}

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
#[utoipa::path(get, path = "/api/v1/ledger", responses((status = 200, body = Ledger)))]
pub(super) async fn ledger(State(service): Shared) -> Result<Json<Ledger>, Refusal> {
    let read = move || {
        let ledger = &service.site.ledger;
        Ok(Ledger { budget: ledger.budget(), spent: ledger.spent()?, debits: ledger.debits()? })
    };
    Ok(Json(blocking(read).await?))
}
