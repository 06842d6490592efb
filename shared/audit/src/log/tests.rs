//! The log over real stores: what it proves, what damage it finds, and what a crash leaves.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use proptest::prelude::*;
use shared::audit::{AuditKind, AuditRecord};
use shared::store::{Entry, Key};
use shared::{Explain, Timestamp};
use shared_store::{MemoryStore, SledStore};

use super::*;
use crate::{verify_consistency, verify_receipt};

const ORIGIN: &str = "ringfence.example/site-1";

fn log_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn emitter() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn record(number: u64) -> AuditRecord {
    AuditRecord {
        kind: AuditKind::Decision,
        at: Timestamp::EPOCH,
        actor: "site-1".to_owned(),
        content: serde_json::json!({ "number": number }),
    }
}

fn entry(number: u64) -> SignedDocument {
    emitter().sign(&record(number)).unwrap()
}

fn entries(numbers: Range<u64>) -> Vec<SignedDocument> {
    numbers.map(entry).collect()
}

fn open(store: Arc<dyn Store>) -> Result<AuditLog, AuditError> {
    AuditLog::open(store, ORIGIN, log_key())
}

fn log_of(size: u64) -> (Arc<MemoryStore>, AuditLog) {
    let store = Arc::new(MemoryStore::default());
    let log = open(store.clone()).unwrap();
    log.append_all(&entries(0..size)).unwrap();
    (store, log)
}

fn verifies(receipt: &Receipt) -> bool {
    verify_receipt(receipt, &log_key().public(), ORIGIN).is_ok()
}

#[test]
fn an_entry_comes_back_with_a_receipt_that_verifies_offline() {
    let (_, log) = log_of(0);
    for number in 0..40 {
        assert_eq!(log.append(&entry(number)).unwrap(), number);
        let receipt = log.receipt(number / 2).unwrap();
        let read: Receipt = serde_json::from_str(&serde_json::to_string(&receipt).unwrap()).unwrap();
        verify_receipt(&read, &log.public(), ORIGIN).unwrap();
        assert_eq!(emitter().public().open::<AuditRecord>(&read.entry).unwrap(), record(number / 2));
    }
    assert_eq!(log.verify().unwrap().entries, 40);
}

#[test]
fn one_batch_and_single_appends_give_the_same_root() {
    let (_, whole) = log_of(37);
    let (_, single) = log_of(0);
    for (index, entry) in (0..).zip(entries(0..37)) {
        assert_eq!(single.append(&entry).unwrap(), index);
    }
    assert_eq!(whole.checkpoint().unwrap(), single.checkpoint().unwrap());
    assert_eq!(whole.append_all(&[]).unwrap(), 37..37);
    assert_eq!(log_of(0).1.append_all(&[]).unwrap(), 0..0);
}

#[test]
fn every_later_checkpoint_extends_every_earlier_one() {
    let (_, log) = log_of(0);
    let mut checkpoints = vec![log.checkpoint().unwrap()];
    for number in 0..20 {
        log.append(&entry(number)).unwrap();
        checkpoints.push(log.checkpoint().unwrap());
        for (old_size, old) in (0..).zip(&checkpoints) {
            let proof = log.consistency(old_size).unwrap();
            assert_eq!(verify_consistency(old, &proof, &log.public(), ORIGIN).unwrap().size, number + 1);
        }
    }
    let (_, rewritten) = log_of(0);
    rewritten.append_all(&entries(1..30)).unwrap();
    let proof = rewritten.consistency(20).unwrap();
    let error = verify_consistency(&checkpoints[20], &proof, &log.public(), ORIGIN).unwrap_err();
    assert_eq!(error.code(), "audit-proof");
}

#[test]
fn a_receipt_of_another_log_or_origin_is_refused() {
    let (_, log) = log_of(5);
    let receipt = log.receipt(3).unwrap();
    assert!(verifies(&receipt));
    assert!(verify_receipt(&receipt, &emitter().public(), ORIGIN).is_err());
    assert!(verify_receipt(&receipt, &log.public(), "ringfence.example/site-2").is_err());
}

