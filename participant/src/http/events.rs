//! Events in, detections out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Serialize;
use shared::detection::Detection;
use utoipa::ToSchema;

use super::{Refusal, Shared};
use crate::service::Answered;
use crate::site::blocking;

/// The most detections in one answer.
const MAX_DETECTIONS: usize = 1000;

/// What became of a body of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// New events, now in the lake.
    stored: u64,
    /// Events that the lake held already.
    duplicates: u64,
    /// Lines that were refused; they stand in the site's dead-letter file with the reason.
    rejected: u64,
    /// Detections among the new events.
    #[schema(value_type = Vec<Object>)]
    detections: Vec<Detection>,
    /// Runs that answer them.
    runs: Vec<String>,
}

/// Takes events in, scores them, and answers detections by the site's policies.
#[utoipa::path(
    post,
    path = "/api/v1/events",
    request_body(content = String, description = "JSON events, one a line", content_type = "application/x-ndjson"),
    responses((status = 200, body = Taken))
)]
pub(super) async fn take(State(service): Shared, body: Bytes) -> Result<Json<Taken>, Refusal> {
    let Answered { ingested, raised, runs } = service.take(body.to_vec()).await?;
    Ok(Json(Taken {
        stored: ingested.stored,
        duplicates: ingested.duplicates,
        rejected: ingested.rejected,
        detections: raised.into_iter().map(|raised| raised.detection).collect(),
        runs: runs.iter().map(ToString::to_string).collect(),
    }))
}

/// The latest detections, in time order.
#[utoipa::path(get, path = "/api/v1/detections", responses((status = 200, body = Vec<Object>)))]
pub(super) async fn detections(State(service): Shared) -> Result<Json<Vec<Detection>>, Refusal> {
    Ok(Json(blocking(move || service.online.detections(MAX_DETECTIONS)).await?))
}
