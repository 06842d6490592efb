//! What holds for the whole engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use shared::Timestamp;
use shared_crypto::SealKey;

use super::*;
use crate::collect::tests::{events, pgaudit_in_log_order, sample};
use crate::collect::{Collector, DeadLetters, Format, ingest, open};
use crate::lake::Lake;

fn engine() -> Engine {
    Engine::new(&Arc::new(TokenKey::from_bytes(&[3; 32])))
}

fn bits(vector: &Vector) -> Vec<u32> {
    vector.as_slice().iter().map(|value| value.to_bits()).collect()
}

fn draft(id: u32, seconds: u32) -> Draft {
    Draft {
        event_id: id.to_string(),
        timestamp: Timestamp::from_micros(1_772_409_600_000_000 + i64::from(seconds) * 1_000_000),
        source: "postgres.pgaudit".into(),
        operation: "SELECT".into(),
        principal: "alice".into(),
        ip: "10.0.0.1".into(),
        row_count: Some(1),
        query_duration: Some(Duration::from_millis(1)),
        changed_fields: vec![],
        raw_sql: Some(format!("SELECT * FROM customers WHERE id = {id}")),
        tags: BTreeMap::from([("session".into(), "s1".into()), ("application".into(), "crm".into())]),
    }
}

fn feature(vector: &Vector, name: &str) -> f32 {
    let at = view().features.iter().position(|feature| feature == name).unwrap();
    vector.as_slice()[at]
}

#[test]
fn every_feature_has_a_name_of_its_own_and_the_vector_is_as_wide_as_the_view() {
    let names = view().features;
    assert_eq!(names.len(), WIDTH, "{names:#?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), WIDTH);
}

/// Promise A6, on real telemetry with events that come in late.
#[test]
fn a6_recomputing_from_the_lake_gives_the_vectors_computed_at_ingest_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(folder.path(), SealKey::generate().unwrap()).unwrap();
    let mut online = Vec::new();
    let mut first = engine();
    for site in ["site5", "site3"] {
        let Some(path) = sample(&format!("pgaudit-sim/{site}.pgaudit.jsonlog.gz")) else { return };
        let collector = Collector::new(open(&path).unwrap(), Format::Pgaudit, Timestamp::MAX);
        let mut letters = DeadLetters::new(std::io::sink(), site);
        ingest(collector, &lake, Timestamp::EPOCH, &mut letters, |event| online.push(bits(&first.observe(event))))
            .unwrap();
    }
    let mut second = engine();
    let replayed = lake.replay().map(|event| bits(&second.observe(&event.unwrap())));
    assert!(online.len() > 29_000 && replayed.eq(online));
}

#[test]
fn vectors_from_the_pgaudit_log_equal_those_from_the_extracted_events() {
    let Some(from_log) = pgaudit_in_log_order("site3") else { return };
    let extracted = events("pgaudit-sim/site3.events.jsonl.gz", Format::EventJson).unwrap();
    let (mut one, mut other) = (engine(), engine());
    for (left, right) in from_log.iter().zip(&extracted) {
        assert_eq!(bits(&one.observe(left)), bits(&other.observe(right)), "{left:?}");
    }
}

#[test]
fn identifiers_are_never_features() {
    let Some(all) = events("pgaudit-sim/site3.events.jsonl.gz", Format::EventJson) else { return };
    let (mut one, mut other) = (engine(), Engine::new(&Arc::new(TokenKey::from_bytes(&[4; 32]))));
    for event in all.iter().take(3_000) {
        let renamed = |text: &str| format!("renamed-{text}");
        let mut tags = event.tags().clone();
        tags.insert("site".into(), "elsewhere".into());
        tags.insert("session".into(), renamed(event.tag("session").unwrap()));
        let twin = Event::new(Draft {
            event_id: renamed(event.event_id()),
            timestamp: event.timestamp(),
            source: event.source().into(),
            operation: event.operation().into(),
            principal: renamed(event.principal()),
            ip: event.ip().into(),
            row_count: event.row_count(),
            query_duration: event.query_duration(),
            changed_fields: event.changed_fields().to_vec(),
            raw_sql: event.raw_sql().map(str::to_owned),
            tags,
        });
        assert_eq!(bits(&one.observe(event)), bits(&other.observe(&twin.unwrap())), "{event:?}");
    }
}

#[test]
fn scraping_through_ids_shows_and_looking_up_ids_does_not() {
    let run = |ids: &[u32]| {
        let mut engine = engine();
        let vectors = ids.iter().zip(0..).map(|(id, n)| engine.observe(&Event::new(draft(*id, n * 30)).unwrap()));
        feature(&vectors.last().unwrap(), "principal_id_run")
    };
    assert!(run(&[100, 101, 103, 104, 105, 106, 108]) > 0.4);
    assert_eq!(run(&[4_711, 12, 998, 5, 77_000, 31, 2_600]), 0.0);
}

#[test]
fn a_known_principal_from_a_new_address_surprises() {
    let mut engine = engine();
    for n in 0..500 {
        engine.observe(&Event::new(draft(n, n * 60)).unwrap());
    }
    let usual = engine.observe(&Event::new(draft(500, 30_000)).unwrap());
    let moved = engine.observe(&Event::new(Draft { ip: "203.0.113.9".into(), ..draft(501, 30_001) }).unwrap());
    assert!(feature(&usual, "new_address") < 0.01 && feature(&moved, "new_address") > 0.6);
    assert_eq!((feature(&usual, "address_outside"), feature(&moved, "address_outside")), (0.0, 1.0));
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let texts = (any::<String>(), any::<String>(), any::<String>(), proptest::option::of(any::<String>()));
    let numbers = (any::<i64>(), proptest::option::of(any::<u64>()), proptest::option::of(0_u64..1 << 50));
    let tags = proptest::collection::btree_map("session|application|error", any::<String>(), 0..3);
    (texts, numbers, tags).prop_map(|((operation, principal, ip, raw_sql), (at, row_count, micros), tags)| Draft {
        timestamp: Timestamp::from_micros(at),
        operation: format!("o{operation}"),
        principal,
        ip,
        row_count,
        query_duration: micros.map(Duration::from_micros),
        raw_sql,
        tags,
        ..draft(1, 1)
    })
}

proptest! {
    #[test]
    fn every_feature_of_every_event_is_finite_and_within_one(drafts in proptest::collection::vec(any_draft(), 1..30)) {
        let mut engine = engine();
        let names = view().features;
        for draft in drafts {
            let Ok(event) = Event::new(draft) else { continue };
            for (value, name) in engine.observe(&event).as_slice().iter().zip(&names) {
                prop_assert!((-1.0..=1.0).contains(value), "{name}: {value}");
            }
        }
    }
}
