//! What a site needs to enrol: one-time tokens, and the authority it must trust.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use serde::{Deserialize, Serialize};
use shared::{Digest, ParticipantId, Timestamp};
use shared_ops::problem::Json;
use utoipa::ToSchema;

use super::access::Actor;
use super::page::{Page, PageQuery};
use super::{Refusal, Shared};
use crate::Coordinator;
use crate::config::Approval;

/// Whom a token is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// The only id that may enrol with it.
    #[schema(value_type = String)]
    participant_id: ParticipantId,
}

/// What a site needs to enrol. The token is shown once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NewTokenView {
    /// Names the token without giving it away.
    #[schema(value_type = String)]
    pub(crate) token_id: Digest,
    /// The only id that may enrol with it.
    #[schema(value_type = String)]
    pub(crate) participant_id: ParticipantId,
    /// The token.
    pub(crate) token: String,
    /// When it ends.
    #[schema(value_type = String)]
    pub(crate) expires_at: Timestamp,
    /// The certificate authority of the federation, PEM: what the site must trust.
    pub(crate) ca_certificate_pem: String,
}

/// A token that nobody has used yet.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TokenView {
    /// Names the token without giving it away.
    #[schema(value_type = String)]
    pub(crate) token_id: Digest,
    /// The only id that may enrol with it.
    #[schema(value_type = String)]
    pub(crate) participant_id: ParticipantId,
    /// When it was made.
    #[schema(value_type = String)]
    pub(crate) issued_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String)]
    pub(crate) expires_at: Timestamp,
}

/// The federation's authority, and for how long certificates are good.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AuthorityView {
    /// The certificate authority of the federation, PEM: what a site must trust.
    pub(crate) ca_certificate_pem: String,
    /// When the authority's certificate ends; it is not renewed by itself.
    #[schema(value_type = String)]
    pub(crate) ca_expires_at: Timestamp,
    /// When the server's present certificate ends; it is replaced by itself.
    #[schema(value_type = String)]
    pub(crate) server_certificate_expires_at: Timestamp,
    /// How long a participant's certificate is good.
    pub(crate) certificate_hours: u32,
    /// `automatic` or `operator`.
    #[schema(value_type = String)]
    pub(crate) approval: Approval,
}

/// Make a one-time token with which a site enrols
#[utoipa::path(post, path = "/api/v1/enrolment/tokens", tag = "enrolment", request_body = NewToken, responses(
    (status = 201, body = NewTokenView),
    (status = 409, description = "the participant is revoked", content_type = "application/problem+json"),
    (status = 429, description = "too many tokens are outstanding", content_type = "application/problem+json")
))]
pub(crate) async fn issue_token(
    State(coordinator): Shared,
    Extension(actor): Extension<Actor>,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Answer<NewTokenView>), Refusal> {
    let issue = move |coordinator: &Coordinator| {
        coordinator.registry.issue_token(&new.participant_id, &actor.name, coordinator.now())
    };
    let issued = coordinator.blocking(issue).await?;
    let view = NewTokenView {
        token_id: issued.token_id,
        participant_id: issued.participant_id,
        token: issued.token.expose().to_owned(),
        expires_at: issued.expires_at,
        ca_certificate_pem: coordinator.ca_certificate_pem().to_owned(),
    };
    Ok((StatusCode::CREATED, Answer(view)))
}

/// Tokens that nobody has used yet
#[utoipa::path(get, path = "/api/v1/enrolment/tokens", tag = "enrolment", params(PageQuery),
    responses((status = 200, body = Page<TokenView>)))]
pub(crate) async fn tokens(
    State(coordinator): Shared,
    Query(page): Query<PageQuery>,
) -> Result<Answer<Page<TokenView>>, Refusal> {
    let good = coordinator.blocking(|coordinator| coordinator.registry.tokens(coordinator.now())).await?;
    let views = good.into_iter().map(|token| TokenView {
        token_id: token.token_id,
        participant_id: token.participant_id,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
    });
    Ok(Answer(page.cut(views, |view| view.token_id)?))
}

/// Void a token that nobody has used
#[utoipa::path(delete, path = "/api/v1/enrolment/tokens/{token_id}", tag = "enrolment",
    params(("token_id" = String, Path)),
    responses(
        (status = 204),
        (status = 404, description = "no unused token has this id", content_type = "application/problem+json")
    )
)]
pub(crate) async fn withdraw_token(
    State(coordinator): Shared,
    Extension(actor): Extension<Actor>,
    Path(token_id): Path<Digest>,
) -> Result<StatusCode, Refusal> {
    let withdraw =
        move |coordinator: &Coordinator| coordinator.registry.withdraw_token(token_id, &actor.name, coordinator.now());
    coordinator.blocking(withdraw).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The federation's authority, and for how long certificates are good
#[utoipa::path(get, path = "/api/v1/enrolment/authority", tag = "enrolment",
    responses((status = 200, body = AuthorityView)))]
pub(crate) async fn authority(State(coordinator): Shared) -> Result<Answer<AuthorityView>, Refusal> {
    Ok(Answer(AuthorityView {
        ca_certificate_pem: coordinator.ca_certificate_pem().to_owned(),
        ca_expires_at: coordinator.keys.authority.validity()?.not_after,
        server_certificate_expires_at: coordinator.keys.server.validity().not_after,
        certificate_hours: coordinator.limits.certificate_hours.get(),
        approval: coordinator.registry.approval(),
    }))
}
