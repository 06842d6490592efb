//! Rounds: list and show, as their events in the store leave them, and the transcript of one that is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::release::RoundRecord;
use shared::round::{AbortReason, AcceptedUpdate, RoundPlan, RoundState, Tally};
use shared::{Digest, ParticipantId, RoundId, RoundNumber, TaskId, Timestamp};
use shared_audit::transcript::Transcript;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::page::{Page, PageQuery};
use super::{Refusal, Shared};
use crate::proof::{self, Proof};
use crate::round::{accepted, candidate, joined, replay};
use crate::{Coordinator, Error, task, transcript};

/// How many pieces of a transcript wait for a slow reader.
const WAITING: usize = 4;
/// How large a piece is.
const PIECE: usize = 1 << 16;

/// A round and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RoundView {
    /// Its number.
    pub(crate) round: u32,
    /// Its phase.
    pub(crate) phase: String,
    /// Digest of the parameters it starts from.
    #[schema(value_type = String)]
    pub(crate) checkpoint: Digest,
    /// Digest of the parameters it ends with.
    #[schema(value_type = Option<String>)]
    pub(crate) candidate: Option<Digest>,
    /// When it was announced.
    #[schema(value_type = String)]
    pub(crate) announced_at: Timestamp,
    /// When its phase ends whoever is missing; null where it waits for nobody.
    #[schema(value_type = Option<String>)]
    pub(crate) deadline: Option<Timestamp>,
    /// When it was committed or aborted.
    #[schema(value_type = Option<String>)]
    pub(crate) ended: Option<Timestamp>,
    /// How many updates it needs.
    pub(crate) quorum: u32,
    /// How many updates are enough to stop waiting; null where the round waits for all who joined.
    pub(crate) goal: Option<u32>,
    /// Who is invited.
    #[schema(value_type = Vec<String>)]
    pub(crate) cohort: BTreeSet<ParticipantId>,
    /// Who joined, while the round is announced or collecting.
    #[schema(value_type = Vec<String>)]
    pub(crate) joined: BTreeSet<ParticipantId>,
    /// Whose update counts, and what of it.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub(crate) accepted: BTreeMap<ParticipantId, AcceptedUpdate>,
    /// Who is not heard of at present.
    #[schema(value_type = Vec<String>)]
    pub(crate) lost: BTreeSet<ParticipantId>,
    /// The cohort's noised hold-out counts, once they are closed.
    #[schema(value_type = Option<Object>)]
    pub(crate) tally: Option<Tally>,
    /// Why it was aborted.
    #[schema(value_type = Option<Object>)]
    pub(crate) aborted: Option<AbortReason>,
    /// The signed record, once it is committed.
    #[schema(value_type = Option<Object>)]
    pub(crate) record: Option<SignedDocument>,
}

/// What proves that participants broke the protocol of a round; nothing in it is anybody's secret any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Proofs {
    /// Each with whom it is about.
    items: Vec<Proof>,
}

impl RoundView {
    /// What a round's state alone tells.
    pub(super) fn of(state: &RoundState) -> Self {
        let plan: &RoundPlan = state.plan();
        Self {
            round: plan.round_id.number.0,
            phase: state.phase().to_owned(),
            checkpoint: plan.checkpoint,
            candidate: candidate(state),
            announced_at: plan.announced_at,
            deadline: state.deadline(),
            ended: ended(state),
            quorum: plan.quorum,
            goal: (plan.goal < u32::MAX).then_some(plan.goal),
            cohort: plan.cohort.clone(),
            joined: joined(state).cloned().unwrap_or_default(),
            accepted: accepted(state).cloned().unwrap_or_default(),
            lost: state.lost().cloned().unwrap_or_default(),
            tally: match state {
                RoundState::Evaluated(state) => Some(state.tally),
                _ => None,
            },
            aborted: match state {
                RoundState::Aborted(state) => Some(state.reason.clone()),
                _ => None,
            },
            record: None,
        }
    }

    /// With what the signed record of a committed round says.
    fn with_record(self, coordinator: &Coordinator, round_id: &RoundId) -> Result<Self, Error> {
        let document = coordinator.round_record(round_id)?;
        let record: RoundRecord = coordinator.coordinator_key().open(&document)?;
        Ok(Self { accepted: record.accepted, tally: Some(record.tally), record: Some(document), ..self })
    }
}

fn ended(state: &RoundState) -> Option<Timestamp> {
    match state {
        RoundState::Committed(state) => Some(state.at),
        RoundState::Aborted(state) => Some(state.at),
        _ => None,
    }
}

