//! Participants: list, show, and the changes an operator makes to them.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::{Extension, Json as Answer};
use serde::{Deserialize, Serialize};
use shared::{ParticipantId, Timestamp};
use shared_ops::problem::Json;
use utoipa::{IntoParams, ToSchema};

use super::access::Actor;
use super::page::{Page, PageQuery};
use super::{Refusal, Shared};
use crate::enrol::{Change, Participant, State as Standing};
use crate::{Coordinator, Error};

/// The longest reason, in characters.
const MAX_REASON: usize = 500;

/// A participant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ParticipantView {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) participant_id: ParticipantId,
    /// Checks its signatures: 64 hexadecimal digits.
    pub(crate) identity_key: String,
    /// Seals what is meant for it alone: 64 hexadecimal digits.
    pub(crate) agreement_key: String,
    /// What it may do.
    pub(crate) state: Standing,
    /// Since when it is in this state.
    #[schema(value_type = String)]
    pub(crate) since: Timestamp,
    /// Why it is in this state.
    pub(crate) reason: String,
    /// When it enrolled last.
    #[schema(value_type = String)]
    pub(crate) enrolled_at: Timestamp,
    /// When its newest certificate ends; null before the first.
    #[schema(value_type = Option<String>)]
    pub(crate) certificate_expires_at: Option<Timestamp>,
    /// When it was heard of last; null when it was not since the coordinator started.
    #[schema(value_type = Option<String>)]
    pub(crate) last_seen: Option<Timestamp>,
    /// How far its clock was ahead of the coordinator's then, in milliseconds.
    pub(crate) clock_skew_ms: Option<i64>,
}

/// Which participants are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only those in this state.
    state: Option<Standing>,
}

/// Why an operator changes something.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReason {
    /// One line, 1 to 500 characters, for the audit log and whoever asks later.
    reason: String,
}

impl NewReason {
    fn read(self) -> Result<String, Error> {
        let reason = self.reason.trim();
        let fits = (1..=MAX_REASON).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
        if fits { Ok(reason.to_owned()) } else { Err(Error::Reason { limit: MAX_REASON }) }
    }
}

fn view(coordinator: &Coordinator, participant: &Participant) -> ParticipantView {
    let seen = coordinator.presence.seen(&participant.participant_id);
    ParticipantView {
        participant_id: participant.participant_id.clone(),
        identity_key: participant.identity_key.to_string(),
        agreement_key: participant.agreement_key.to_string(),
        state: participant.standing.state,
        since: participant.standing.since,
        reason: participant.standing.reason.clone(),
        enrolled_at: participant.enrolled_at,
        certificate_expires_at: participant.certificate_expires_at(),
        last_seen: seen.map(|seen| seen.at),
        clock_skew_ms: seen.and_then(|seen| seen.clock_skew_ms),
    }
}

/// Participants by id
#[utoipa::path(get, path = "/api/v1/participants", tag = "participants", params(PageQuery, Filter),
    responses((status = 200, body = Page<ParticipantView>)))]
pub(crate) async fn list(
    State(coordinator): Shared,
    Query(page): Query<PageQuery>,
    Query(filter): Query<Filter>,
) -> Result<Answer<Page<ParticipantView>>, Refusal> {
    let known = coordinator.registry.list().into_iter();
    let wanted = known.filter(|known| filter.state.is_none_or(|state| known.standing.state == state));
    let page = page.cut(wanted, |known| known.participant_id.clone())?;
    Ok(Answer(page.map(|known| view(&coordinator, &known))))
}

/// One participant
#[utoipa::path(get, path = "/api/v1/participants/{participant_id}", tag = "participants",
    params(("participant_id" = String, Path)),
    responses(
        (status = 200, body = ParticipantView),
        (status = 404, description = "no such participant", content_type = "application/problem+json")
    )
)]
pub(crate) async fn show(
    State(coordinator): Shared,
    Path(participant_id): Path<String>,
) -> Result<Answer<ParticipantView>, Refusal> {
    let found = coordinator.registry.find(&ParticipantId::new(participant_id)?)?;
    Ok(Answer(view(&coordinator, &found)))
}

async fn change(
    coordinator: &Arc<Coordinator>,
    actor: Actor,
    participant_id: String,
    change: Change,
    reason: NewReason,
) -> Result<Answer<ParticipantView>, Refusal> {
    let (participant_id, reason) = (ParticipantId::new(participant_id)?, reason.read()?);
    let work = move |coordinator: &Coordinator| {
        coordinator.registry.change(&participant_id, change, &reason, &actor.name, coordinator.now())
    };
    let changed = coordinator.blocking(work).await?;
    Ok(Answer(view(coordinator, &changed)))
}

/// Let a participant in that waits for approval
#[utoipa::path(post, path = "/api/v1/participants/{participant_id}/approve", tag = "participants",
    params(("participant_id" = String, Path)), request_body = NewReason,
    responses(
        (status = 200, body = ParticipantView),
        (status = 404, description = "no such participant", content_type = "application/problem+json"),
        (status = 409, description = "it is quarantined or revoked", content_type = "application/problem+json")
    )
)]
pub(crate) async fn approve(
    State(coordinator): Shared,
    Extension(actor): Extension<Actor>,
    Path(participant_id): Path<String>,
    Json(reason): Json<NewReason>,
) -> Result<Answer<ParticipantView>, Refusal> {
    change(&coordinator, actor, participant_id, Change::Approve, reason).await
}

/// Let a participant watch, and nothing else
#[utoipa::path(post, path = "/api/v1/participants/{participant_id}/quarantine", tag = "participants",
    params(("participant_id" = String, Path)), request_body = NewReason,
    responses(
        (status = 200, body = ParticipantView),
        (status = 404, description = "no such participant", content_type = "application/problem+json"),
        (status = 409, description = "it is pending or revoked", content_type = "application/problem+json")
    )
)]
pub(crate) async fn quarantine(
    State(coordinator): Shared,
    Extension(actor): Extension<Actor>,
    Path(participant_id): Path<String>,
    Json(reason): Json<NewReason>,
) -> Result<Answer<ParticipantView>, Refusal> {
    change(&coordinator, actor, participant_id, Change::Quarantine, reason).await
}

/// End a participant's quarantine
#[utoipa::path(post, path = "/api/v1/participants/{participant_id}/reinstate", tag = "participants",
    params(("participant_id" = String, Path)), request_body = NewReason,
    responses(
        (status = 200, body = ParticipantView),
        (status = 404, description = "no such participant", content_type = "application/problem+json"),
        (status = 409, description = "it is pending or revoked", content_type = "application/problem+json")
    )
)]
pub(crate) async fn reinstate(
    State(coordinator): Shared,
    Extension(actor): Extension<Actor>,
    Path(participant_id): Path<String>,
    Json(reason): Json<NewReason>,
) -> Result<Answer<ParticipantView>, Refusal> {
    change(&coordinator, actor, participant_id, Change::Reinstate, reason).await
}

/// Shut a participant out for ever, and cut its connections
#[utoipa::path(post, path = "/api/v1/participants/{participant_id}/revoke", tag = "participants",
    params(("participant_id" = String, Path)), request_body = NewReason,
    responses(
        (status = 200, body = ParticipantView),
        (status = 404, description = "no such participant", content_type = "application/problem+json")
    )
)]
pub(crate) async fn revoke(
    State(coordinator): Shared,
    Extension(actor): Extension<Actor>,
    Path(participant_id): Path<String>,
    Json(reason): Json<NewReason>,
) -> Result<Answer<ParticipantView>, Refusal> {
    change(&coordinator, actor, participant_id, Change::Revoke, reason).await
}
