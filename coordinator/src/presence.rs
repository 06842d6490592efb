//! Who was heard of lately, whatever task it takes part in: by the heartbeats of its watch, and by its uploads.
//!
//! A slow participant that makes progress is not taken for dead, and nobody is when the coordinator itself stood still
//! or its clock jumped. Nothing here is durable, and no connection is opened or cut.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::{ParticipantId, Timestamp};
use shared_wire::{Activity, Heartbeat, PATIENCE};

/// How long after the start a participant may take to be heard of at all.
const FIRST_SIGN: Duration = Duration::from_secs(15);
/// A longer time between two looks at the clock means that the process stood still or the clock was set.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Who was heard of, and when.
#[derive(Debug)]
pub struct Presence(Mutex<Table>);

#[derive(Debug)]
struct Table {
    began: Timestamp,
    looked: Timestamp,
    seen: BTreeMap<ParticipantId, Seen>,
}

/// What is known of a participant that was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When it was heard of last.
    pub at: Timestamp,
    /// How far its clock is ahead of ours, less what the heartbeat took on its way, in milliseconds; `None` before its
    /// first heartbeat.
    pub clock_skew_ms: Option<i64>,
    /// What it is doing, as it says.
    pub activity: Activity,
    /// How far it is with that.
    pub percent: u8,
}

impl Presence {
    /// Nobody was heard of before `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Table { began: now, looked: now, seen: BTreeMap::new() }))
    }

    /// A heartbeat came.
    pub fn heartbeat(&self, participant_id: &ParticipantId, heartbeat: &Heartbeat, now: Timestamp) {
        let ahead = heartbeat.sent_at.as_micros().saturating_sub(now.as_micros());
        let clock_skew_ms = ahead / 1000;
        let Heartbeat { activity, percent, .. } = *heartbeat;
        let seen = Seen { at: now, clock_skew_ms: Some(clock_skew_ms), activity, percent };
        self.table().seen.insert(participant_id.clone(), seen);
        gauge_skew(participant_id, ahead);
    }

    /// Something else came of it, such as a piece of its update.
    pub fn progress(&self, participant_id: &ParticipantId, now: Timestamp) {
        let unheard = Seen { at: now, clock_skew_ms: None, activity: Activity::Sending, percent: 0 };
        self.table().seen.entry(participant_id.clone()).or_insert(unheard).at = now;
    }

    /// What is known of a participant; `None` before it was heard of.
    pub fn seen(&self, participant_id: &ParticipantId) -> Option<Seen> {
        self.table().seen.get(participant_id).copied()
    }

    /// Whether a participant was heard of and is not lost.
    pub fn is_present(&self, participant_id: &ParticipantId, now: Timestamp) -> bool {
        self.seen(participant_id).is_some_and(|seen| now.since(seen.at) < PATIENCE)
    }

    /// Whether a participant must be taken for dead: silent for [`PATIENCE`], or not heard of long after the start.
    pub fn is_lost(&self, participant_id: &ParticipantId, now: Timestamp) -> bool {
        let table = self.table();
        match table.seen.get(participant_id) {
            Some(seen) => now.since(seen.at) >= PATIENCE,
            None => now.since(table.began) >= FIRST_SIGN,
        }
    }

    /// Notices when we, not they, were silent: to be called several times a second, before [`Presence::is_lost`].
    pub fn look(&self, now: Timestamp) {
        let mut table = self.table();
        let passed = now.since(table.looked);
        let jumped = passed > STANDSTILL || now < table.looked;
        if jumped {
            tracing::warn!(?passed, "the process stood still or its clock was set; nobody is taken for lost by that");
            table.began = now;
            table.seen.values_mut().for_each(|seen| seen.at = now);
        }
        table.looked = now;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::as_conversions, reason = "a gauge needs no more digits than an f64 has")]
fn gauge_skew(participant_id: &ParticipantId, micros: i64) {
    let gauge =
        metrics::gauge!("ringfence_participant_clock_skew_seconds", "participant_id" => participant_id.to_string());
    gauge.set(micros as f64 / 1e6);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000 + millis * 1000)
    }

    fn site(name: &str) -> ParticipantId {
        ParticipantId::new(name).unwrap()
    }

    fn beat(sent_at: Timestamp) -> Heartbeat {
        Heartbeat { sent_at, activity: Activity::Training, percent: 40 }
    }

    /// Looks at the clock as often as the coordinator does, until `until`.
    fn wait(presence: &Presence, from: i64, until: i64) {
        (from..=until).step_by(500).for_each(|millis| presence.look(at(millis)));
    }

    #[test]
    fn silence_is_noticed_in_seconds_and_any_sign_of_life_ends_it() {
        let (presence, a) = (Presence::new(at(0)), site("a"));
        presence.heartbeat(&a, &beat(at(0)), at(0));
        wait(&presence, 0, 3000);
        assert!(!presence.is_lost(&a, at(2999)) && presence.is_lost(&a, at(3000)));
        presence.progress(&a, at(3000));
        assert!(!presence.is_lost(&a, at(5999)));
        assert_eq!(presence.seen(&a).unwrap().percent, 40);
    }

    #[test]
    fn who_was_never_heard_of_is_given_longer() {
        let (presence, a) = (Presence::new(at(0)), site("a"));
        wait(&presence, 0, 15_000);
        assert!(!presence.is_lost(&a, at(14_999)) && presence.is_lost(&a, at(15_000)));
        assert!(!presence.is_present(&a, at(0)));
    }

    #[test]
    fn nobody_is_lost_because_we_stood_still_or_our_clock_jumped() {
        for jump in [600_000, -600_000] {
            let (presence, a) = (Presence::new(at(0)), site("a"));
            presence.heartbeat(&a, &beat(at(0)), at(0));
            presence.look(at(jump));
            assert!(!presence.is_lost(&a, at(jump + 2999)), "{jump}");
            assert!(presence.is_lost(&a, at(jump + 3000)), "{jump}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_and_otherwise_harmless() {
        let (presence, a) = (Presence::new(at(0)), site("a"));
        presence.heartbeat(&a, &beat(at(7_200_000)), at(0));
        assert_eq!(presence.seen(&a).unwrap().clock_skew_ms, Some(7_200_000));
        assert!(!presence.is_lost(&a, at(2999)) && presence.is_lost(&a, at(3000)));
    }
}
