//! The embedded engine: one sled tree on local disk, in which every entry's key begins with the name of its tree.
//!
//! It does not trust sled with durability alone: on Linux sled's flush syncs a range of the file, but neither the
//! file's length nor the disk's cache, so that an fsync of the log follows each flush. Nor does it trust sled to say
//! what damage took away: see [`whole`].

mod record;
mod whole;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::Duration;

use shared::store::{Batch, Entry, Key, Store, StoreError};

use self::record::{CHUNK_BYTES, Head, SEGMENT_BYTES, chunk_key, entry_key};
use self::whole::{Note, TALLY_KEY, Tally};
use crate::limits;

/// How much of the store sled may keep in memory, in bytes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How often and with what pause a locked store is tried before it is refused.
const LOCK_ATTEMPTS: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What is wrong where sled itself sees the damage.
const UNREADABLE: &str = "its log does not read";

/// A store in a folder of the local disk. One process at a time may have it open.
#[derive(Debug)]
pub struct SledStore {
    path: PathBuf,
    sled: sled::Db,
    /// sled's log, for fsync.
    log: File,
    /// How many batches are on disk, for the next who opens the store.
    note: Note,
    /// The batches that were written; the lock makes a batch one step for writers and readers alike.
    written: RwLock<Tally>,
    /// How many of them are known to be on disk.
    durable: Mutex<u64>,
    /// Why a write or flush failed, once one has. The kernel reports a failed write once and then forgets it, so that a
    /// later flush that succeeds proves nothing: the store refuses everything until it is opened anew.
    failure: OnceLock<String>,
}