fn view(coordinator: &Coordinator, round_id: &RoundId) -> Result<RoundView, Error> {
    let state = replay(&*coordinator.store, round_id)?.state;
    let view = RoundView::of(&state);
    match *state {
        RoundState::Committed(_) => view.with_record(coordinator, round_id),
        _ => Ok(view),
    }
}

/// The rounds of a task on one page.
pub(super) fn ids(coordinator: &Coordinator, task_id: &TaskId, page: &PageQuery) -> Result<Page<RoundId>, Error> {
    let newest = task::entry(&*coordinator.store, task_id)?.round.0;
    let first = page.after::<u32>()?.unwrap_or(0).saturating_add(1);
    let id = |number| RoundId { task_id: task_id.clone(), number: RoundNumber(number) };
    Ok(page.cut(first..=newest, |number| *number)?.map(id))
}

fn views(coordinator: &Coordinator, task_id: &TaskId, page: &PageQuery) -> Result<Page<RoundView>, Error> {
    ids(coordinator, task_id, page)?.try_map(|round_id| view(coordinator, &round_id))
}

/// A task's rounds, by number
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/rounds", tag = "rounds",
    params(("task_id" = String, Path), PageQuery),
    responses(
        (status = 200, body = Page<RoundView>),
        (status = 404, description = "no such task", content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<Page<RoundView>>, Refusal> {
    let task_id = TaskId::new(task_id)?;
    Ok(axum::Json(coordinator.blocking(move |coordinator| views(coordinator, &task_id, &page)).await?))
}

/// One round
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/rounds/{round}", tag = "rounds",
    params(("task_id" = String, Path), ("round" = u32, Path)),
    responses(
        (status = 200, body = RoundView),
        (status = 404, description = "no such round", content_type = "application/problem+json")
    )
)]
pub(crate) async fn show(
    State(coordinator): Shared,
    Path((task_id, round)): Path<(String, u32)>,
) -> Result<axum::Json<RoundView>, Refusal> {
    let round_id = RoundId { task_id: TaskId::new(task_id)?, number: RoundNumber(round) };
    Ok(axum::Json(coordinator.blocking(move |coordinator| view(coordinator, &round_id)).await?))
}

/// What proves that participants broke the protocol of a round
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/rounds/{round}/proofs", tag = "rounds",
    params(("task_id" = String, Path), ("round" = u32, Path)),
    responses(
        (status = 200, body = Proofs),
        (status = 404, description = "no such round", content_type = "application/problem+json")
    )
)]
pub(crate) async fn proofs(
    State(coordinator): Shared,
    Path((task_id, round)): Path<(String, u32)>,
) -> Result<axum::Json<Proofs>, Refusal> {
    let round_id = RoundId { task_id: TaskId::new(task_id)?, number: RoundNumber(round) };
    let find = move |coordinator: &Coordinator| {
        view(coordinator, &round_id)?;
        Ok(Proofs { items: proof::of_round(&*coordinator.store, &round_id)? })
    };
    Ok(axum::Json(coordinator.blocking(find).await?))
}

/// Everything that decided a committed round, as one file that can be checked offline
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/rounds/{round}/transcript", tag = "rounds",
    params(("task_id" = String, Path), ("round" = u32, Path)),
    responses(
        (status = 200, description = "a ustar archive", content_type = "application/x-tar", body = String),
        (status = 404, description = "no such round with a record, or its updates are kept no more",
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn transcript(
    State(coordinator): Shared,
    Path((task_id, round)): Path<(String, u32)>,
) -> Result<Response, Refusal> {
    let round_id = RoundId { task_id: TaskId::new(task_id)?, number: RoundNumber(round) };
    let record = move |coordinator: &Coordinator| transcript::of(coordinator, coordinator.round_record(&round_id)?);
    let transcript = coordinator.blocking(record).await?;
    Ok(send(&coordinator, transcript))
}

/// The answer that writes a transcript while it is read.
pub(super) fn send(coordinator: &Coordinator, transcript: Transcript) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(transcript.len()));
    let (pieces, stream) = mpsc::channel(WAITING);
    coordinator.tracker.spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(PIECE, Pieces(pieces.clone()));
        if let Err(error) = transcript.write_to(&mut out) {
            // The reader sees that the body ends before its length; who has gone needs no reason.
            let _ = pieces.blocking_send(Err(error));
        }
    });
    (headers, Body::from_stream(ReceiverStream::new(stream))).into_response()
}

/// Sends what is written on to who reads the answer, and waits while they are slow.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
