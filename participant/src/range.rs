//! The range: realistic datastore telemetry of one site, with attacks woven in and the truth beside every event.
//!
//! Seeded: the same profile and seed give the same events, bit for bit, on every machine, and the ordinary traffic is
//! the same whatever attacks are asked for. It reads no clock and touches no database. Its people are scripted and
//! its attacks are more frequent than in life: good for training, drills and demonstrations, not for claims about
//! detection in production.

mod draw;
mod drift;
mod pg_dump;
mod profile;
mod scenario;
mod service;
mod site;
mod staff;
mod statement;
mod transcript;

pub use profile::SiteProfile;
pub use scenario::Scenario;

use shared::Timestamp;

use crate::event::{Draft, Event, EventError};
use draw::Draw;
use site::Site;
use transcript::Transcript;

/// Days between two attacks of one kind.
const DAYS_BETWEEN_ATTACKS: usize = 3;

/// One thing that goes on at a site every day.
type Activity = fn(u32, &mut Transcript<'_>);

/// Everything ordinary. The position in this list seeds an activity, so new ones go to the end.
const ORDINARY: [Activity; 11] = [
    service::web,
    service::dashboard,
    service::load,
    service::backup,
    staff::clerks,
    staff::analysts,
    staff::late_work,
    staff::month_end,
    staff::admins,
    drift::newcomer,
    drift::migration,
];

/// An event and what it truly is.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledEvent {
    /// What the audit log says.
    pub event: Event,
    /// The attack that it is part of; `None` where it is ordinary.
    pub scenario: Option<Scenario>,
}

/// A site's telemetry generator. Each call goes on where the last one ended, so that a site can be trained on some
/// attacks and later meet others.
#[derive(Debug, Clone)]
pub struct Range {
    site: Site,
    seed: u64,
    day: u32,
    serial: u64,
    /// What has happened and is not handed out yet, such as sessions that ran past the last day generated.
    carried: Vec<(Draft, Option<Scenario>)>,
}

impl Range {
    /// A site's telemetry under `seed`, from its profile's first day.
    pub fn new(profile: SiteProfile, seed: u64) -> Self {
        Self { site: Site { profile }, seed, day: 0, serial: 0, carried: Vec::new() }
    }

    /// The next `days` days in time order, with one attack of each of `scenarios` in every three days, and at least one
    /// of each. The error is a profile's name or database that an event cannot hold.
    pub fn generate(&mut self, days: u32, scenarios: &[Scenario]) -> Result<Vec<LabelledEvent>, EventError> {
        let end = self.day.saturating_add(days);
        for day in self.day..end {
            self.ordinary_day(day);
        }
        for scenario in scenarios {
            for first in (self.day..end).step_by(DAYS_BETWEEN_ATTACKS) {
                self.attack_on(*scenario, first);
            }
        }
        self.day = end;
        self.release(self.site.at(end, 0))
    }

    /// One attack that begins at `at`, apart from any other traffic: what a drill injects. The same error.
    pub fn attack(&mut self, scenario: Scenario, at: Timestamp) -> Result<Vec<LabelledEvent>, EventError> {
        let mut draw = Draw::new(self.seed, Stream::Drill(self.serial).number());
        let carried = std::mem::take(&mut self.carried);
        self.play(&mut draw, at, scenario);
        let events = self.release(Timestamp::MAX);
        self.carried = carried;
        events
    }

    fn ordinary_day(&mut self, day: u32) {
        for (index, activity) in (0..).zip(ORDINARY) {
            let mut draw = Draw::new(self.seed, Stream::Ordinary(day, index).number());
            let mut transcript = Transcript::new(&self.site, &mut draw, self.site.at(day, 0));
            activity(day, &mut transcript);
            self.carried.extend(transcript.finish().into_iter().map(|draft| (draft, None)));
        }
    }

    fn attack_on(&mut self, scenario: Scenario, day: u32) {
        let mut draw = Draw::new(self.seed, Stream::Attack(day, scenario).number());
        let at = self.site.any_time(day, &mut draw);
        self.play(&mut draw, at, scenario);
    }

    fn play(&mut self, draw: &mut Draw, at: Timestamp, scenario: Scenario) {
        let mut transcript = Transcript::new(&self.site, draw, at);
        scenario.strike(&mut transcript);
        self.carried.extend(transcript.finish().into_iter().map(|draft| (draft, Some(scenario))));
    }

    /// Hands out what happened before `end`, in time order and numbered.
    fn release(&mut self, end: Timestamp) -> Result<Vec<LabelledEvent>, EventError> {
        self.carried.sort_by_key(|(draft, _)| draft.timestamp);
        let count = self.carried.partition_point(|(draft, _)| draft.timestamp < end);
        let later = self.carried.split_off(count);
        std::mem::replace(&mut self.carried, later)
            .into_iter()
            .map(|(draft, scenario)| self.number(draft, scenario))
            .collect()
    }

    fn number(&mut self, draft: Draft, scenario: Option<Scenario>) -> Result<LabelledEvent, EventError> {
        self.serial += 1;
        let event_id = format!("{}-{:08}", self.site.profile.name, self.serial);
        Ok(LabelledEvent { event: Event::new(Draft { event_id, ..draft })?, scenario })
    }
}

