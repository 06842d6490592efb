//! One round as a pure state machine: `Announced → Collecting → Collected → Aggregated → Evaluated → Committed`, or
//! `Aborted` from any but the last. A masked round goes `Collecting → Agreeing → Unmasking → Collected`, with `Opening`
//! or `Proving` or both before `Agreeing` where its task asks for them. One file per phase.
//!
//! The machine is driven by events and persisted as events; a restarted coordinator replays them and goes on. It never
//! looks at a clock: [`RoundState::due`] says which event the passing of time calls for. It knows nobody's connection:
//! who is not heard of any more is told it by [`RoundEvent::Lost`].

mod aggregated;
mod agreeing;
mod announced;
mod collected;
mod collecting;
mod evaluated;
mod event;
mod opening;
mod plan;
mod proving;
mod unmasking;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use aggregated::Aggregated;
pub use agreeing::Agreeing;
pub use announced::Announced;
pub use collected::Collected;
pub use collecting::Collecting;
pub use evaluated::{Evaluated, Tally};
pub use event::RoundEvent;
pub use opening::Opening;
pub use plan::{AcceptedUpdate, RoundPlan};
pub use proving::Proving;
pub use unmasking::{Survived, Unmasking};

use crate::{Digest, Explain, ParticipantId, RoundNumber, Timestamp};

/// Where a round stands.
#[derive(Debug, Clone, PartialEq)]
pub enum RoundState {
    /// Participants may join.
    Announced(Announced),
    /// Those who joined may deliver their updates.
    Collecting(Collecting),
    /// The set of masked updates is closed; those who were drawn open theirs.
    Opening(Opening),
    /// The set of masked updates is closed; all prove what theirs are.
    Proving(Proving),
    /// The set of masked updates is closed; survivors agree on who delivered.
    Agreeing(Agreeing),
    /// Survivors reveal what unmasks the sum.
    Unmasking(Unmasking),
    /// The set of updates is closed; the aggregate is not yet computed.
    Collected(Collected),
    /// The candidate is known; participants evaluate it.
    Aggregated(Aggregated),
    /// The evaluations are closed; the record is not yet signed.
    Evaluated(Evaluated),
    /// The record is signed. Nothing changes any more.
    Committed(Committed),
    /// The round ended without a result. Nothing changes any more.
    Aborted(Aborted),
}

/// A round that ended with a signed record.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// What was announced.
    pub plan: Arc<RoundPlan>,
    /// Digest of the candidate's parameters.
    pub candidate: Digest,
    /// Digest of what the server keeps for the next round.
    pub server_state: Option<Digest>,
    /// Digest of the signed record.
    pub record: Digest,
    /// When it was committed.
    pub at: Timestamp,
}

/// A round that ended without a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Aborted {
    /// What was announced.
    pub plan: Arc<RoundPlan>,
    /// Why it ended.
    pub reason: AbortReason,
    /// When it ended.
    pub at: Timestamp,
}

/// Why a round ended without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AbortReason {
    /// Too few joined, or too few of those who joined delivered, before the deadline.
    NoQuorum {
        /// How many came.
        present: u32,
        /// How many were needed.
        needed: u32,
    },
    /// Too few of those who delivered helped to unmask the sum before the deadline: nobody learns it.
    StaysMasked {
        /// How many did.
        present: u32,
        /// How many were needed.
        needed: u32,
    },
    /// The participant by whose update the others are measured did not open it.
    NoRoot {
        /// Who.
        root: ParticipantId,
    },
    /// The aggregate could not be computed.
    AggregateFailed {
        /// What the rule said.
        reason: String,
    },
    /// The operator ended it.
    Operator,
}

/// Why an event does not fit the state. The state is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// The phase does not take this event.
    #[error("the round is {phase}; it takes no `{event}`")]
    WrongPhase {
        /// Where the round stands.
        phase: &'static str,
        /// What was offered.
        event: &'static str,
    },
    /// The participant is not in the cohort, or did not join.
    #[error("`{0}` does not take part in this round")]
    NotTakingPart(ParticipantId),
    /// The participant already delivered something else in this round.
    #[error("`{participant_id}` already delivered {first} in this round, and now {second}")]
    Equivocation {
        /// Who.
        participant_id: ParticipantId,
        /// Digest of what was accepted first.
        first: Digest,
        /// Digest of what came later.
        second: Digest,
    },
    /// An update of the participant counts in this round already, trained in another one.
    #[error("an update of `{0}` counts in this round already")]
    Delivered(ParticipantId),
    /// The update was trained in a round that is too long ago, or yet to come.
    #[error("an update of round {trained_in} is too late for round {round}, which takes {allowed} rounds of delay")]
    Stale {
        /// The round that collects.
        round: RoundNumber,
        /// The round that the update was trained in.
        trained_in: RoundNumber,
        /// How many rounds behind an update may be.
        allowed: u32,
    },
    /// The evaluation is about other parameters than this round's candidate.
    #[error("the evaluation is of {found}, not of this round's candidate {expected}")]
    OtherCandidate {
        /// This round's candidate.
        expected: Digest,
        /// What was evaluated.
        found: Digest,
    },
}

