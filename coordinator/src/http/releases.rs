//! Releases: list, show, download, promote, roll back, and compute again without somebody.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use policy_as_code::governance;
use serde::{Deserialize, Serialize};
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::release::{Promotion, Release, RoundRecord};
use shared::round::Tally;
use shared::store::{Batch, Store};
use shared::{Digest, ParticipantId, ReleaseId, RoundId, RoundNumber, Timestamp};
use shared_ops::problem::Json;
use utoipa::ToSchema;

use super::access::Actor;
use super::page::{Page, PageQuery};
use super::{Refusal, Shared, params, rounds};
use crate::governance::Governance;
use crate::release::{History, Recomputed, Request, SignedRelease, Standing, find};
use crate::{Coordinator, Error, durable, transcript};

/// A release with its documents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReleaseView {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) release_id: ReleaseId,
    /// Where it stands.
    pub(crate) state: Standing,
    /// The round whose candidate it is.
    #[schema(value_type = Object)]
    pub(crate) round_id: RoundId,
    /// Digest of its parameters.
    #[schema(value_type = String)]
    pub(crate) params: Digest,
    /// When it was published.
    #[schema(value_type = String)]
    pub(crate) released_at: Timestamp,
    /// The cohort's noised hold-out counts; of no site where it was computed again.
    #[schema(value_type = Object)]
    pub(crate) tally: Tally,
    /// The release that it was computed from again; null for one of a task's last round.
    #[schema(value_type = Option<String>)]
    pub(crate) replaces: Option<ReleaseId>,
    /// Whose updates were left out then.
    #[schema(value_type = Vec<String>)]
    pub(crate) left_out: BTreeSet<ParticipantId>,
    /// The operator's signed word that it is the latest; null unless it is.
    #[schema(value_type = Option<Object>)]
    pub(crate) promotion: Option<SignedDocument>,
    /// The signed release.
    #[schema(value_type = Object)]
    pub(crate) release: SignedDocument,
    /// The signed record of its round.
    #[schema(value_type = Object)]
    pub(crate) round_record: SignedDocument,
}

fn history(coordinator: &Coordinator) -> Result<History, Error> {
    History::load(&*coordinator.store, coordinator.operator_key())
}

fn view(coordinator: &Coordinator, history: &History, signed: SignedRelease) -> Result<ReleaseView, Error> {
    let release: Release = coordinator.coordinator_key().open(&signed.release)?;
    let record: RoundRecord = coordinator.coordinator_key().open(&signed.round_record)?;
    Ok(ReleaseView {
        state: history.standing(&release.release_id),
        promotion: history.word_for(&release.release_id).cloned(),
        release_id: release.release_id,
        round_id: release.round_id,
        params: release.params,
        released_at: release.released_at,
        tally: release.tally,
        replaces: release.replaces,
        left_out: record.recomputed.map(|recomputed| recomputed.left_out).unwrap_or_default(),
        release: signed.release,
        round_record: signed.round_record,
    })
}

fn one(coordinator: &Coordinator, release_id: ReleaseId) -> Result<ReleaseView, Error> {
    view(coordinator, &history(coordinator)?, find(&*coordinator.store, release_id)?)
}

fn views(coordinator: &Coordinator, page: &PageQuery) -> Result<Page<ReleaseView>, Error> {
    let entries = coordinator.store.scan(durable::RELEASES, b"", usize::MAX)?;
    let page = page.cut(entries, |(key, _)| String::from_utf8_lossy(key).into_owned())?;
    let history = history(coordinator)?;
    page.try_map(|(_, bytes)| view(coordinator, &history, durable::decode(durable::RELEASES, &bytes)?))
}

/// All releases, by id
#[utoipa::path(get, path = "/api/v1/releases", tag = "releases", params(PageQuery),
    responses((status = 200, body = Page<ReleaseView>)))]
pub(crate) async fn list(
    State(coordinator): Shared,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<Page<ReleaseView>>, Refusal> {
    Ok(axum::Json(coordinator.blocking(move |coordinator| views(coordinator, &page)).await?))
}

/// The latest release: the one that was promoted last and not rolled back
#[utoipa::path(get, path = "/api/v1/releases/latest", tag = "releases", responses(
    (status = 200, body = ReleaseView),
    (status = 404, description = "no release was promoted", content_type = "application/problem+json")
))]
pub(crate) async fn latest(State(coordinator): Shared) -> Result<axum::Json<ReleaseView>, Refusal> {
    let find = |coordinator: &Coordinator| {
        let word = crate::release::latest(&*coordinator.store, coordinator.operator_key())?;
        let (word, _) = word.ok_or(Error::UnknownRelease(None))?;
        one(coordinator, word.release_id)
    };
    Ok(axum::Json(coordinator.blocking(find).await?))
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
    Ok(axum::Json(coordinator.blocking(move |coordinator| one(coordinator, release_id)).await?))
}