fn flip(text: &str, bit: usize) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let index = bit / 8 % bytes.len();
    bytes[index] ^= 1 << (bit % 8);
    String::from_utf8(bytes).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_flipped_bit_of_a_receipt_is_refused(size in 1_u64..200, pick: u64, bit: usize) {
        let (_, log) = log_of(size);
        let receipt = log.receipt(pick % size).unwrap();
        prop_assert!(verifies(&receipt));
        for part in 0..4 {
            let mut damaged = receipt.clone();
            let text = match part {
                0 => &mut damaged.entry.body,
                1 => &mut damaged.entry.signature,
                2 => &mut damaged.checkpoint,
                _ => {
                    if let Some(hash) = damaged.path.get_mut(bit % receipt.path.len().max(1)) {
                        hash.0[bit % 32] ^= 1 << (bit % 8);
                        prop_assert!(!verifies(&damaged));
                    }
                    damaged.index = receipt.index ^ (1 << (bit % 64));
                    damaged.path.clone_from(&receipt.path);
                    prop_assert!(!verifies(&damaged));
                    continue;
                }
            };
            if let Some(flipped) = flip(text, bit) {
                *text = flipped;
                prop_assert!(!verifies(&damaged), "part {part}");
            }
        }
    }
}

#[test]
fn an_entry_too_large_is_refused_and_leaves_the_log_alone() {
    let (_, log) = log_of(2);
    let body = |size: usize| SignedDocument { body: "x".repeat(size), ..entry(0) };
    let overhead = canonical::encode(&body(0)).unwrap().len();
    assert_eq!(log.append(&body(MAX_ENTRY - overhead)).unwrap(), 2);
    assert_eq!(log.append(&body(MAX_ENTRY - overhead + 1)).unwrap_err().code(), "audit-entry-too-large");
    let mixed = [entry(3), body(MAX_ENTRY)];
    assert!(log.append_all(&mixed).is_err());
    assert_eq!(log.append_all(&vec![entry(3); MAX_BATCH + 1]).unwrap_err().code(), "audit-batch-too-large");
    assert_eq!(log.verify().unwrap().entries, 3);
}

#[test]
fn what_lies_beyond_the_log_is_refused() {
    let (_, log) = log_of(3);
    assert_eq!(log.entry(3).unwrap_err().code(), "audit-no-entry");
    assert_eq!(log.receipt(u64::MAX).unwrap_err().code(), "audit-no-entry");
    assert_eq!(log.consistency(4).unwrap_err().code(), "audit-no-entry");
}

#[test]
fn threads_that_append_at_once_each_get_their_own_place() {
    let (_, log) = log_of(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..50 {
                    let mine = [entry(thread * 1000 + number), entry(thread * 1000 + number + 500)];
                    let places = log.append_all(&mine).unwrap();
                    assert_eq!(places.clone().map(|index| log.entry(index).unwrap()).collect::<Vec<_>>(), mine);
                    assert!(verifies(&log.receipt(places.start).unwrap()));
                }
            });
        }
    });
    assert_eq!(log.verify().unwrap().entries, 800);
}

fn overwrite(store: &MemoryStore, key: Key, change: impl FnOnce(&mut Vec<u8>)) {
    let mut value = store.get(&key).unwrap().unwrap();
    change(&mut value);
    store.apply(Batch::new().put(key, value)).unwrap();
}