impl Explain for IllegalTransition {
    fn code(&self) -> &'static str {
        match self {
            Self::WrongPhase { .. } => "round-wrong-phase",
            Self::NotTakingPart(_) => "round-not-taking-part",
            Self::Equivocation { .. } => "round-equivocation",
            Self::Delivered(_) => "round-delivered",
            Self::Stale { .. } => "round-stale",
            Self::OtherCandidate { .. } => "round-other-candidate",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::WrongPhase { .. } => "ask for the round's present phase and go on from there",
            Self::NotTakingPart(_) => "join while the round is announced, and be in the task's cohort",
            Self::Equivocation { .. } => "send the update that was acknowledged, or wait for the next round",
            Self::Delivered(_) => "wait for the next round; one update of a participant counts in each",
            Self::Stale { .. } => "drop the update and begin from the present round's checkpoint",
            Self::OtherCandidate { .. } => "fetch this round's candidate and evaluate that",
        }
    }
}

impl RoundState {
    /// A round that was just announced.
    pub fn announce(plan: RoundPlan) -> Self {
        Self::Announced(Announced { plan: Arc::new(plan), joined: BTreeSet::new(), lost: BTreeSet::new() })
    }

    /// What was announced.
    pub fn plan(&self) -> &Arc<RoundPlan> {
        match self {
            Self::Announced(state) => &state.plan,
            Self::Collecting(state) => &state.plan,
            Self::Opening(state) => &state.survived.plan,
            Self::Proving(state) => &state.survived.plan,
            Self::Agreeing(state) => &state.survived.plan,
            Self::Unmasking(state) => &state.survived.plan,
            Self::Collected(state) => &state.plan,
            Self::Aggregated(state) => &state.plan,
            Self::Evaluated(state) => &state.plan,
            Self::Committed(state) => &state.plan,
            Self::Aborted(state) => &state.plan,
        }
    }