/// A release's parameters: little-endian f32 values
#[utoipa::path(get, path = "/api/v1/releases/{release_id}/params", tag = "releases",
    params(("release_id" = String, Path)),
    responses(
        (status = 200, content_type = "application/octet-stream", body = String),
        (status = 404, description = "no such release", content_type = "application/problem+json")
    )
)]
pub(crate) async fn params(State(coordinator): Shared, Path(release_id): Path<String>) -> Result<Response, Refusal> {
    let release_id = ReleaseId::new(release_id)?;
    let send = move |coordinator: &Coordinator| {
        let signed = find(&*coordinator.store, release_id)?;
        let release: Release = coordinator.coordinator_key().open(&signed.release)?;
        params::download(coordinator, coordinator.context.blobs.params(release.params)?)
    };
    Ok(coordinator.blocking(send).await?)
}

/// Everything that decided a round of a release that was computed again, as one file that can be checked offline
#[utoipa::path(get, path = "/api/v1/releases/{release_id}/rounds/{round}/transcript", tag = "releases",
    params(("release_id" = String, Path), ("round" = u32, Path)),
    responses(
        (status = 200, description = "a ustar archive", content_type = "application/x-tar", body = String),
        (status = 404, description = "that round was not computed again for that release, or its updates are kept no more",
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn transcript(
    State(coordinator): Shared,
    Path((release_id, round)): Path<(String, u32)>,
) -> Result<Response, Refusal> {
    let release_id = ReleaseId::new(release_id)?;
    let made = move |coordinator: &Coordinator| {
        let key = durable::recomputed_record(&release_id, RoundNumber(round));
        let record = durable::read(&*coordinator.store, &key)?;
        transcript::of(coordinator, record.ok_or(Error::NotRecomputed { release_id, round })?)
    };
    let transcript = coordinator.blocking(made).await?;
    Ok(rounds::send(&coordinator, transcript))
}

/// Make a release the latest
#[utoipa::path(post, path = "/api/v1/releases/{release_id}/promote", tag = "releases",
    params(("release_id" = String, Path)),
    responses(
        (status = 200, body = ReleaseView),
        (status = 403, description = "the policies do not permit it", content_type = "application/problem+json"),
        (status = 404, description = "no such release", content_type = "application/problem+json"),
        (status = 409, description = "it is the latest already", content_type = "application/problem+json")
    )
)]
pub(crate) async fn promote(
    State(coordinator): Shared,
    Extension(governance): Extension<Arc<Governance>>,
    Extension(actor): Extension<Actor>,
    Path(release_id): Path<String>,
) -> Result<axum::Json<ReleaseView>, Refusal> {
    let release_id = ReleaseId::new(release_id)?;
    let promote = move |coordinator: &Coordinator| {
        let signed = find(&*coordinator.store, release_id)?;
        let release: Release = coordinator.coordinator_key().open(&signed.release)?;
        let (operator, now) = (&coordinator.keys.operator, coordinator.now());
        governance.permit(&governance::Request::Promote(actor.caller(), &release, now))?;
        let word = history(coordinator)?.promote(&release, &signed.release, operator, now)?;
        say(coordinator, word, "promoted")
    };
    Ok(axum::Json(coordinator.blocking(promote).await?))
}

/// Make the release before the latest the latest again
#[utoipa::path(post, path = "/api/v1/releases/rollback", tag = "releases", responses(
    (status = 200, description = "the release that is the latest now", body = ReleaseView),
    (status = 409, description = "there is none before it", content_type = "application/problem+json")
))]
pub(crate) async fn rollback(State(coordinator): Shared) -> Result<axum::Json<ReleaseView>, Refusal> {
    let roll_back = |coordinator: &Coordinator| {
        let (operator, now) = (&coordinator.keys.operator, coordinator.now());
        let word = history(coordinator)?.roll_back(&*coordinator.store, operator, now)?;
        say(coordinator, word, "rolled_back")
    };
    Ok(axum::Json(coordinator.blocking(roll_back).await?))
}

/// Makes the operator's word durable, with its audit record; the release that it is about.
fn say(coordinator: &Coordinator, (word, batch): (Promotion, Batch), event: &str) -> Result<ReleaseView, Error> {
    let content = serde_json::json!({"event": event, "promotion": word});
    let (key, entry) = coordinator.journal.entry(AuditKind::Release, word.promoted_at, &content)?;
    coordinator.store.apply(batch.put(key, entry))?;
    coordinator.journal.drain_or_defer();
    tracing::info!(release_id = %word.release_id, number = word.number, event, "the latest release changed");
    one(coordinator, word.release_id)
}

/// Compute a release again without somebody's updates, as a new release that waits to be promoted
#[utoipa::path(post, path = "/api/v1/releases/{release_id}/recompute", tag = "releases", request_body = Request,
    params(("release_id" = String, Path)),
    responses(
        (status = 200, description = "what a dry run found", body = Recomputed),
        (status = 201, body = Recomputed),
        (status = 404, description = "no such release, or its rounds' updates are kept no more",
            content_type = "application/problem+json"),
        (status = 409, description = "nothing to leave out, or too few updates would be left",
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn recompute(
    State(coordinator): Shared,
    Path(release_id): Path<String>,
    Json(request): Json<Request>,
) -> Result<(StatusCode, axum::Json<Recomputed>), Refusal> {
    let release_id = ReleaseId::new(release_id)?;
    let recomputed = coordinator.blocking(move |coordinator| coordinator.recompute(release_id, &request)).await?;
    let status = if recomputed.release_id.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(recomputed)))
}
