//! Replays of records as executors write them: what is counted, what is named, and what is refused.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde_json::json;
use shared::audit::{AuditKind, AuditRecord};
use shared::decision::{ContainmentAction, DecisionRequest, Lease, Requester};
use shared::detection::Tier;
use shared::time::ManualClock;
use shared::{Digest, Explain, RunId, canonical};
use shared_store::MemoryStore;

use super::*;
use crate::actuator::dry_run::DryRun;
use crate::containment::Verdict;
use crate::playbook::executor::Site;
use crate::playbook::{Executor, RunEvent};
use crate::testing::{Memory, asset, changed, engine, in_force, request, run_id, shipped, subject};

/// The shipped policies.
static SHIPPED: LazyLock<Arc<Engine>> = LazyLock::new(engine);

const HOUR: Duration = Duration::from_secs(3_600);

fn at(hours: u32) -> Timestamp {
    Timestamp::EPOCH.plus(HOUR * 24 * 365 + HOUR * hours)
}

fn settings(as_of: Timestamp) -> Settings {
    Settings { as_of, days: None, skip_damaged: false, threads: NonZeroUsize::new(2).unwrap() }
}

/// A throttle that the shipped policies automate, an hour long.
fn recorded(hours: u32, asset_name: &str) -> Recorded {
    let run_id = run_id(&format!("{asset_name}-{hours}"));
    let lease = Lease { run_id: run_id.clone(), granted_at: at(hours), expires_at: at(hours + 1) };
    let request = DecisionRequest { asset: asset(asset_name), ..request(ContainmentAction::Throttle) };
    let (tier, bundle) = (Tier::Automated, SHIPPED.bundle());
    Recorded { at: at(hours), run_id, step: 1, request, tier, bundle, lease: Some(lease), held: false }
}

fn line_of(kind: AuditKind, at: Timestamp, content: serde_json::Value) -> String {
    let record = AuditRecord { kind, at, actor: "site-1".to_owned(), content };
    String::from_utf8(canonical::encode(&record).unwrap()).unwrap()
}

/// The record, as an executor writes it.
fn line(recorded: &Recorded) -> String {
    let Recorded { at, run_id, step, request, tier, bundle, lease, held } = recorded.clone();
    let mut decision = SHIPPED.decide(&request);
    (decision.tier, decision.bundle) = (tier, bundle);
    let verdict = Verdict { request, decision, lease, held_by: held.then(|| RunId::new("other").unwrap()) };
    let action = verdict.request.action;
    let content = json!({
        "run_id": run_id, "step": step, "action": action, "asset_id": verdict.request.asset.asset_id,
        "verdict": verdict, "detection": subject("x").detection,
    });
    line_of(AuditKind::Decision, at, content)
}

fn given_back(recorded: &Recorded, hours: u32) -> String {
    let content = json!({
        "run_id": recorded.run_id, "step": recorded.step, "action": "throttle",
        "asset_id": recorded.request.asset.asset_id, "cause": { "kind": "requested", "by": "ada" },
    });
    line_of(AuditKind::Rollback, at(hours), content)
}