    /// The phase's name, as in APIs and logs.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::Announced(_) => "announced",
            Self::Collecting(_) => "collecting",
            Self::Opening(_) => "opening",
            Self::Proving(_) => "proving",
            Self::Agreeing(_) => "agreeing",
            Self::Unmasking(_) => "unmasking",
            Self::Collected(_) => "collected",
            Self::Aggregated(_) => "aggregated",
            Self::Evaluated(_) => "evaluated",
            Self::Committed(_) => "committed",
            Self::Aborted(_) => "aborted",
        }
    }

    /// Whether nothing changes any more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Committed(_) | Self::Aborted(_))
    }

    /// Whom the present phase still waits for, lost or not; who is not heard of may be reported [`RoundEvent::Lost`].
    pub fn awaited(&self) -> Vec<&ParticipantId> {
        match self {
            Self::Announced(state) => state.plan.cohort.difference(&state.joined).collect(),
            Self::Collecting(state) => state.awaited().collect(),
            Self::Opening(state) => state.missing().collect(),
            Self::Proving(state) => state.survived.without(&state.proven).collect(),
            Self::Agreeing(state) => state.survived.without(&state.agreed).collect(),
            Self::Unmasking(state) => state.survived.without(&state.revealed).collect(),
            Self::Aggregated(state) => {
                state.accepted.keys().filter(|id| !state.evaluations.contains_key(*id)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Who is lost at present.
    pub fn lost(&self) -> Option<&BTreeSet<ParticipantId>> {
        match self {
            Self::Announced(state) => Some(&state.lost),
            Self::Collecting(state) => Some(&state.lost),
            Self::Opening(state) => Some(&state.survived.lost),
            Self::Proving(state) => Some(&state.survived.lost),
            Self::Agreeing(state) => Some(&state.survived.lost),
            Self::Unmasking(state) => Some(&state.survived.lost),
            Self::Aggregated(state) => Some(&state.lost),
            _ => None,
        }
    }

    /// When the present phase ends whoever is missing; `None` where the phase waits for nobody.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Announced(state) => Some(state.deadline()),
            Self::Collecting(state) => Some(state.deadline()),
            Self::Opening(state) => Some(state.deadline()),
            Self::Proving(state) => Some(state.deadline()),
            Self::Agreeing(state) => Some(state.deadline()),
            Self::Unmasking(state) => Some(state.deadline()),
            Self::Aggregated(state) => Some(state.deadline()),
            Self::Collected(_) | Self::Evaluated(_) | Self::Committed(_) | Self::Aborted(_) => None,
        }
    }

    /// The event that closes the present phase at `now`: everybody is there, or the deadline has passed. Whom it names,
    /// whoever drives the round fills in: who is drawn, and whose proof does not hold.
    pub fn due(&self, now: Timestamp) -> Option<RoundEvent> {
        let late = self.deadline().is_some_and(|deadline| now >= deadline);
        match self {
            Self::Announced(state) if late || state.is_full() => Some(RoundEvent::JoinClosed { at: now }),
            Self::Collecting(state) if late || state.is_full() => {
                Some(RoundEvent::CollectionClosed { drawn: BTreeSet::new(), at: now })
            }
            Self::Opening(state) if late || state.is_full() => Some(RoundEvent::OpeningsClosed { at: now }),
            Self::Proving(state) if late || state.is_full() => {
                Some(RoundEvent::ProofsClosed { weightless: BTreeSet::new(), at: now })
            }
            Self::Agreeing(state) if late || state.is_full() => Some(RoundEvent::AgreementClosed { at: now }),
            Self::Unmasking(state) if late || state.is_full() => Some(RoundEvent::RevealsClosed { at: now }),
            Self::Aggregated(state) if late || state.is_full() => Some(RoundEvent::EvaluationClosed { at: now }),
            _ => None,
        }
    }

    /// The state after `event`. Total: every state answers every event, with a state or with a reason.
    pub fn apply(&self, event: &RoundEvent) -> Result<Self, IllegalTransition> {
        let mut next = self.clone();
        next.advance(event)?;
        Ok(next)
    }

    /// As [`Self::apply`], in place; whether the event changed anything. After a refusal the state is as it was.
    pub fn advance(&mut self, event: &RoundEvent) -> Result<bool, IllegalTransition> {
        let step = match (&mut *self, event) {
            (Self::Committed(_) | Self::Aborted(_), _) => None,
            (state, RoundEvent::Aborted { reason, at }) => Some(Ok(Change::To(state.abort(reason.clone(), *at)))),
            (Self::Announced(state), _) => state.advance(event),
            (Self::Collecting(state), _) => state.advance(event),
            (Self::Opening(state), _) => state.advance(event),
            (Self::Proving(state), _) => state.advance(event),
            (Self::Agreeing(state), _) => state.advance(event),
            (Self::Unmasking(state), _) => state.advance(event),
            (Self::Collected(state), _) => state.advance(event),
            (Self::Aggregated(state), _) => state.advance(event),
            (Self::Evaluated(state), _) => state.advance(event),
        };
        match step.unwrap_or_else(|| Err(self.wrong_phase(event)))? {
            Change::None => Ok(false),
            Change::Within => Ok(true),
            Change::To(next) => {
                *self = next;
                Ok(true)
            }
        }
    }

    fn wrong_phase(&self, event: &RoundEvent) -> IllegalTransition {
        IllegalTransition::WrongPhase { phase: self.phase(), event: event.name() }
    }

    fn abort(&self, reason: AbortReason, at: Timestamp) -> Self {
        Self::Aborted(Aborted { plan: Arc::clone(self.plan()), reason, at })
    }
}

/// What a phase makes of an event: `None` when it is not its event, else a change or a reason to refuse.
type Step = Option<Result<Change, IllegalTransition>>;

/// What an event changed.
enum Change {
    /// Nothing: it was heard before.
    None,
    /// Something, and the phase goes on.
    Within,
    /// The phase is over; this is what follows.
    To(RoundState),
}

impl Change {
    fn within(changed: bool) -> Self {
        if changed { Self::Within } else { Self::None }
    }
}

/// The state after too few came.
fn no_quorum(plan: &Arc<RoundPlan>, present: usize, at: Timestamp) -> RoundState {
    let present = u32::try_from(present).unwrap_or(u32::MAX);
    let reason = AbortReason::NoQuorum { present, needed: plan.quorum };
    RoundState::Aborted(Aborted { plan: Arc::clone(plan), reason, at })
}

/// Whether `present` participants are enough for the plan.
fn has_quorum(plan: &RoundPlan, present: usize) -> bool {
    u32::try_from(present).is_ok_and(|present| present >= plan.quorum)
}

/// Whether nobody is still waited for: each came or is lost.
fn all_came<'a>(
    mut waited_for: impl Iterator<Item = &'a ParticipantId>,
    came: impl Fn(&ParticipantId) -> bool,
    lost: &BTreeSet<ParticipantId>,
) -> bool {
    waited_for.all(|participant_id| came(participant_id) || lost.contains(participant_id))
}

#[cfg(test)]
mod tests;
