//! The audit log: its signed checkpoint, and receipts that verify offline.

use axum::extract::{Path, State};
use serde::Serialize;
use shared_audit::Receipt;
use utoipa::ToSchema;

use super::{Refusal, Shared};
use crate::coordinator::LOG_ORIGIN;

/// The log as it stands, and what is needed to check it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckpointView {
    /// The log's name.
    origin: String,
    /// How many entries it has.
    size: u64,
    /// The signed note (C2SP tlog-checkpoint).
    checkpoint: String,
    /// Checks the note: 64 hexadecimal digits.
    log_key: String,
}

/// The audit log's signed checkpoint
#[utoipa::path(get, path = "/api/v1/audit/checkpoint", tag = "audit", responses((status = 200, body = CheckpointView)))]
pub(crate) async fn checkpoint(State(coordinator): Shared) -> Result<axum::Json<CheckpointView>, Refusal> {
    let view = coordinator.blocking(|coordinator| {
        Ok(CheckpointView {
            origin: LOG_ORIGIN.to_owned(),
            size: coordinator.journal.size(),
            checkpoint: coordinator.journal.checkpoint()?,
            log_key: coordinator.log_key().to_string(),
        })
    });
    Ok(axum::Json(view.await?))
}

/// An entry with the proof that it is in the log
#[utoipa::path(get, path = "/api/v1/audit/receipts/{index}", tag = "audit", params(("index" = u64, Path)), responses(
    (status = 200, body = Object),
    (status = 404, description = "no such entry", content_type = "application/problem+json")
))]
pub(crate) async fn receipt(
    State(coordinator): Shared,
    Path(index): Path<u64>,
) -> Result<axum::Json<Receipt>, Refusal> {
    Ok(axum::Json(coordinator.blocking(move |coordinator| coordinator.journal.receipt(index)).await?))
}