/// The shipped policies, but for a throttle that asks for a surer score.
fn stricter() -> Engine {
    let automated = shipped().folder("policies").into_iter().find(|file| file.path.contains("10-")).unwrap().text;
    let changed_text = automated.replacen("score_bp >= 7000", "score_bp >= 9950", 1);
    assert_ne!(changed_text, automated);
    Engine::new(&changed(&[("policies/10-automated.cedar", &changed_text)]), None).unwrap()
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, lines: &[String]) -> PathBuf {
        let path = self.0.path().join(name);
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        if name.ends_with(".zst") {
            std::fs::write(&path, zstd::stream::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        } else {
            std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        path
    }
}

/// What a replay of `lines` finds, from the shipped policies to `head`.
fn replayed(head: &Engine, lines: &[String], settings: Settings) -> Result<Replay, ReplayError> {
    let files = Files::new();
    let path = files.write("decisions.jsonl", lines);
    replay(Versions { base: &SHIPPED, head }, &[path], settings, &|_| {})
}

fn cells(replay: &Replay) -> Vec<(Tier, Tier, u64)> {
    let filled = replay.matrix.iter().filter(|cell| cell.decisions > 0);
    filled.map(|cell| (cell.base, cell.head, cell.decisions)).collect()
}

#[tokio::test]
async fn what_an_executor_records_is_read_as_it_was_decided() {
    let journal = Arc::new(Memory::default());
    let executor = Executor::new(Site {
        store: Arc::new(MemoryStore::default()),
        clock: Arc::new(ManualClock::new(at(0))),
        policies: in_force(),
        actuator: Arc::new(DryRun),
        journal: journal.clone(),
    });
    let playbook = SHIPPED.playbook("contain-account").unwrap().clone();
    let run = executor.start(run_id("run-1"), &playbook, subject("reader")).await.unwrap();
    executor.rollback(&run.plan.run_id, "ada").await.unwrap();

    let verdicts = executor.events(&run.plan.run_id).unwrap().into_iter().filter_map(|event| match event {
        RunEvent::Decided { step, verdict, .. } => Some((step, *verdict)),
        _ => None,
    });
    let expected = verdicts.map(|(step, verdict)| {
        let Verdict { request, decision, lease, held_by } = verdict;
        let (run_id, tier, bundle, held) = (run_id("run-1"), decision.tier, decision.bundle, held_by.is_some());
        Record::Decision(Box::new(Recorded { at: at(0), run_id, step, request, tier, bundle, lease, held }))
    });
    let expected: Vec<Record> = expected.collect();
    let written = journal.records.lock().unwrap().clone();
    let read = |(kind, content): (AuditKind, serde_json::Value)| Record::read(line_of(kind, at(0), content).as_bytes());
    let read: Vec<Record> = written.into_iter().map(|record| read(record).unwrap()).collect();
    assert!(expected.len() > 1);
    assert_eq!(
        read.iter().filter(|record| matches!(record, Record::Decision(_))).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    let undone = |step| Record::GivenBack { at: at(0), run_id: run_id("run-1"), step };
    assert!(read.contains(&undone(1)) && read.contains(&Record::Other), "{read:?}");
}

#[test]
fn the_shipped_policies_decide_the_shipped_decisions_as_they_were_recorded() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay/decisions.jsonl");
    let versions = Versions { base: &SHIPPED, head: &SHIPPED };
    let found = replay(versions, &[file], settings(Timestamp::MAX), &|_| ()).unwrap();
    assert!(found.decisions >= 60 && found.matrix.len() > 1, "{found}");
    assert_eq!(found.unreproduced.decisions, 0, "a change of the policies? Record them anew: {found}");
}

#[test]
fn a_record_is_read_whatever_the_order_of_its_keys() {
    let line = line(&recorded(0, "reader"));
    let record: AuditRecord = serde_json::from_str(&line).unwrap();
    let reordered = serde_json::to_string(&record).unwrap();
    assert!(reordered.starts_with("{\"kind\""), "{reordered}");
    assert_eq!(Record::read(reordered.as_bytes()).unwrap(), Record::read(line.as_bytes()).unwrap());
    assert_eq!(Record::read(line.as_bytes()).unwrap(), Record::Decision(Box::new(recorded(0, "reader"))));
}

#[test]
fn the_same_policies_change_nothing() {
    let lines: Vec<String> = (0..5).map(|hours| line(&recorded(hours, "reader"))).collect();
    let replay = replayed(&SHIPPED, &lines, settings(at(100))).unwrap();
    assert_eq!(cells(&replay), [(Tier::Automated, Tier::Automated, 5)]);
    assert_eq!((replay.actions.len(), replay.gain.assets, replay.lose.assets), (0, 0, 0));
    assert_eq!(replay.host_minutes, HostMinutes { base: 300, ..HostMinutes::default() });
    assert_eq!((replay.unreproduced.decisions, replay.leases.in_force), (0, 0));
    assert_eq!((replay.first, replay.last), (Some(at(0)), Some(at(4))));
}

#[test]
fn a_narrower_head_loses_assets_host_minutes_and_leases_and_a_wider_one_gains_them() {
    let mut wide = recorded(2, "batch");
    wide.request.context.blast_radius = 3;
    let decisions = [recorded(0, "reader"), recorded(1, "reader"), wide];
    let lines: Vec<String> = decisions.iter().map(line).collect();
    let as_of = at(2).plus(HOUR / 2);
    let lost = replayed(&stricter(), &lines, settings(as_of)).unwrap();
    assert_eq!(cells(&lost), [(Tier::Automated, Tier::Assisted, 3)]);
    let count = |asset_id: &str, decisions| AssetCount { asset_id: asset(asset_id).asset_id, decisions };
    let most = vec![count("reader", 2), count("batch", 1)];
    assert_eq!(lost.lose, Assets { assets: 2, decisions: 3, most: most.clone() });
    assert_eq!(lost.host_minutes, HostMinutes { base: 300, lost: 300, ..HostMinutes::default() });
    assert_eq!((lost.leases.in_force, lost.leases.refused_by_head), (1, 1));
    assert_eq!(lost.leases.first[0].asset_id, asset("batch").asset_id);
    let told = lost.to_string();
    assert!(told.contains("  throttle: 3 automated → assisted\n"), "{told}");
    assert!(told.contains("kept until it lapses at "), "{told}");

    let files = Files::new();
    let path = files.write("decisions.jsonl", &lines);
    let base = stricter();
    let versions = Versions { base: &base, head: &SHIPPED };
    let gained = replay(versions, &[path], settings(as_of), &|_| {}).unwrap();
    assert_eq!(gained.gain, Assets { assets: 2, decisions: 3, most });
    assert_eq!(gained.host_minutes, HostMinutes { gained: 300, ..HostMinutes::default() });
    assert_eq!(gained.unreproduced.decisions, 3);
    assert_eq!(gained.unreproduced.under_this_bundle, 0);
}

#[test]
fn a_lease_that_was_given_back_or_asked_for_by_a_person_is_judged_as_such() {
    let mut approved = recorded(0, "approved");
    approved.request.requester = Requester::Responder { name: "ada".to_owned(), on_call: true };
    approved.request.context.approvals = 1;
    approved.tier = Tier::Assisted;
    let (kept, undone) = (recorded(0, "kept"), recorded(0, "undone"));
    let lines = [line(&approved), given_back(&undone, 0), line(&kept), line(&undone)];
    let replay = replayed(&stricter(), &lines, settings(at(0))).unwrap();
    assert_eq!((replay.leases.in_force, replay.leases.refused_by_head), (2, 1));
    assert_eq!(replay.leases.first[0].run_id, kept.run_id);
    assert_eq!(replay.other_records, 1);
    let later = replayed(&stricter(), &lines, settings(at(1))).unwrap();
    assert_eq!(later.leases, Leases::default());
}

#[test]
fn a_decision_that_base_does_not_take_is_named_with_its_place() {
    let foreign = Recorded { tier: Tier::AlertOnly, bundle: Digest([1; 32]), ..recorded(0, "foreign") };
    let false_record = Recorded { tier: Tier::Assisted, ..recorded(1, "false") };
    let lines = [line(&recorded(0, "true")), line(&foreign), String::new(), line(&false_record)];
    let replay = replayed(&SHIPPED, &lines, settings(at(9))).unwrap();
    assert_eq!((replay.decisions, replay.unreproduced.decisions, replay.unreproduced.under_this_bundle), (3, 2, 1));
    let named: Vec<(u64, Tier)> =
        replay.unreproduced.first.iter().map(|unlike| (unlike.line, unlike.recorded)).collect();
    assert_eq!(named, [(2, Tier::AlertOnly), (4, Tier::Assisted)]);
    assert!(replay.to_string().contains("so record or bundle is not what it says"), "{replay}");
}

#[test]
fn days_count_back_from_the_instant_but_a_lease_that_holds_is_always_looked_at() {
    let mut long = recorded(0, "long");
    long.lease.as_mut().unwrap().expires_at = at(100);
    let lines = [line(&long), line(&recorded(30, "late")), line(&recorded(60, "later"))];
    let one_day = Settings { days: Some(1), ..settings(at(50)) };
    let replay = replayed(&stricter(), &lines, one_day).unwrap();
    assert_eq!((replay.decisions, replay.outside), (1, 2));
    assert_eq!((replay.leases.in_force, replay.leases.refused_by_head), (1, 1));
}

#[test]
fn what_is_no_record_is_refused_with_its_line_or_counted() {
    let good = line(&recorded(0, "reader"));
    let (cut, unknown) = (good[..good.len() - 30].to_owned(), r#"{"kind":"weather","at":"2026-01-01T00:00:00Z"}"#);
    let without_tier = good.replace("\"tier\":\"automated\"}", "\"tier\":\"instant\"}");
    assert_ne!(without_tier, good);
    for bad in [cut.as_str(), unknown, "{}", "nonsense", without_tier.as_str()] {
        let lines = [good.clone(), bad.to_owned(), "also bad".to_owned()];
        let error = replayed(&SHIPPED, &lines, settings(at(9))).unwrap_err();
        assert_eq!(error.code(), "replay-damaged");
        assert!(error.to_string().contains("decisions.jsonl` line 2 is no audit record: "), "{error}");
        let lenient = Settings { skip_damaged: true, ..settings(at(9)) };
        let replay = replayed(&SHIPPED, &lines, lenient).unwrap();
        assert_eq!((replay.decisions, replay.damaged), (1, 2));
    }
}

#[test]
fn many_blocks_of_several_files_come_to_the_same_on_any_number_of_threads() {
    let files = Files::new();
    let of_asset = |number: u32| line(&recorded(number % 7, &format!("asset-{}", number % 37)));
    let lines: Vec<String> = (0..3_000).map(of_asset).collect();
    assert!(lines.iter().map(String::len).sum::<usize>() > 3 * 1024 * 1024);
    let paths = [files.write("a.jsonl", &lines[..500]), files.write("b.jsonl.zst", &lines[500..])];
    let head = stricter();
    let versions = Versions { base: &SHIPPED, head: &head };
    let read = AtomicU64::new(0);
    let on = |threads: usize| {
        let settings = Settings { threads: NonZeroUsize::new(threads).unwrap(), ..settings(at(3)) };
        let count = |lines| {
            read.fetch_add(lines, Ordering::Relaxed);
        };
        replay(versions, &paths, settings, &count).unwrap()
    };
    let one = on(1);
    assert_eq!((one.decisions + one.outside, one.lose.assets, read.load(Ordering::Relaxed)), (3_000, 37, 3_000));
    assert_eq!(on(3), one);
}

#[test]
fn of_many_damaged_lines_the_first_is_named() {
    let files = Files::new();
    let good = line(&recorded(0, "reader"));
    let damaged = |number: u32| if number % 400 == 399 { "bad".to_owned() } else { good.clone() };
    let path = files.write("a.jsonl", &(0..3_000).map(damaged).collect::<Vec<_>>());
    for _ in 0..5 {
        let versions = Versions { base: &SHIPPED, head: &SHIPPED };
        let error = replay(versions, std::slice::from_ref(&path), settings(at(9)), &|_| {}).unwrap_err();
        assert!(error.to_string().contains("a.jsonl` line 400 "), "{error}");
    }
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let files = Files::new();
    let long = files.write("long.jsonl", &["\n".to_owned(), "x".repeat(3 * 1024 * 1024)]);
    let text = files.write("text.zst.jsonl", &[String::new()]);
    let no_zstd = text.with_file_name("text.zst");
    std::fs::rename(&text, &no_zstd).unwrap();
    let missing = text.with_file_name("missing.jsonl");
    for (path, code) in [(long, "replay-line-too-long"), (no_zstd, "replay-read"), (missing, "replay-read")] {
        let versions = Versions { base: &SHIPPED, head: &SHIPPED };
        assert_eq!(replay(versions, &[path], settings(at(9)), &|_| {}).unwrap_err().code(), code);
    }
}
