//! What holds for a lake: nothing lost, nothing twice, nothing half, nothing in the clear.

use std::collections::BTreeMap;

use shared::Explain;

use super::*;
use crate::event::Draft;

const NOW: Timestamp = Timestamp::EPOCH;
const DAY: i64 = 86_400_000_000;

fn event(id: &str, at: i64) -> Event {
    Event::new(Draft {
        event_id: id.to_owned(),
        timestamp: Timestamp::from_micros(at),
        source: "s".into(),
        operation: "SELECT".into(),
        principal: "alice-in-the-clear".into(),
        ip: "10.0.0.1".into(),
        row_count: Some(3),
        query_duration: None,
        changed_fields: vec![],
        raw_sql: Some(format!("SELECT {id}")),
        tags: BTreeMap::new(),
    })
    .unwrap()
}

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Lake {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Lake, LakeError> {
        Lake::open(self.path("lake"), SealKey::load_or_create(&self.path("key")).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> Vec<String> {
        let items = fs::read_dir(self.path("lake")).unwrap();
        let mut names: Vec<_> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn ids(events: impl Iterator<Item = Result<Event, LakeError>>) -> Vec<String> {
    events.map(|event| event.unwrap().event_id().to_owned()).collect()
}

#[test]
fn late_events_are_ordered_by_time_in_a_scan_and_by_arrival_in_a_replay() {
    let site = Site::new();
    let lake = site.open();
    lake.append(vec![event("c", 30), event("a", 10)], NOW).unwrap();
    lake.append(vec![event("d", 30), event("b", 20)], NOW).unwrap();
    drop(lake);
    let lake = site.open();
    assert_eq!(ids(lake.scan(..).unwrap()), ["a", "b", "c", "d"]);
    assert_eq!(ids(lake.replay()), ["a", "c", "b", "d"]);
    let at = Timestamp::from_micros;
    assert_eq!(ids(lake.scan(at(20)..at(30)).unwrap()), ["b"]);
    assert_eq!(ids(lake.scan(at(20)..=at(30)).unwrap()), ["b", "c", "d"]);
    assert_eq!(ids(lake.scan(at(31)..).unwrap()), [""; 0]);
}

#[test]
fn an_event_of_a_day_is_stored_once_within_a_batch_across_batches_and_restarts() {
    let site = Site::new();
    let lake = site.open();
    let first = lake.append(vec![event("a", 1), event("a", 2), event("b", DAY)], NOW).unwrap();
    assert_eq!((first.stored.len(), first.duplicates), (2, 1));
    assert_eq!(lake.append(vec![event("a", 3)], NOW).unwrap().duplicates, 1);
    drop(lake);
    let lake = site.open();
    let again = lake.append(vec![event("a", 1), event("b", DAY), event("a", DAY)], NOW).unwrap();
    assert_eq!((again.stored.len(), again.duplicates), (1, 2));
    assert_eq!(lake.len(), 3);
}

#[test]
fn duplicates_are_known_even_after_their_day_left_memory() {
    let site = Site::new();
    let lake = site.open();
    for day in 0..100 {
        lake.append(vec![event("x", day * DAY)], NOW).unwrap();
    }
    assert_eq!(lake.append(vec![event("x", 0), event("x", 50 * DAY)], NOW).unwrap().duplicates, 2);
}

#[test]
fn many_chunks_and_segments_come_back_whole() {
    let site = Site::new();
    let lake = site.open();
    let total = 20_000_i64;
    for part in 0..5 {
        let events = (0..total).filter(|n| n % 5 == part).map(|n| event(&format!("{n:06}"), n * 1_000)).collect();
        lake.append(events, NOW).unwrap();
    }
    let back = ids(lake.scan(..).unwrap());
    assert_eq!(back, (0..total).map(|n| format!("{n:06}")).collect::<Vec<_>>());
    let verified = lake.verify().unwrap();
    assert_eq!((verified.segments, verified.events), (5, 20_000));
}

#[test]
fn nothing_of_an_event_is_readable_on_disk() {
    let site = Site::new();
    site.open().append(vec![event("some-event-id", 1)], NOW).unwrap();
    for file in site.files() {
        let bytes = fs::read(site.path("lake").join(&file)).unwrap();
        for text in ["alice-in-the-clear", "SELECT", "some-event-id", "10.0.0.1"] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{file}: {text}");
        }
    }
}

#[test]
fn what_an_interrupted_append_left_is_removed_and_the_lake_goes_on() {
    let site = Site::new();
    let lake = site.open();
    lake.append(vec![event("a", 1)], NOW).unwrap();
    drop(lake);
    let lake = site.path("lake");
    fs::copy(lake.join(segment::name(0)), lake.join(segment::name(1))).unwrap();
    fs::write(lake.join(format!("{}.unfinished", segment::name(2))), b"half").unwrap();
    let manifest = fs::read_to_string(lake.join(MANIFEST)).unwrap();
    fs::write(lake.join(MANIFEST), format!("{manifest}{}", &manifest[..manifest.len() / 2])).unwrap();
    let lake = site.open();
    assert_eq!(site.files(), [segment::name(0).as_str(), LOCK, MANIFEST]);
    lake.append(vec![event("b", 2)], NOW).unwrap();
    assert_eq!(ids(lake.scan(..).unwrap()), ["a", "b"]);
    assert_eq!(lake.verify().unwrap().segments, 2);
}

#[test]
fn a_full_disk_is_a_clear_error_and_nothing_is_applied() {
    let site = Site::new();
    let lake = site.open();
    lake.append(vec![event("a", 1)], NOW).unwrap();
    let unfinished = site.path("lake").join(format!("{}.unfinished", segment::name(1)));
    std::os::unix::fs::symlink("/dev/full", &unfinished).unwrap();
    let error = lake.append(vec![event("b", 2)], NOW).unwrap_err();
    assert_eq!(error.code(), "lake-full", "{error}");
    assert_eq!(site.files(), [segment::name(0).as_str(), LOCK, MANIFEST]);
    assert_eq!(ids(lake.scan(..).unwrap()), ["a"]);
    assert_eq!(lake.append(vec![event("b", 2)], NOW).unwrap().stored.len(), 1);
}

#[test]
fn a_manifest_that_cannot_be_written_leaves_no_segment_behind() {
    let site = Site::new();
    let lake = site.open();
    std::os::unix::fs::symlink("/dev/full", site.path("lake").join(MANIFEST)).unwrap();
    assert!(lake.append(vec![event("a", 1)], NOW).is_err());
    fs::remove_file(site.path("lake").join(MANIFEST)).unwrap();
    assert_eq!(site.files(), [LOCK]);
    assert_eq!(lake.append(vec![event("a", 1)], NOW).unwrap().stored.len(), 1);
}

#[test]
fn a_changed_line_a_swapped_segment_and_another_key_are_refused() {
    let site = Site::new();
    let lake = site.open();
    for n in 0..3 {
        lake.append(vec![event(&format!("e{n}"), n)], NOW).unwrap();
    }
    let manifest = site.path("lake").join(MANIFEST);
    let good = fs::read_to_string(&manifest).unwrap();
    for bad in
        [good.replacen("\"events\":1", "\"events\":2", 1), good.lines().skip(1).map(|l| format!("{l}\n")).collect()]
    {
        fs::write(&manifest, bad).unwrap();
        assert_eq!(lake.verify().unwrap_err().code(), "lake-manifest");
    }
    fs::write(&manifest, good).unwrap();
    let [one, two] = [0, 1].map(|n| site.path("lake").join(segment::name(n)));
    fs::copy(&two, &one).unwrap();
    assert_eq!(lake.verify().unwrap_err().code(), "lake-segment");
    assert!(lake.scan(..).unwrap().any(|event| event.is_err()));
    drop(lake);
    let stranger = Lake::open(site.path("lake"), SealKey::generate().unwrap()).unwrap();
    assert!(stranger.replay().next().unwrap().is_err());
}

#[test]
fn a_segment_that_lost_its_last_chunk_is_damaged_and_never_short() {
    let site = Site::new();
    let lake = site.open();
    lake.append((0..10_000).map(|n| event(&format!("e{n}"), n)).collect(), NOW).unwrap();
    let path = site.path("lake").join(segment::name(0));
    let bytes = fs::read(&path).unwrap();
    let mut ends = vec![0];
    while let Some(length) = bytes.get(ends[ends.len() - 1]..).and_then(|rest| rest.first_chunk::<4>()) {
        ends.push(ends[ends.len() - 1] + 4 + usize::try_from(u32::from_le_bytes(*length)).unwrap());
    }
    fs::write(&path, &bytes[..ends[ends.len() - 2]]).unwrap();
    assert!(lake.scan(..).unwrap().any(|event| matches!(event, Err(LakeError::Segment { .. }))));
}

#[test]
fn a_lake_is_open_in_one_place_at_a_time() {
    let site = Site::new();
    let first = site.open();
    assert_eq!(site.try_open().err().unwrap().code(), "lake-locked");
    drop(first);
    site.open();
}
