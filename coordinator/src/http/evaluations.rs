//! The site × candidate matrix: what each site counted on its temporal hold-out, noised and signed there.

use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use shared::document::SignedDocument;
use shared::release::{Release, RoundRecord};
use shared::round::Tally;
use shared::store::Store;
use shared::update::Evaluation;
use shared::{Digest, ParticipantId, ReleaseId, RoundId, TaskId};
use utoipa::ToSchema;

use super::page::{Page, PageQuery};
use super::rounds;
use super::{Refusal, Shared};
use crate::durable::{self, Evidence};
use crate::release::SignedRelease;
use crate::{Coordinator, Error};

/// A candidate and how it does at the sites that evaluated it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CandidateView {
    /// The round whose candidate it is.
    pub(crate) round: u32,
    /// Digest of its parameters.
    #[schema(value_type = String)]
    pub(crate) candidate: Digest,
    /// The release that it became.
    #[schema(value_type = Option<String>)]
    pub(crate) release_id: Option<ReleaseId>,
    /// Attacks found over all attacks, of all sites together; null where the noised counts leave no attacks.
    pub(crate) true_positive_rate: Option<f64>,
    /// False alarms over all ordinary events, of all sites together.
    pub(crate) false_positive_rate: Option<f64>,
    /// Each site's counts.
    pub(crate) sites: Vec<SiteEvaluation>,
}

/// What one site counted. Counts carry noise and may be negative.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SiteEvaluation {
    /// The site.
    #[schema(value_type = String)]
    pub(crate) participant_id: ParticipantId,
    /// Attacks found.
    pub(crate) true_positives: i64,
    /// Attacks missed.
    pub(crate) false_negatives: i64,
    /// False alarms.
    pub(crate) false_positives: i64,
    /// Ordinary events left alone.
    pub(crate) true_negatives: i64,
    /// Attacks found over all attacks; null where the noised counts leave no attacks.
    pub(crate) true_positive_rate: Option<f64>,
    /// False alarms over all ordinary events; null where the noised counts leave none.
    pub(crate) false_positive_rate: Option<f64>,
    /// The site's signed word.
    #[schema(value_type = Object)]
    pub(crate) document: SignedDocument,
}

impl SiteEvaluation {
    fn new(document: SignedDocument, evaluation: Evaluation) -> Self {
        let tally = Tally::default().with(&evaluation);
        Self {
            participant_id: evaluation.participant_id,
            true_positives: evaluation.true_positives,
            false_negatives: evaluation.false_negatives,
            false_positives: evaluation.false_positives,
            true_negatives: evaluation.true_negatives,
            true_positive_rate: tally.true_positive_rate(),
            false_positive_rate: tally.false_positive_rate(),
            document,
        }
    }
}

fn views(coordinator: &Coordinator, task_id: &TaskId, page: &PageQuery) -> Result<Page<CandidateView>, Error> {
    let releases = releases(coordinator)?;
    let Page { items, next } = rounds::ids(coordinator, task_id, page)?;
    let views = items.iter().map(|round_id| view(coordinator, round_id, &releases));
    let items = views.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    Ok(Page { items, next })
}

/// The column of a committed round; `None` for a round that has no record.
fn view(
    coordinator: &Coordinator,
    round_id: &RoundId,
    releases: &[(RoundId, ReleaseId)],
) -> Result<Option<CandidateView>, Error> {
    let store = &*coordinator.store;
    let Some(document) = durable::read(store, &durable::record(round_id))? else { return Ok(None) };
    let record: RoundRecord = coordinator.coordinator_key().open(&document)?;
    let mut sites = Vec::new();
    for participant_id in record.accepted.keys() {
        let key = durable::evidence(round_id, Evidence::Evaluation, participant_id);
        let Some(document) = durable::read::<SignedDocument>(store, &key)? else { continue };
        let evaluation = shared::canonical::decode(document.body.as_bytes())?;
        sites.push(SiteEvaluation::new(document, evaluation));
    }
    let release = releases.iter().find(|(of, _)| of == round_id);
    Ok(Some(CandidateView {
        round: round_id.number.0,
        candidate: record.candidate,
        release_id: release.map(|(_, release_id)| release_id.clone()),
        true_positive_rate: record.tally.true_positive_rate(),
        false_positive_rate: record.tally.false_positive_rate(),
        sites,
    }))
}

/// Which rounds became releases. One that was computed again is another candidate, which no site has evaluated.
fn releases(coordinator: &Coordinator) -> Result<Vec<(RoundId, ReleaseId)>, Error> {
    let entries = coordinator.store.scan(durable::RELEASES, b"", usize::MAX)?;
    let opened = entries.iter().map(|(_, bytes)| {
        let signed: SignedRelease = durable::decode(durable::RELEASES, bytes)?;
        Ok(coordinator.coordinator_key().open::<Release>(&signed.release)?)
    });
    let opened = opened.collect::<Result<Vec<_>, Error>>()?;
    let evaluated = opened.into_iter().filter(|release| release.replaces.is_none());
    Ok(evaluated.map(|release| (release.round_id, release.release_id)).collect())
}

/// A task's candidates with each site's signed, noised hold-out counts
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/evaluations", tag = "evaluations",
    params(("task_id" = String, Path), PageQuery),
    responses(
        (status = 200, body = Page<CandidateView>),
        (status = 404, description = "no such task", content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(coordinator): Shared,
    Path(task_id): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<axum::Json<Page<CandidateView>>, Refusal> {
    let task_id = TaskId::new(task_id)?;
    Ok(axum::Json(coordinator.blocking(move |coordinator| views(coordinator, &task_id, &page)).await?))
}
