//! Participants: list, issue a one-time token, revoke.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::{ParticipantId, Timestamp};
use shared_ops::problem::Json;
use utoipa::ToSchema;

use super::{Refusal, Shared};
use crate::enrol::Participant;

/// An enrolled participant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ParticipantView {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) participant_id: ParticipantId,
    /// Checks its signatures: 64 hexadecimal digits.
    pub(crate) identity_key: String,
    /// When it enrolled last.
    #[schema(value_type = String)]
    pub(crate) enrolled_at: Timestamp,
    /// When its certificate ends.
    #[schema(value_type = String)]
    pub(crate) not_after: Timestamp,
    /// When it was shut out; null while it may take part.
    #[schema(value_type = Option<String>)]
    pub(crate) revoked_at: Option<Timestamp>,
}

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
pub(crate) struct TokenView {
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

fn view(participant: Participant) -> ParticipantView {
    ParticipantView {
        participant_id: participant.participant_id,
        identity_key: participant.identity_key.to_string(),
        enrolled_at: participant.enrolled_at,
        not_after: participant.not_after,
        revoked_at: participant.revoked_at,
    }
}

/// All participants, by id
#[utoipa::path(get, path = "/api/v1/participants", tag = "participants",
    responses((status = 200, body = [ParticipantView])))]
pub(crate) async fn list(State(coordinator): Shared) -> axum::Json<Vec<ParticipantView>> {
    axum::Json(coordinator.registry.list().into_iter().map(view).collect())
}

/// Make a one-time token with which a site enrols
#[utoipa::path(post, path = "/api/v1/participants/tokens", tag = "participants", request_body = NewToken, responses(
    (status = 201, body = TokenView),
    (status = 429, description = "too many tokens are outstanding", content_type = "application/problem+json")
))]
pub(crate) async fn issue_token(
    State(coordinator): Shared,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, axum::Json<TokenView>), Refusal> {
    let issued = coordinator.blocking(move |coordinator| coordinator.issue_token(&new.participant_id)).await?;
    let view = TokenView {
        participant_id: issued.participant_id,
        token: issued.token.expose().to_owned(),
        expires_at: issued.expires_at,
        ca_certificate_pem: coordinator.ca_certificate_pem().to_owned(),
    };
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Shut a participant out, from now on and for streams that are open
#[utoipa::path(post, path = "/api/v1/participants/{participant_id}/revoke", tag = "participants",
    params(("participant_id" = String, Path)),
    responses(
        (status = 200, body = ParticipantView),
        (status = 403, description = "no such participant", content_type = "application/problem+json")
    )
)]
pub(crate) async fn revoke(
    State(coordinator): Shared,
    Path(participant_id): Path<String>,
) -> Result<axum::Json<ParticipantView>, Refusal> {
    let participant_id = ParticipantId::new(participant_id)?;
    let revoke =
        move |coordinator: &crate::Coordinator| coordinator.registry.revoke(&participant_id, coordinator.now());
    Ok(axum::Json(view(coordinator.blocking(revoke).await?)))
}
