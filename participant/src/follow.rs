//! The site's part of a round as one pure function: from what the coordinator shows and what the site holds to the one
//! action that is due.
//!
//! It has no clock, store or connection, and remembers nothing between two calls: whoever carries the actions out
//! ([`crate::rpc`], or a simulation) tells it everything anew. So a view seen twice, a lost answer and a restart in
//! mid-round all lead to the same action, and none of them repeats what costs privacy.

use shared::participation::LatePolicy;
use shared::{Digest, RoundNumber};
use shared_wire::{Phase, RoundView, TaskState};

/// What the site holds of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The last round that the coordinator confirmed the site to have joined.
    pub joined: Option<RoundNumber>,
    /// The round that the prepared update was trained in, as long as it has no receipt. There is one at most.
    pub prepared: Option<RoundNumber>,
    /// The last round that counted an update of the site, by the coordinator's receipt.
    pub delivered: Option<RoundNumber>,
    /// Whether the task's updates are masked.
    pub masked: bool,
    /// The last masked round whose sum the site has checked.
    pub verified: Option<RoundNumber>,
    /// The last round whose candidate the site evaluated, once its counts have reached the coordinator.
    pub evaluated: Option<RoundNumber>,
    /// Digests of the vectors of parameters that are at hand.
    pub params: Vec<Digest>,
    /// The phase in which the site takes no part any more: the coordinator or the site's own ledger refused.
    pub sits_out: Option<(RoundNumber, Phase)>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing before the next view.
    Wait,
    /// Join the round.
    Join,
    /// Fetch these parameters.
    Fetch(Digest),
    /// Train from the round's checkpoint and prepare the update.
    Train,
    /// Send the prepared update, which was trained in this round or, carried, in this earlier one.
    Deliver(RoundNumber),
    /// Forget the prepared update: no round will count it any more.
    Drop(RoundNumber),
    /// Open this site's masked update, for which it was drawn.
    Open,
    /// Prove what this site's masked update is.
    Prove,
    /// Agree on who delivered in a masked round.
    Agree,
    /// Reveal what unmasks the round's sum.
    Reveal,
    /// Check a masked round's sum, and that this candidate follows from it.
    Verify(Digest),
    /// Evaluate this candidate and report the counts.
    Evaluate(Digest),
}

/// The action that is due when the coordinator shows `view` of a task whose late policy is `late`.
pub fn due(view: &RoundView, late: LatePolicy, held: &Held) -> Action {
    if view.task_state != TaskState::Running {
        return Action::Wait;
    }
    if let Some(trained_in) = held.prepared.filter(|trained_in| is_wasted(view, late, *trained_in)) {
        return Action::Drop(trained_in);
    }
    if held.sits_out == Some((view.round_id.number, view.phase)) {
        return Action::Wait;
    }
    match view.phase {
        Phase::Announced if view.invited && !has_joined(view, held) => Action::Join,
        Phase::Collecting => collecting(view, held),
        Phase::Opening | Phase::Proving | Phase::Agreeing | Phase::Unmasking if view.caller_accepted => {
            unmasking(view, held)
        }
        Phase::Aggregated if view.caller_accepted => aggregated(view, held),
        _ => Action::Wait,
    }
}

/// Whether no round will count an update trained in `trained_in` any more: training it further, or keeping it, is vain.
///
/// An update that the coordinator has and whose receipt is missing is not wasted while its round goes on.
pub fn is_wasted(view: &RoundView, late: LatePolicy, trained_in: RoundNumber) -> bool {
    let Some(behind) = view.round_id.number.0.checked_sub(trained_in.0) else { return false };
    let still_open = matches!(view.phase, Phase::Announced | Phase::Collecting) || view.caller_accepted;
    let limit = late.max_staleness();
    behind > limit || (behind == limit && !still_open)
}

fn collecting(view: &RoundView, held: &Held) -> Action {
    let round = view.round_id.number;
    let is_done = view.caller_accepted || held.delivered == Some(round);
    match held.prepared {
        // Sent again although it was accepted, an update gets the receipt that was lost: the same bytes, the same word.
        Some(trained_in) if trained_in == round || view.caller_accepted => Action::Deliver(trained_in),
        Some(trained_in) if trained_in < round && view.invited && !is_done => Action::Deliver(trained_in),
        None if has_joined(view, held) && !is_done => training(view, held),
        _ => Action::Wait,
    }
}

fn training(view: &RoundView, held: &Held) -> Action {
    let wanted = std::iter::once(view.checkpoint).chain(view.control);
    let missing = wanted.into_iter().find(|digest| !held.params.contains(digest));
    missing.map_or(Action::Train, Action::Fetch)
}

/// The coordinator counts the site's masked update in this round. An update without its receipt is sent again first, so
/// that nothing is revealed of an update that the site does not know to count.
fn unmasking(view: &RoundView, held: &Held) -> Action {
    match (held.prepared, view.phase) {
        (Some(trained_in), _) => Action::Deliver(trained_in),
        _ if view.caller_done => Action::Wait,
        (None, Phase::Opening) => Action::Open,
        (None, Phase::Proving) => Action::Prove,
        (None, Phase::Agreeing) => Action::Agree,
        (None, _) => Action::Reveal,
    }
}

/// The coordinator counts the site's update in this round.
fn aggregated(view: &RoundView, held: &Held) -> Action {
    match (held.prepared, view.candidate) {
        (Some(trained_in), _) => Action::Deliver(trained_in),
        (None, Some(_)) if held.evaluated == Some(view.round_id.number) => Action::Wait,
        (None, Some(candidate)) if held.masked && held.verified != Some(view.round_id.number) => {
            if held.params.contains(&view.checkpoint) {
                Action::Verify(candidate)
            } else {
                Action::Fetch(view.checkpoint)
            }
        }
        (None, Some(candidate)) if held.params.contains(&candidate) => Action::Evaluate(candidate),
        (None, Some(candidate)) => Action::Fetch(candidate),
        (None, None) => Action::Wait,
    }
}

fn has_joined(view: &RoundView, held: &Held) -> bool {
    view.caller_joined || held.joined == Some(view.round_id.number)
}

#[cfg(test)]
mod tests;
