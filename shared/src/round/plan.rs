//! What is fixed of a round: what was announced, and what counts of an accepted update.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::IllegalTransition;
use crate::encoding::Encoding;
use crate::masking::Assurance;
use crate::participation::LatePolicy;
use crate::task::Deadlines;
use crate::{Digest, ParticipantId, RoundId, RoundNumber, Timestamp};

/// What is fixed when a round is announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundPlan {
    /// Which round.
    pub round_id: RoundId,
    /// Digest of the signed task.
    pub task_digest: Digest,
    /// Digest of the parameters that training starts from.
    pub checkpoint: Digest,
    /// Digest of what the server kept from the round before, where the server's step keeps anything.
    pub server_state: Option<Digest>,
    /// Who is invited.
    pub cohort: BTreeSet<ParticipantId>,
    /// Whose update the rule measures the others by; without it there is no aggregate.
    pub root: Option<ParticipantId>,
    /// How many updates are needed.
    pub quorum: u32,
    /// How many updates are enough to stop waiting.
    pub goal: u32,
    /// How many of those who delivered must help to unmask the sum; `None` where updates are not masked.
    pub threshold: Option<u32>,
    /// What is asked of updates that nobody sees.
    pub assurance: Assurance,
    /// What becomes of an update that comes late.
    pub late: LatePolicy,
    /// How long each phase waits.
    pub deadlines: Deadlines,
    /// When the round was announced.
    pub announced_at: Timestamp,
}

impl RoundPlan {
    /// How many rounds behind this one an update trained in `trained_in` is; refused when that is too many.
    pub fn staleness(&self, trained_in: RoundNumber) -> Result<u32, IllegalTransition> {
        let (round, allowed) = (self.round_id.number, self.late.max_staleness());
        let behind = round.0.checked_sub(trained_in.0).filter(|behind| *behind <= allowed);
        behind.ok_or(IllegalTransition::Stale { round, trained_in, allowed })
    }

    /// What an update trained in `trained_in` weighs in this round: all alike, unless the late policy weighs staleness.
    pub fn weight(&self, trained_in: RoundNumber) -> u32 {
        self.late.weight(self.round_id.number.0.saturating_sub(trained_in.0))
    }
}

/// What counts of an accepted update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedUpdate {
    /// Digest of its encoded bytes, as its participant signed it.
    pub payload: Digest,
    /// How many encoded bytes there are.
    pub byte_count: u64,
    /// How they encode the parameters.
    pub encoding: Encoding,
    /// The round whose checkpoint it was trained from.
    pub trained_in: RoundNumber,
    /// Its weight in the aggregate.
    pub weight: u32,
    /// How many optimiser steps it took.
    pub local_steps: u32,
}
