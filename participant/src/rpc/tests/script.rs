//! What the scripted coordinator gets wrong.

use shared::participation::LatePolicy;

/// What goes wrong.
#[derive(Clone, Copy)]
pub(super) struct Script {
    /// How often enrolment is answered with pending.
    pub(super) pending: usize,
    /// How many watches break after their first view.
    pub(super) broken_watches: usize,
    /// How many uploads break.
    pub(super) broken_uploads: usize,
    /// How many uploads come when their round is over, so that the next one is announced.
    pub(super) late_uploads: usize,
    /// The task's late policy.
    pub(super) late: LatePolicy,
    /// How many joins come when their round is over, so that the next one is announced.
    pub(super) late_joins: usize,
    /// How many ledgers are refused as rolled back.
    pub(super) disowned: usize,
    /// Whether the site is quarantined.
    pub(super) shut_out: bool,
    /// Ends the task when an evaluation comes, and answers it when nobody watches any more.
    pub(super) ends_before_it_answers: bool,
}

impl Default for Script {
    fn default() -> Self {
        let late = LatePolicy::Drop;
        Self {
            pending: 0,
            broken_watches: 0,
            broken_uploads: 0,
            late_uploads: 0,
            late,
            late_joins: 0,
            disowned: 0,
            shut_out: false,
            ends_before_it_answers: false,
        }
    }
}
