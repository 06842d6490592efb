//! Vectors online equal those of a replay, and no event is scored or reported twice.

use std::io::{BufReader, Cursor, Read};

use super::*;
use crate::collect::Format;
use crate::testing::{Lone, Published, event, records};

fn online(lone: &Lone) -> Online {
    Online::new(Arc::clone(&lone.site), Engine::new(&lone.site.tokens))
}

/// An online path whose release finds every event more suspicious than any ordinary one.
fn serving(lone: &Lone) -> Online {
    let online = online(lone);
    online.serve(Published::new(1).installed(), &records()).unwrap();
    online
}

fn take(online: &Online, events: &[String]) -> Taken {
    let input = Collector::new(Cursor::new(events.join("\n")), Format::EventJson, online.site.latest());
    online.take(input, "test").unwrap()
}

fn vectors(observed: &[Observed]) -> Vec<(String, Vec<u32>)> {
    let bits = |vector: &Vector| vector.as_slice().iter().map(|value| value.to_bits()).collect();
    observed.iter().map(|one| (one.event.event_id().to_owned(), bits(&one.vector))).collect()
}

#[test]
fn a6_vectors_online_are_those_of_a_replay_bit_for_bit_late_events_and_restarts_included() {
    let lone = Lone::new();
    let online = online(&lone);
    let bodies = [
        vec![event("b", 20, "ada"), event("a", 10, "bob"), event("b", 20, "ada")],
        vec![event("late", 5, "ada"), event("c", 30, "bob"), event("a", 10, "bob")],
        vec![event("d", 7_000, "eve")],
    ];
    let mut seen = Vec::new();
    for body in bodies {
        let input = Collector::new(Cursor::new(body.join("\n")), Format::EventJson, lone.site.latest());
        let (observed, ingested) = online.store_and_observe(input, "test").unwrap();
        assert_eq!(ingested.unwrap().stored, u64::try_from(observed.len()).unwrap());
        seen.extend(vectors(&observed));
    }
    drop(online);
    let lone = lone.reopened();
    let mut engine = Engine::new(&lone.site.tokens);
    let replayed = lone.site.lake.replay().map(|event| {
        let event = event.unwrap();
        let (vector, principal_token) = (engine.observe(&event), engine.principal_token(&event));
        Observed { event, vector, principal_token }
    });
    let replayed: Vec<Observed> = replayed.collect();
    assert_eq!(vectors(&replayed), seen);
    assert_eq!(seen.len(), 5);
}

#[test]
fn an_event_that_is_known_is_not_scored_again() {
    let lone = Lone::new();
    let online = serving(&lone);
    assert_eq!(take(&online, &[event("a", 10, "ada")]).raised().len(), 1);
    let again = take(&online, &[event("a", 10, "ada"), event("b", 20, "ada")]);
    assert_eq!((again.ingested.stored, again.ingested.duplicates), (1, 1));
    assert_eq!(again.raised().len(), 1);
    assert_eq!(lone.site.journal.log().size(), 2);
}

#[test]
fn without_a_release_events_are_stored_and_nothing_is_detected() {
    let lone = Lone::new();
    let taken = take(&online(&lone), &[event("a", 10, "ada")]);
    assert!(taken.raised().is_empty() && taken.scorer.is_none() && taken.scored[0].1.is_none());
    assert_eq!(lone.site.lake.len(), 1);
}

#[test]
fn detections_are_kept_in_time_order_and_each_stands_in_the_audit_log() {
    let lone = Lone::new();
    let online = serving(&lone);
    let long_id = "x".repeat(1024);
    take(&online, &[event("c", 30, "ada"), event(&long_id, 40, "ada")]);
    take(&online, &[event("a", 10, "ada"), event("b", 20, "ada")]);
    let ids = |limit| online.detections(limit).unwrap().into_iter().map(|one| one.event_id).collect::<Vec<_>>();
    assert_eq!(ids(9), ["a", "b", "c", &long_id]);
    assert_eq!(ids(2), ["c", &long_id], "a limit leaves out the oldest");
    let log = lone.site.journal.log();
    let logged: Vec<Detection> = (0..log.size())
        .map(|index| {
            let record: shared::audit::AuditRecord =
                lone.site.identity.public().open(&log.entry(index).unwrap()).unwrap();
            assert_eq!(record.kind, AuditKind::Detection);
            serde_json::from_value(record.content).unwrap()
        })
        .collect();
    let mut in_time_order = logged.clone();
    in_time_order.sort_by_key(|one| one.event_time);
    assert_eq!(in_time_order, online.detections(9).unwrap());
}

#[test]
fn a_detection_names_no_principal() {
    let lone = Lone::new();
    let raised = take(&serving(&lone), &[event("a", 10, "ada@example.com")]).raised();
    let text = serde_json::to_string(&raised[0].detection).unwrap();
    assert!(!text.contains("example.com") && raised[0].detection.reasons.len() == 5, "{text}");
    assert_eq!(raised[0].detection.release_digest, Published::new(1).installed().digest);
}

#[test]
fn an_input_that_breaks_off_loses_no_detection_of_its_good_part() {
    /// Fails after its text.
    struct Breaking(Cursor<String>);
    impl Read for Breaking {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::other("the line is cut")),
                read => Ok(read),
            }
        }
    }
    let lone = Lone::new();
    let online = serving(&lone);
    let text = format!("{}\n", event("a", 10, "ada"));
    let input = Collector::new(BufReader::new(Breaking(Cursor::new(text))), Format::EventJson, lone.site.latest());
    let ended = online.take(input, "test").map(|taken| taken.ingested.stored);
    assert_eq!((lone.site.lake.len(), online.detections(9).unwrap().len()), (1, 1), "{ended:?}");
}
