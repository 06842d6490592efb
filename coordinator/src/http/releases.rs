//! Releases: list and show.

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::release::Release;
use shared::store::Store;
use shared::{ReleaseId, RoundId, Timestamp};
use utoipa::ToSchema;

use super::{Refusal, Shared};
use crate::release::{SignedRelease, find};
use crate::{Coordinator, Error, durable};

/// How many releases an answer holds.
const PAGE: usize = 1000;

/// A release with its documents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReleaseView {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) release_id: ReleaseId,
    /// The round whose candidate it is.
    #[schema(value_type = Object)]
    pub(crate) round_id: RoundId,
    /// When it was published.
    #[schema(value_type = String)]
    pub(crate) released_at: Timestamp,
    /// The signed release.
    #[schema(value_type = Object)]
    pub(crate) release: SignedDocument,
    /// The signed record of its round.
    #[schema(value_type = Object)]
    pub(crate) round_record: SignedDocument,
}

fn view(coordinator: &Coordinator, signed: SignedRelease) -> Result<ReleaseView, Error> {
    let release: Release = coordinator.coordinator_key().open(&signed.release)?;
    Ok(ReleaseView {
        release_id: release.release_id,
        round_id: release.round_id,
        released_at: release.released_at,
        release: signed.release,
        round_record: signed.round_record,
    })
}

fn all(coordinator: &Coordinator) -> Result<Vec<ReleaseView>, Error> {
    let entries = coordinator.store.scan(durable::RELEASES, b"", PAGE)?;
    let decoded = entries.iter().map(|(_, bytes)| durable::decode(durable::RELEASES, bytes));
    let mut views = decoded.map(|signed| view(coordinator, signed?)).collect::<Result<Vec<_>, _>>()?;
    views.sort_by_key(|view| view.released_at);
    Ok(views)
}

/// All releases, oldest first
#[utoipa::path(get, path = "/api/v1/releases", tag = "releases", responses((status = 200, body = [ReleaseView])))]
pub(crate) async fn list(State(coordinator): Shared) -> Result<axum::Json<Vec<ReleaseView>>, Refusal> {
    Ok(axum::Json(coordinator.blocking(all).await?))
}

/// One release
#[utoipa::path(get, path = "/api/v1/releases/{release_id}", tag = "releases", params(("release_id" = String, Path)),
    responses(
        (status = 200, body = ReleaseView),
        (status = 404, description = "no such release", content_type = "application/problem+json")
    )
)]
pub(crate) async fn show(
    State(coordinator): Shared,
    Path(release_id): Path<String>,
) -> Result<axum::Json<ReleaseView>, Refusal> {
    let release_id = ReleaseId::new(release_id)?;
    let found = move |coordinator: &Coordinator| view(coordinator, find(&*coordinator.store, Some(release_id))?);
    Ok(axum::Json(coordinator.blocking(found).await?))
}