impl SledStore {
    /// Opens the store in the folder `path`, which is created when absent. Refuses one that is open already, here or in
    /// another process, and one that damage took something from: all entries are read once (1.3 µs each).
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let failed = |error: std::io::Error| engine_error(&path, error.to_string());
        let config = sled::Config::new().path(&path).segment_size(SEGMENT_BYTES).cache_capacity(CACHE_BYTES);
        let sled = open_patiently(&config).map_err(|error| error.at(&path))?;
        let note = Note::open(&path).map_err(failed)?;
        let tally = tally_of_whole(&sled, note.read().map_err(failed)?).map_err(|error| error.at(&path))?;
        let log = File::open(path.join("db")).map_err(failed)?;
        sync_folders(&path).map_err(failed)?;
        let durable = Mutex::new(tally.batches);
        Ok(Self { path, sled, log, note, written: RwLock::new(tally), durable, failure: OnceLock::new() })
    }

    /// Checks the expectations and writes, as one step; the number of batches written so far, this one included.
    fn write(&self, batch: Batch) -> Result<u64, StoreError> {
        let mut written = self.written.write().map_err(|_| self.failed("a write before this one panicked"))?;
        self.check_failure()?;
        for (key, expected) in &batch.expectations {
            if self.value(key)? != *expected {
                return Err(StoreError::Conflict { tree: key.tree });
            }
        }
        let (encoded, tally) = self.encode(batch, *written)?;
        self.sled.apply_batch(encoded).map_err(|error| self.fail_for_good(reason(&error)))?;
        *written = tally;
        Ok(tally.batches)
    }

    /// Waits until batch number `number` is on disk. Whoever comes first flushes for all that wrote before.
    fn make_durable(&self, number: u64) -> Result<(), StoreError> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if *durable >= number {
            return Ok(());
        }
        self.check_failure()?;
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner).batches;
        self.flush(written).map_err(|reason| self.fail_for_good(reason))?;
        *durable = written;
        Ok(())
    }

    /// No batch is written while the guard lives, and none failed before.
    fn steady(&self) -> Result<RwLockReadGuard<'_, Tally>, StoreError> {
        let guard = self.written.read().map_err(|_| self.failed("a write panicked"))?;
        self.check_failure()?;
        Ok(guard)
    }

    fn check_failure(&self) -> Result<(), StoreError> {
        self.failure.get().map_or(Ok(()), |reason| Err(self.failed(reason)))
    }

    fn fail_for_good(&self, reason: String) -> StoreError {
        self.failed(self.failure.get_or_init(|| reason))
    }

    /// Brings the first `batches` batches to disk, and notes it.
    fn flush(&self, batches: u64) -> Result<(), String> {
        self.sled.flush().map_err(|error| reason(&error))?;
        self.log.sync_data().and_then(|()| self.note.write(batches)).map_err(|error| error.to_string())
    }

    /// The batch as sled takes it, upon what was `written`, and the tally after it. Of several writes to one key the
    /// last counts.
    fn encode(&self, batch: Batch, written: Tally) -> Result<(sled::Batch, Tally), StoreError> {
        let mut encoded = BTreeMap::new();
        let last_writes: BTreeMap<Key, Option<Vec<u8>>> = batch.writes.into_iter().collect();
        for (key, value) in last_writes {
            let old_chunks = self.head(&key)?.map_or(Ok(0), |head| self.decode(&head).map(|head| head.chunks()))?;
            let new_chunks = match value {
                Some(value) => put(&mut encoded, &key, &value),
                None => remove(&mut encoded, &key),
            };
            encoded.extend((new_chunks..old_chunks).map(|number| (chunk_key(&key, number), None)));
        }
        self.tallied(encoded, written)
    }

    /// The writes of a batch together with the tally after them.
    fn tallied(&self, writes: SledWrites, mut tally: Tally) -> Result<(sled::Batch, Tally), StoreError> {
        let mut tallied = sled::Batch::default();
        for (key, value) in writes {
            let old = self.sled.get(&key).map_err(|error| self.sled_failed(&error))?;
            tally.replace(&key, old.as_deref(), value.as_deref());
            match value {
                Some(value) => tallied.insert(key, value),
                None => tallied.remove(key),
            }
        }
        tally.batches = tally.batches.saturating_add(1);
        tallied.insert(&TALLY_KEY, &tally.encode());
        Ok((tallied, tally))
    }

    fn value(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.head(key)?.map(|head| self.assemble(key, &head)).transpose()
    }

    fn head(&self, key: &Key) -> Result<Option<sled::IVec>, StoreError> {
        self.sled.get(entry_key(key.tree, &key.key)).map_err(|error| self.sled_failed(&error))
    }

    /// The value whose head this is.
    fn assemble(&self, key: &Key, head: &[u8]) -> Result<Vec<u8>, StoreError> {
        match self.decode(head)? {
            Head::Inline(value) => Ok(value.to_vec()),
            Head::Chunked(count) => {
                let mut value = Vec::new();
                for number in 0..count {
                    let chunk = self.sled.get(chunk_key(key, number)).map_err(|error| self.sled_failed(&error))?;
                    value.extend_from_slice(&chunk.ok_or_else(|| self.failed("a chunk of a value is missing"))?);
                }
                Ok(value)
            }
        }
    }

    fn decode<'a>(&self, head: &'a [u8]) -> Result<Head<'a>, StoreError> {
        Head::decode(head).ok_or_else(|| self.failed("an entry was not written by this engine"))
    }

    fn sled_failed(&self, error: &sled::Error) -> StoreError {
        sled_error(&self.path, error)
    }

    fn failed(&self, reason: impl ToString) -> StoreError {
        engine_error(&self.path, reason.to_string())
    }
}

impl Store for SledStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let _steady = self.steady()?;
        self.value(key)
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let _steady = self.steady()?;
        let tree_length = entry_key(tree, b"").len();
        let matching = self.sled.scan_prefix(entry_key(tree, prefix)).take(limit);
        matching
            .map(|entry| {
                let (key, head) = entry.map_err(|error| self.sled_failed(&error))?;
                let key = Key::new(tree, key.get(tree_length..).unwrap_or_default());
                let value = self.assemble(&key, &head)?;
                Ok((key.key, value))
            })
            .collect()
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        limits::check(&batch)?;
        let number = self.write(batch)?;
        self.make_durable(number)
    }
}

