//! Where a participant stands with the federation, and the one function that moves it. It looks at no certificate,
//! writes nothing and reads no clock.

use serde::{Deserialize, Serialize};
use shared::Timestamp;
use utoipa::ToSchema;

/// What a participant may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has asked, and the operator has not answered: nothing.
    Pending,
    /// Take part.
    Approved,
    /// Connect and watch, but not join, send updates or evaluations.
    Quarantined,
    /// Nothing, for ever.
    Revoked,
}

/// A participant's state, and since when and why it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// What it may do.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Why, in the words of who decided it.
    pub reason: String,
}

/// What may happen to a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It enrolled with a good token; `trusted` when nobody needs to look at that.
    Enrol {
        /// Whether enrolments are approved automatically, or the key is one that was approved before.
        trusted: bool,
    },
    /// The operator lets it in.
    Approve,
    /// It misbehaved, or the operator wants to look into it.
    Quarantine,
    /// The operator ends the quarantine.
    Reinstate,
    /// The operator shuts it out, for ever.
    Revoke,
}

impl Change {
    /// The change as audit records and errors name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enrol { .. } => "enrol",
            Self::Approve => "approve",
            Self::Quarantine => "quarantine",
            Self::Reinstate => "reinstate",
            Self::Revoke => "revoke",
        }
    }
}

/// The state cannot change so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalChange;

impl State {
    /// The state after a change; the same state when the change has been made already. `before` is `None` for who never
    /// enrolled.
    pub fn after(before: Option<Self>, change: Change) -> Result<Self, IllegalChange> {
        match (before, change) {
            (Some(_), Change::Revoke) => Ok(Self::Revoked),
            (Some(Self::Revoked), _) => Err(IllegalChange),
            // Enrolling anew is no way out of quarantine.
            (Some(Self::Quarantined), Change::Enrol { .. }) => Ok(Self::Quarantined),
            (_, Change::Enrol { trusted: true }) => Ok(Self::Approved),
            (_, Change::Enrol { trusted: false }) => Ok(Self::Pending),
            (Some(Self::Pending | Self::Approved), Change::Approve) => Ok(Self::Approved),
            (Some(Self::Approved | Self::Quarantined), Change::Quarantine) => Ok(Self::Quarantined),
            (Some(Self::Approved | Self::Quarantined), Change::Reinstate) => Ok(Self::Approved),
            (Some(Self::Quarantined), Change::Approve) => Err(IllegalChange),
            (Some(Self::Pending), Change::Quarantine | Change::Reinstate) => Err(IllegalChange),
            (None, _) => Err(IllegalChange),
        }
    }

    /// The state as the admin API and messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES: [Change; 6] = [
        Change::Enrol { trusted: true },
        Change::Enrol { trusted: false },
        Change::Approve,
        Change::Quarantine,
        Change::Reinstate,
        Change::Revoke,
    ];

    #[test]
    fn every_change_of_every_state_is_as_the_table_says() {
        use State::{Approved, Pending, Quarantined, Revoked};
        let table = [
            (None, [Some(Approved), Some(Pending), None, None, None, None]),
            (Some(Pending), [Some(Approved), Some(Pending), Some(Approved), None, None, Some(Revoked)]),
            (
                Some(Approved),
                [Some(Approved), Some(Pending), Some(Approved), Some(Quarantined), Some(Approved), Some(Revoked)],
            ),
            (
                Some(Quarantined),
                [Some(Quarantined), Some(Quarantined), None, Some(Quarantined), Some(Approved), Some(Revoked)],
            ),
            (Some(Revoked), [None, None, None, None, None, Some(Revoked)]),
        ];
        for (before, row) in table {
            for (change, after) in CHANGES.into_iter().zip(row) {
                assert_eq!(State::after(before, change).ok(), after, "{before:?} {change:?}");
            }
        }
    }

    #[test]
    fn a_change_made_twice_is_made_once() {
        for change in CHANGES {
            for before in [State::Pending, State::Approved, State::Quarantined, State::Revoked] {
                if let Ok(after) = State::after(Some(before), change) {
                    assert_eq!(State::after(Some(after), change), Ok(after), "{before:?} {change:?}");
                }
            }
        }
    }

    #[test]
    fn nobody_comes_back_from_revocation() {
        let mut reached = vec![State::Revoked];
        for change in CHANGES {
            reached.extend(State::after(Some(State::Revoked), change));
        }
        assert!(reached.iter().all(|state| *state == State::Revoked));
    }
}
