//! What comes out of real telemetry and of broken input.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use shared::Explain;

use super::*;
use crate::lake::Lake;

/// A file of the sample data; says so where there is none.
pub(crate) fn sample(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RINGFENCE_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")), PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("skipped: there is no sample data at {}; set RINGFENCE_DATA", path.display());
        return None;
    }
    Some(path)
}

/// All events of a sample, none of which may be rejected.
pub(crate) fn events(name: &str, format: Format) -> Option<Vec<Event>> {
    let input = open(&sample(name)?).unwrap();
    Some(Collector::new(input, format, Timestamp::MAX).map(|event| event.unwrap()).collect())
}

fn collected(text: &[u8], format: Format) -> (Vec<Event>, Vec<Rejected>) {
    let mut events = Vec::new();
    let mut rejected = Vec::new();
    for item in Collector::new(decompressed(text).unwrap(), format, Timestamp::MAX) {
        match item {
            Ok(event) => events.push(event),
            Err(reason) => rejected.push(reason),
        }
    }
    (events, rejected)
}

fn codes(rejected: &[Rejected]) -> Vec<(u64, &'static str)> {
    rejected.iter().map(|rejected| (rejected.line, rejected.reason.code())).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn json_lines(ids: std::ops::Range<u32>) -> String {
    let line = |id| {
        format!(
            "{{\"event_id\":\"e{id}\",\"timestamp\":\"2026-03-02T00:00:00Z\",\"source\":\"s\",\"operation\":\"o\"}}\n"
        )
    };
    ids.map(line).collect()
}

/// The events of a pgaudit log in the log's order, whatever order they were completed in.
pub(crate) fn pgaudit_in_log_order(site: &str) -> Option<Vec<Event>> {
    let name = format!("pgaudit-sim/{site}.pgaudit.jsonlog.gz");
    let mut events = events(&name, Format::Pgaudit)?;
    let mut position = BTreeMap::new();
    for (at, line) in open(&sample(&name)?).unwrap().lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        position.insert(format!("{}/{}", line["session_id"].as_str().unwrap(), line["line_num"]), at);
    }
    events.sort_by_key(|event| position[event.event_id()]);
    Some(events)
}

/// The reference extraction differs in two things, both its own: its ids cannot be derived from the log, and it gives a
/// failed statement (and what waited with it) the duration of the session's next statement.
#[test]
fn the_pgaudit_log_yields_the_reference_events_of_all_five_sites() {
    for site in ["site1", "site2", "site3", "site4", "site5"] {
        let Some(found) = pgaudit_in_log_order(site) else { return };
        let expected = events(&format!("pgaudit-sim/{site}.events.jsonl.gz"), Format::EventJson).unwrap();
        assert_eq!(found.len(), expected.len(), "{site}");
        let mut durations_apart = 0;
        for (found, expected) in found.iter().zip(&expected) {
            let fields = |event: &Event| {
                let own = [event.source(), event.operation(), event.principal(), event.ip()].map(str::to_owned);
                let tags = ["database", "session", "application", "class", "error"];
                let tags = tags.map(|name| event.tag(name).map(str::to_owned));
                (event.timestamp(), own, event.row_count(), event.changed_fields().to_vec(), tags)
            };
            assert_eq!(fields(found), fields(expected), "{site} {}", found.event_id());
            assert_eq!(found.raw_sql(), expected.raw_sql(), "{site} {}", found.event_id());
            if found.query_duration() != expected.query_duration() {
                durations_apart += 1;
                assert_eq!(found.query_duration(), None);
                assert!(found.tag("error").is_some() || found.operation() == "BEGIN", "{site} {}", found.event_id());
            }
        }
        eprintln!("{site}: {} events, {durations_apart} failed statements without a borrowed duration", found.len());
        assert!(durations_apart < 100);
    }
}

#[test]
fn real_cloudtrail_yields_an_event_for_every_record() {
    let Some(events) = events("cloudtrail-stratus-invictus/cloudtrail.jsonl.gz", Format::CloudTrail) else { return };
    assert_eq!(events.len(), 2_900);
    assert!(events.iter().all(|event| !event.principal().is_empty() && event.source().ends_with(".amazonaws.com")));
    let first = &events[0];
    assert_eq!((first.operation(), first.ip()), ("GetRegionOptStatus", "10.248.16.43"));
    assert_eq!(first.changed_fields(), ["RegionName"]);
    assert!(events.iter().any(|event| event.tag("error") == Some("AccessDenied")));
    let roles = events.iter().filter(|event| event.principal().contains(":role/")).count();
    assert!(roles > 0 && !events.iter().any(|event| event.principal().contains(":assumed-role/")), "{roles}");
    let other =
        super::tests::events("aws-s3-exfil-otrf/ec2_proxy_s3_exfiltration.cloudtrail.jsonl.gz", Format::CloudTrail);
    assert_eq!(other.unwrap().len(), 103);
}

