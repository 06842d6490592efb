//! What is published of a task after each durable change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::round::{AcceptedUpdate, RoundState};
use shared::{Digest, ParticipantId, Timestamp};
use shared_wire::{Phase, RoundView};

use crate::task::Outcome;

/// A task's newest round and outcome, as they stand in the store.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) state: Arc<RoundState>,
    pub(crate) rounds_done: u32,
    pub(crate) paused: bool,
    /// Whether what the server keeps is a control variate, which participants need too.
    pub(crate) shares_state: bool,
    pub(crate) outcome: Option<Outcome>,
}

impl Snapshot {
    /// The round as `caller` sees it.
    pub(crate) fn view(&self, caller: &ParticipantId, now: Timestamp) -> RoundView {
        let plan = self.state.plan();
        let (joined, accepted) = (joined(&self.state), accepted(&self.state));
        let is_invited = plan.cohort.contains(caller);
        RoundView {
            round_id: plan.round_id.clone(),
            phase: phase(&self.state),
            checkpoint: plan.checkpoint,
            control: plan.server_state.filter(|_| self.shares_state),
            candidate: candidate(&self.state),
            deadline: self.state.deadline(),
            quorum: plan.quorum,
            invited: is_invited,
            joined: joined.map_or(0, |joined| count(joined.len())),
            accepted: accepted.map_or(0, |accepted| count(accepted.len())),
            caller_joined: joined.is_some_and(|joined| joined.contains(caller)),
            caller_accepted: accepted.is_some_and(|accepted| accepted.contains_key(caller)),
            caller_done: has_done(&self.state, caller),
            task_state: Outcome::state(self.outcome.as_ref(), self.paused),
            rounds_done: self.rounds_done,
            sent_at: now,
        }
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn phase(state: &RoundState) -> Phase {
    match state {
        RoundState::Announced(_) => Phase::Announced,
        RoundState::Collecting(_) => Phase::Collecting,
        RoundState::Opening(_) => Phase::Opening,
        RoundState::Proving(_) => Phase::Proving,
        RoundState::Agreeing(_) => Phase::Agreeing,
        RoundState::Unmasking(_) => Phase::Unmasking,
        RoundState::Collected(_) => Phase::Collected,
        RoundState::Aggregated(_) => Phase::Aggregated,
        RoundState::Evaluated(_) => Phase::Evaluated,
        RoundState::Committed(_) => Phase::Committed,
        RoundState::Aborted(_) => Phase::Aborted,
    }
}

impl Snapshot {
    /// Whether a watcher has to hear of the step from `before` to this at once. Counters can wait for a heartbeat.
    pub(crate) fn is_news_after(&self, before: &Self) -> bool {
        let key = |snapshot: &Self| (snapshot.state.plan().round_id.number, snapshot.state.phase(), snapshot.paused);
        key(self) != key(before) || self.outcome != before.outcome
    }
}

/// Who joined, while that matters.
pub(crate) fn joined(state: &RoundState) -> Option<&BTreeSet<ParticipantId>> {
    match state {
        RoundState::Announced(state) => Some(&state.joined),
        RoundState::Collecting(state) => Some(&state.joined),
        _ => None,
    }
}

/// Whose update is durable, until the round is closed.
pub(crate) fn accepted(state: &RoundState) -> Option<&BTreeMap<ParticipantId, AcceptedUpdate>> {
    match state {
        RoundState::Collecting(state) => Some(&state.accepted),
        RoundState::Opening(state) => Some(&state.survived.accepted),
        RoundState::Proving(state) => Some(&state.survived.accepted),
        RoundState::Agreeing(state) => Some(&state.survived.accepted),
        RoundState::Unmasking(state) => Some(&state.survived.accepted),
        RoundState::Collected(state) => Some(&state.accepted),
        RoundState::Aggregated(state) => Some(&state.accepted),
        RoundState::Evaluated(state) => Some(&state.accepted),
        RoundState::Announced(_) | RoundState::Committed(_) | RoundState::Aborted(_) => None,
    }
}

/// Whether a participant has done its part of the present phase of a masked round.
fn has_done(state: &RoundState, participant_id: &ParticipantId) -> bool {
    match state {
        RoundState::Opening(state) => !state.drawn.contains(participant_id) || state.opened.contains(participant_id),
        RoundState::Proving(state) => state.proven.contains(participant_id),
        RoundState::Agreeing(state) => state.agreed.contains(participant_id),
        RoundState::Unmasking(state) => state.revealed.contains(participant_id),
        _ => false,
    }
}

/// The candidate, once it is known.
pub(crate) fn candidate(state: &RoundState) -> Option<Digest> {
    match state {
        RoundState::Aggregated(state) => Some(state.candidate),
        RoundState::Evaluated(state) => Some(state.candidate),
        RoundState::Committed(state) => Some(state.candidate),
        _ => None,
    }
}