/// What a stream of chance is for. No two share a number.
enum Stream {
    Ordinary(u32, u64),
    Attack(u32, Scenario),
    Drill(u64),
}

impl Stream {
    fn number(&self) -> u64 {
        let of_day = |day: &u32| u64::from(*day) << 16;
        match self {
            Self::Ordinary(day, activity) => of_day(day) | activity,
            Self::Attack(day, scenario) => of_day(day) | 0x8000 | scenario.number(),
            Self::Drill(serial) => 1 << 63 | serial,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn week(seed: u64, scenarios: &[Scenario]) -> Vec<LabelledEvent> {
        Range::new(SiteProfile::example(0), seed).generate(7, scenarios).unwrap()
    }

    fn ordinary(events: &[LabelledEvent]) -> Vec<(Timestamp, String, Option<String>)> {
        let ordinary = events.iter().filter(|labelled| labelled.scenario.is_none()).map(|labelled| &labelled.event);
        ordinary
            .map(|event| (event.timestamp(), event.principal().to_owned(), event.raw_sql().map(str::to_owned)))
            .collect()
    }

    #[test]
    fn one_seed_means_one_history() {
        assert_eq!(week(7, &Scenario::ALL), week(7, &Scenario::ALL));
        assert_ne!(ordinary(&week(7, &[])), ordinary(&week(8, &[])));
    }

    #[test]
    fn attacks_leave_the_ordinary_traffic_as_it_was() {
        assert_eq!(ordinary(&week(7, &[])), ordinary(&week(7, &Scenario::ALL)));
    }

    #[test]
    fn two_calls_make_one_history_in_time_order_with_unique_ids() {
        let mut range = Range::new(SiteProfile::example(3), 1);
        let mut events = range.generate(2, &[Scenario::LowAndSlowScraping]).unwrap();
        events.extend(range.generate(2, &Scenario::ALL).unwrap());
        assert!(events.is_sorted_by_key(|labelled| labelled.event.timestamp()));
        let ids: BTreeSet<&str> = events.iter().map(|labelled| labelled.event.event_id()).collect();
        assert_eq!(ids.len(), events.len());
        let whole = Range::new(SiteProfile::example(3), 1).generate(4, &[]).unwrap();
        assert_eq!(ordinary(&events), ordinary(&whole));
    }

    #[test]
    fn every_site_meets_exactly_the_attacks_asked_for() {
        for n in 0..7 {
            let mut range = Range::new(SiteProfile::example(n), 3);
            for scenario in Scenario::ALL {
                let events = range.generate(1, &[scenario]).unwrap();
                let seen: BTreeSet<_> = events.iter().filter_map(|labelled| labelled.scenario).collect();
                assert_eq!(seen, [scenario].into(), "site {n}");
            }
        }
    }

    #[test]
    fn an_attack_apart_starts_on_time_and_holds_nothing_else() {
        let mut range = Range::new(SiteProfile::example(1), 3);
        range.generate(1, &[]).unwrap();
        let at = "2026-03-03T10:00:00Z".parse().unwrap();
        let attack = range.attack(Scenario::DumpExfiltration, at).unwrap();
        assert_eq!(attack.first().map(|labelled| labelled.event.timestamp()), Some(at));
        assert!(attack.iter().all(|labelled| labelled.scenario == Some(Scenario::DumpExfiltration)));
        let again = range.attack(Scenario::DumpExfiltration, at).unwrap();
        assert_ne!(attack, again, "a second drill is another drill");
    }

    #[test]
    fn people_sleep_and_weekends_are_quiet() {
        let events = week(5, &[]);
        let by_clerks = events.iter().filter(|labelled| labelled.event.principal().contains("_support"));
        let mut per_day: BTreeMap<i64, u32> = BTreeMap::new();
        for labelled in by_clerks {
            let local = labelled.event.timestamp().as_micros() / 1_000_000 + 3600;
            assert!((8..20).contains(&(local / 3600 % 24)), "{:?}", labelled.event);
            *per_day.entry(local / 86_400).or_default() += 1;
        }
        let days: Vec<u32> = per_day.into_values().collect();
        assert_eq!(days.len(), 7);
        assert!(days[5].max(days[6]) < *days[..5].iter().min().unwrap(), "{days:?}");
    }

    #[test]
    fn the_hard_negatives_are_there() {
        let events = week(2, &[]);
        let has = |what: &str, holds: &dyn Fn(&Event) -> bool| {
            assert!(events.iter().any(|labelled| holds(&labelled.event)), "{what}");
        };
        has("nightly backup", &|event| event.tag("application") == Some("pg_dump"));
        has("export of a whole table", &|event| event.row_count() == Some(120_000));
        has("mistyped password", &|event| event.operation() == "LOGIN_FAILED");
        has("closed door", &|event| event.operation() == "QUERY_ERROR");
        has("migration", &|event| event.operation() == "ALTER TABLE");
        has("newcomer", &|event| event.principal().contains("_tmp"));
        has("late work", &|event| {
            event.principal().contains("_analyst") && event.timestamp().as_micros() / 3_600_000_000 % 24 >= 21
        });
    }
}
