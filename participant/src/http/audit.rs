//! The audit log, for those who verify.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use shared_audit::Receipt;
use utoipa::ToSchema;

use super::{Refusal, Shared};

/// The log's newest signed checkpoint, a C2SP signed note.
#[utoipa::path(get, path = "/api/v1/audit/checkpoint", responses((status = 200, body = String)))]
pub(super) async fn checkpoint(State(service): Shared) -> Result<String, Refusal> {
    Ok(service.site.journal.log().checkpoint()?)
}

/// What an outsider needs to check receipts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogKey {
    /// The log's name in its checkpoints.
    origin: String,
    /// Its Ed25519 public key, 64 hexadecimal digits.
    public_key: String,
}

/// The log's name and public key.
#[utoipa::path(get, path = "/api/v1/audit/key", responses((status = 200, body = LogKey)))]
pub(super) async fn key(State(service): Shared) -> Json<LogKey> {
    let log = service.site.journal.log();
    Json(LogKey { origin: log.origin().to_owned(), public_key: log.public().to_string() })
}

/// The receipt of an entry: proof that it stands in the log, checkable offline.
#[utoipa::path(get, path = "/api/v1/audit/receipts/{index}", responses((status = 200, body = Object), (status = 404)))]
pub(super) async fn receipt(State(service): Shared, Path(index): Path<u64>) -> Result<Json<Receipt>, Refusal> {
    Ok(Json(service.site.journal.receipt(index)?))
}