/// What a batch writes (`Some`) and removes (`None`), by sled's keys.
type SledWrites = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Adds a value to the writes; the number of its chunks.
fn put(writes: &mut SledWrites, key: &Key, value: &[u8]) -> u32 {
    if value.len() <= CHUNK_BYTES {
        writes.insert(entry_key(key.tree, &key.key), Some(Head::Inline(value).encode()));
        return 0;
    }
    let mut count = 0;
    for (number, chunk) in (0..).zip(value.chunks(CHUNK_BYTES)) {
        writes.insert(chunk_key(key, number), Some(chunk.to_vec()));
        count = number.saturating_add(1);
    }
    writes.insert(entry_key(key.tree, &key.key), Some(Head::Chunked(count).encode()));
    count
}

/// Adds a deletion to the writes; the number of chunks that remain.
fn remove(writes: &mut SledWrites, key: &Key) -> u32 {
    writes.insert(entry_key(key.tree, &key.key), None);
    0
}

/// Makes the names of newly created files survive a power cut.
fn sync_folders(path: &Path) -> std::io::Result<()> {
    let absolute = path.canonicalize()?;
    absolute.ancestors().take(2).try_for_each(|folder| File::open(folder)?.sync_all())
}

/// Why a store was not opened.
enum Unopened {
    Failed(sled::Error),
    Damaged(String),
}

impl Unopened {
    fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Failed(error) => sled_error(path, &error),
            Self::Damaged(what) => damaged(path, what),
        }
    }
}

/// Opens, and waits while the store is locked: sled's threads let go of it a moment after a handle was dropped.
fn open_patiently(config: &sled::Config) -> Result<sled::Db, Unopened> {
    for _ in 1..LOCK_ATTEMPTS {
        match caught(|| config.open()) {
            Err(Unopened::Failed(error)) if is_locked(&error) => thread::sleep(LOCK_PAUSE),
            opened => return opened,
        }
    }
    caught(|| config.open())
}

/// The tally of a store of which `noted` batches were on disk, if nothing is lost.
fn tally_of_whole(sled: &sled::Db, noted: u64) -> Result<Tally, Unopened> {
    let last = caught(|| sled.get(TALLY_KEY))?;
    let last = last.map_or(Some(Tally::default()), |bytes| Tally::decode(&bytes));
    let last = last.ok_or_else(|| Unopened::Damaged("its tally does not read".to_owned()))?;
    let lost = noted.saturating_sub(last.batches);
    if lost > 0 {
        return Err(Unopened::Damaged(format!("the last {lost} of {noted} batches are lost")));
    }
    if caught(|| Tally::of(sled, last.batches))? != last {
        return Err(Unopened::Damaged("entries are lost".to_owned()));
    }
    Ok(last)
}

/// sled panics over some kinds of damage.
fn caught<T>(operation: impl FnOnce() -> sled::Result<T>) -> Result<T, Unopened> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(done) => done.map_err(Unopened::Failed),
        Err(_) => Err(Unopened::Damaged(UNREADABLE.to_owned())),
    }
}

fn reason(error: &sled::Error) -> String {
    match error {
        error if is_locked(error) => "it is open already, in this process or another".to_owned(),
        // sled keeps the kind of an error of the system, but not its text.
        sled::Error::Io(error) if error.kind() != ErrorKind::Other => error.kind().to_string(),
        error => error.to_string(),
    }
}

/// sled gives no kind for this error, only a text.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

fn sled_error(path: &Path, error: &sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => damaged(path, UNREADABLE.to_owned()),
        error => engine_error(path, reason(error)),
    }
}

fn damaged(path: &Path, what: String) -> StoreError {
    StoreError::Damaged { location: path.display().to_string(), what }
}

fn engine_error(path: &Path, reason: String) -> StoreError {
    StoreError::Engine { location: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests;
