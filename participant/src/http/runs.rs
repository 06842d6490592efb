//! Playbook runs: what was done, approvals, rollback on request, and the switch that ends all automation.

use axum::Json;
use axum::extract::{Path, State};
use policy_as_code::containment::KillSwitch;
use policy_as_code::playbook::{Responder, RunState};
use serde::Deserialize;
use shared::RunId;
use shared_ops::problem::Json as Body;
use utoipa::ToSchema;

use super::{Refusal, Shared};

/// A person's approval of a step that the policies left to people.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approval {
    /// The step's number, from 1.
    step: u32,
    /// The person's name.
    responder: String,
    /// Whether the person is on call.
    on_call: bool,
}

/// A person's order to give back what a run took.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollBack {
    /// The person's name.
    responder: String,
}

/// A person's order to stop all automation, or to let it go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Switch {
    /// Whether automation stops.
    on: bool,
    /// The person's name.
    responder: String,
}

/// The runs that still hold something, by id.
#[utoipa::path(get, path = "/api/v1/runs", responses((status = 200, body = Vec<String>)))]
pub(super) async fn list(State(service): Shared) -> Result<Json<Vec<RunId>>, Refusal> {
    Ok(Json(service.open_runs()?))
}

/// One run.
#[utoipa::path(get, path = "/api/v1/runs/{run_id}", responses((status = 200, body = Object), (status = 404)))]
pub(super) async fn show(State(service): Shared, Path(run_id): Path<String>) -> Result<Json<RunState>, Refusal> {
    Ok(Json(service.run(&RunId::new(run_id)?)?))
}

/// Approves a step; the policies are asked again in the responder's name.
#[utoipa::path(
    post,
    path = "/api/v1/runs/{run_id}/approvals",
    request_body = Approval,
    responses((status = 200, body = Object), (status = 404), (status = 409))
)]
pub(super) async fn approve(
    State(service): Shared,
    Path(run_id): Path<String>,
    Body(approval): Body<Approval>,
) -> Result<Json<RunState>, Refusal> {
    let responder = Responder { name: approval.responder, on_call: approval.on_call };
    Ok(Json(service.approve(&RunId::new(run_id)?, approval.step, responder).await?))
}

/// Undoes everything that a run did, latest step first.
#[utoipa::path(
    post,
    path = "/api/v1/runs/{run_id}/rollback",
    request_body = RollBack,
    responses((status = 200, body = Object), (status = 404), (status = 409))
)]
pub(super) async fn roll_back(
    State(service): Shared,
    Path(run_id): Path<String>,
    Body(order): Body<RollBack>,
) -> Result<Json<RunState>, Refusal> {
    Ok(Json(service.roll_back_run(&RunId::new(run_id)?, &order.responder).await?))
}

/// Who stopped all automation at this site, and when; `null` while it may go on.
#[utoipa::path(get, path = "/api/v1/kill-switch", responses((status = 200, body = Object)))]
pub(super) async fn kill_switch(State(service): Shared) -> Result<Json<Option<KillSwitch>>, Refusal> {
    Ok(Json(service.kill_switch()?))
}

/// Stops all automation at this site, or lets it go on. What is in force stays until its lease lapses or a person rolls
/// it back.
#[utoipa::path(
    post,
    path = "/api/v1/kill-switch",
    request_body = Switch,
    responses((status = 200, body = Object))
)]
pub(super) async fn set_kill_switch(
    State(service): Shared,
    Body(order): Body<Switch>,
) -> Result<Json<Option<KillSwitch>>, Refusal> {
    Ok(Json(service.set_kill_switch(order.on, &order.responder)?))
}
