//! Who is invited to a round, how many updates it waits for, and what becomes of an update that comes late.
//!
//! Plain terms of a task; who is invited in fact is decided by the coordinator and stands in the round's plan.

use serde::{Deserialize, Serialize};

use crate::aggregate::staleness_weight;

/// The most rounds that a late update may be behind.
pub const MAX_STALENESS: u32 = 100;
/// The largest factor of over-selection.
pub const MAX_OVER_SELECTION: f64 = 10.0;

/// How many take part in a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Participation {
    /// Collection ends as soon as this many updates are there; `None` waits for everybody who joined.
    pub goal: Option<u32>,
    /// This many times the goal are invited, at least 1, so that the slowest need not be waited for (Bonawitz et al.
    /// 2019, "Towards Federated Learning at Scale: System Design", section 2.2). Without a goal the whole cohort is.
    pub over_selection: f64,
    /// What becomes of an update that comes after its round stopped collecting.
    pub late: LatePolicy,
}

impl Default for Participation {
    fn default() -> Self {
        Self { goal: None, over_selection: 1.0, late: LatePolicy::Drop }
    }
}

/// What becomes of an update that comes after its round stopped collecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum LatePolicy {
    /// It is refused.
    Drop,
    /// It counts in full in the round that collects when it comes, up to `rounds` later.
    Carry {
        /// How many rounds later.
        rounds: u32,
    },
    /// It counts there, the less the staler it is (FedBuff: Nguyen et al. 2022, "Federated Learning with Buffered
    /// Asynchronous Aggregation", Algorithm 1 and section 5).
    Buffered {
        /// How many rounds later.
        rounds: u32,
    },
}

impl LatePolicy {
    /// How many rounds behind an update may be.
    pub fn max_staleness(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Carry { rounds } | Self::Buffered { rounds } => rounds,
        }
    }

    /// What an update weighs that is `staleness` rounds behind: all alike, unless staleness is weighed.
    pub fn weight(self, staleness: u32) -> u32 {
        match self {
            Self::Drop | Self::Carry { .. } => 1,
            Self::Buffered { .. } => staleness_weight(staleness),
        }
    }
}

impl Participation {
    /// How many of a cohort of `cohort` are invited to a round.
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive number, and casts saturate"
    )]
    pub fn invited(&self, cohort: usize) -> usize {
        let wanted = |goal: u32| (f64::from(goal) * self.over_selection).ceil() as usize;
        self.goal.map_or(cohort, |goal| wanted(goal).min(cohort))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_selection_invites_more_than_the_goal_but_no_more_than_there_are() {
        let invited =
            |goal, over_selection| Participation { goal, over_selection, ..Participation::default() }.invited(10);
        assert_eq!(invited(None, 1.0), 10);
        assert_eq!(invited(Some(4), 1.3), 6);
        assert_eq!(invited(Some(9), 1.3), 10);
    }
}