#[test]
fn cloudtrail_as_delivered_is_one_object_of_records() {
    let record = |id: u8| {
        format!(
            r#"{{"eventID":"{id}","eventTime":"2026-01-01T00:00:00Z","eventSource":"signin.amazonaws.com","eventName":"ConsoleLogin",
            "userIdentity":{{"userName":"bob"}},"responseElements":{{"ConsoleLogin":"Failure"}},"requestParameters":null}}"#
        )
    };
    let text = format!("{{\"Records\": [{}, {{}}, {}]}}", record(1), record(2));
    let (events, rejected) = collected(&gzip(text.as_bytes()), Format::CloudTrail);
    assert_eq!(events.iter().map(Event::event_id).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((events[0].principal(), events[0].tag("error")), ("bob", Some("AuthenticationFailed")));
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].reason.code(), "event-missing-field");
}

#[test]
fn the_good_part_of_a_truncated_gzip_goes_on_and_one_letter_says_so() {
    let whole = gzip(json_lines(0..5_000).as_bytes());
    let (events, rejected) = collected(&whole[..whole.len() / 2], Format::EventJson);
    assert!(events.len() > 1_000 && events.len() < 5_000, "{}", events.len());
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].reason.code(), "input-truncated");
}

#[test]
fn a_damaged_gzip_ends_with_one_letter() {
    let mut damaged = gzip(json_lines(0..5_000).as_bytes());
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xa5);
    let (_, rejected) = collected(&damaged, Format::EventJson);
    assert!(rejected.last().is_some_and(|last| last.reason.code().starts_with("input-")), "{rejected:?}");
}

#[test]
fn several_gzip_members_are_one_input() {
    let both = [gzip(json_lines(0..10).as_bytes()), gzip(json_lines(10..20).as_bytes())].concat();
    assert_eq!(collected(&both, Format::EventJson).0.len(), 20);
}

#[test]
fn a_bad_line_is_rejected_with_its_number_and_the_others_are_read() {
    let text = format!("{}nonsense\n{}{{\"event_id\":1}}\n\u{0}\n", json_lines(0..2), json_lines(2..3));
    let (events, rejected) = collected(text.as_bytes(), Format::EventJson);
    assert_eq!(events.len(), 3);
    assert_eq!(codes(&rejected), [(3, "event-malformed"), (5, "event-malformed"), (6, "event-malformed")]);
    assert_eq!(rejected[0].head, b"nonsense");
}

#[test]
fn an_event_from_the_future_is_rejected() {
    let text = json_lines(0..1);
    let mut collector = Collector::new(text.as_bytes(), Format::EventJson, "2026-03-01T00:00:00Z".parse().unwrap());
    assert_eq!(collector.next().unwrap().unwrap_err().reason.code(), "event-in-future");
    assert!(collector.next().is_none());
}

#[test]
fn random_bytes_never_stop_the_reader() {
    let mut state = 1_u64;
    let mut noise = Vec::new();
    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.push(state.to_be_bytes()[0]);
    }
    for format in Format::ALL {
        for text in [&noise[..], &gzip(&noise)[..]] {
            let (events, rejected) = collected(text, format);
            assert!(events.is_empty() && !rejected.is_empty(), "{format}");
        }
    }
}

#[test]
fn a_flood_of_sessions_without_durations_is_bounded_and_loses_nothing() {
    let line = |session: u32| {
        format!(
            r#"{{"timestamp":"2026-03-02 00:00:00.000 UTC","session_id":"s{session}","line_num":1,"message":"AUDIT: SESSION,1,1,READ,SELECT,,,SELECT 1,<none>,1"}}"#
        )
    };
    let text: String = (0..5_000).map(|session| line(session) + "\n").collect();
    let (events, rejected) = collected(text.as_bytes(), Format::Pgaudit);
    assert_eq!((events.len(), rejected.len()), (5_000, 0));
}

#[test]
fn ingestion_counts_stored_known_and_rejected_and_writes_the_letters() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(folder.path(), shared_crypto::SealKey::generate().unwrap()).unwrap();
    let text = format!("{}rubbish \"quoted\"\n{}", json_lines(0..3), json_lines(2..4));
    let mut letters = Vec::new();
    let mut seen = 0;
    for (stored, duplicates) in [(4, 1), (0, 5)] {
        let collector = Collector::new(text.as_bytes(), Format::EventJson, Timestamp::MAX);
        let mut dead = DeadLetters::new(&mut letters, "in.jsonl");
        let total = ingest(collector, &lake, Timestamp::EPOCH, &mut dead, |_| seen += 1).unwrap();
        assert_eq!(total, Ingested { stored, duplicates, rejected: 1 });
    }
    assert_eq!(seen, 4);
    let letter: serde_json::Value =
        serde_json::from_slice(letters.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!((letter["input"].as_str(), letter["line"].as_u64()), (Some("in.jsonl"), Some(4)));
    assert_eq!(
        (letter["code"].as_str(), letter["head"].as_str()),
        (Some("event-malformed"), Some("rubbish \\\"quoted\\\""))
    );
}