fn damage_found(log: &AuditLog) -> u64 {
    match log.verify() {
        Err(AuditError::Damaged { index, .. }) => index,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flipped_bit_in_any_entry_is_found_and_named() {
    for index in 0..20 {
        let (store, log) = log_of(20);
        overwrite(&store, entry_key(index), |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
        assert_eq!(damage_found(&log), index);
    }
}

#[test]
fn a_second_spelling_of_an_entry_is_found_though_it_reads_alike() {
    let (store, log) = log_of(8);
    overwrite(&store, entry_key(5), |bytes| bytes.insert(1, b' '));
    assert_eq!(damage_found(&log), 5);
}

#[test]
fn a_missing_entry_and_every_damaged_hash_are_found() {
    let (store, log) = log_of(20);
    store.apply(Batch::new().delete(entry_key(7))).unwrap();
    assert_eq!(damage_found(&log), 7);
    let stored = store.scan("audit-hash", b"", 1000).unwrap();
    assert_eq!(stored.len(), 20 + 10 + 5 + 2 + 1);
    for (key, _) in stored {
        let (store, log) = log_of(20);
        let (level, index) = key.split_at(4);
        let first = u64::from_be_bytes(index.try_into().unwrap()) << u32::from_be_bytes(level.try_into().unwrap());
        overwrite(&store, Key::new("audit-hash", key.clone()), |bytes| bytes[0] ^= 0x80);
        assert_eq!(damage_found(&log), first);
    }
}

#[test]
fn a_checkpoint_taken_back_is_found() {
    let (store, log) = log_of(4);
    let old = log.checkpoint().unwrap();
    log.append(&entry(4)).unwrap();
    store.apply(Batch::new().put(head_key(), old)).unwrap();
    assert_eq!(damage_found(&log), 4);
    assert_eq!(open(store.clone()).unwrap_err().code(), "audit-damaged");
    store.apply(Batch::new().delete(head_key())).unwrap();
    assert_eq!(open(store.clone()).unwrap_err().code(), "audit-damaged");
}

#[test]
fn a_log_opens_for_its_own_origin_and_key_only() {
    let (store, log) = log_of(9);
    assert_eq!(open(store.clone()).unwrap().checkpoint().unwrap(), log.checkpoint().unwrap());
    let stranger = AuditLog::open(store.clone(), ORIGIN, emitter()).unwrap_err();
    let renamed = AuditLog::open(store.clone(), "ringfence.example/site-2", log_key()).unwrap_err();
    assert_eq!((stranger.code(), renamed.code()), ("audit-checkpoint", "audit-checkpoint"));
    assert_eq!(AuditLog::open(store, "site 1", log_key()).unwrap_err().code(), "audit-origin");
}

#[test]
fn of_two_writers_the_second_is_refused() {
    let (store, first) = log_of(3);
    let second = open(store).unwrap();
    second.append(&entry(3)).unwrap();
    let error = first.append(&entry(4)).unwrap_err();
    assert_eq!(error.code(), "store-conflict");
    assert_eq!(second.verify().unwrap().entries, 4);
}

/// A store that fails the next write: without a trace (1), or after it reached the disk (2).
#[derive(Default)]
struct FailingStore {
    inner: MemoryStore,
    next: AtomicU8,
}

impl Store for FailingStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(tree, prefix, limit)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let failure = self.next.swap(0, Ordering::SeqCst);
        if failure != 1 {
            self.inner.apply(batch)?;
        }
        match failure {
            0 => Ok(()),
            _ => Err(StoreError::Engine { location: "test".to_owned(), reason: "disk full".to_owned() }),
        }
    }
}

#[test]
fn a_write_that_failed_leaves_all_of_it_or_nothing_and_is_never_acknowledged() {
    for (failure, survivors) in [(1, 5), (2, 8)] {
        let store = Arc::new(FailingStore::default());
        let log = open(store.clone()).unwrap();
        log.append_all(&entries(0..5)).unwrap();
        store.next.store(failure, Ordering::SeqCst);
        assert_eq!(log.append_all(&entries(5..8)).unwrap_err().code(), "store-engine");
        assert_eq!(log.size(), 5);
        let reopened = open(store).unwrap();
        assert_eq!(reopened.verify().unwrap().entries, survivors);
        assert_eq!(reopened.append(&entry(9)).unwrap(), survivors);
        reopened.verify().unwrap();
    }
}

#[test]
fn a_write_that_failed_without_a_trace_may_be_tried_again() {
    let store = Arc::new(FailingStore::default());
    let log = open(store.clone()).unwrap();
    store.next.store(1, Ordering::SeqCst);
    log.append(&entry(0)).unwrap_err();
    assert_eq!(log.append(&entry(0)).unwrap(), 0);
    log.verify().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

/// The copy is what the disk holds at that moment: what a killed process would find.
#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let log = open(Arc::new(SledStore::open(&live).unwrap())).unwrap();
    for crash in 0..5 {
        log.append_all(&entries(crash * 10..crash * 10 + 9)).unwrap();
        log.append(&entry(crash * 10 + 9)).unwrap();
        let left = folder.path().join(format!("crash-{crash}"));
        copy(&live, &left);
        let reopened = open(Arc::new(SledStore::open(&left).unwrap())).unwrap();
        assert_eq!(reopened.checkpoint().unwrap(), log.checkpoint().unwrap());
        assert_eq!(reopened.verify().unwrap().entries, (crash + 1) * 10);
        assert_eq!(reopened.append(&entry(0)).unwrap(), (crash + 1) * 10);
    }
}
