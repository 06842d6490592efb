//! The log itself, over a store. An entry, its hashes and the next signed checkpoint are written as one batch, which
//! applies only on top of the checkpoint before: a crash leaves all of it or nothing, and a second writer is refused.

mod group;
mod layout;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use shared::document::SignedDocument;
use shared::store::{Batch, Store, StoreError};
use shared::{Digest, canonical};
use shared_crypto::{PublicKey, SigningKey};

use self::group::{Queue, Submission};
use self::layout::{entry_key, hash_key, head_key};
use crate::merkle::leaf_hash;
use crate::tree::{Frontier, Subtree, consistency_path, inclusion_path};
use crate::{AuditError, Checkpoint, ConsistencyProof, Receipt, note};

/// The largest entry, in bytes of canonical JSON: what the length prefix of a tlog-tiles entry bundle can say.
pub const MAX_ENTRY: usize = 65_535;
/// The most entries of one call of [`AuditLog::append_all`].
pub const MAX_BATCH: usize = 1024;

/// What [`AuditLog::verify`] found in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// How many entries there are.
    pub entries: u64,
    /// Their root.
    pub root: Digest,
}

/// An append-only log with signed checkpoints. Calls block on the disk; threads that append at once share a write.
pub struct AuditLog {
    store: Arc<dyn Store>,
    origin: String,
    key: SigningKey,
    queue: Queue,
    /// Held while a batch is written.
    writer: Mutex<()>,
    /// The last durable state; readers do not wait for the writer.
    head: RwLock<Arc<Head>>,
}

struct Head {
    frontier: Frontier,
    /// The signed checkpoint.
    note: String,
}

impl AuditLog {
    /// Opens the log in `store`, which holds at most one. `origin` names it to the world (a URL without its scheme), and
    /// `log_key` signs its checkpoints; a log of another origin or key is refused, as is one whose checkpoint does not
    /// fit its hashes.
    pub fn open(store: Arc<dyn Store>, origin: &str, log_key: SigningKey) -> Result<Self, AuditError> {
        if !note::is_key_name(origin) {
            return Err(AuditError::Origin(origin.chars().take(80).collect()));
        }
        let head = load_head(store.as_ref(), origin, &log_key)?;
        Ok(Self {
            store,
            origin: origin.to_owned(),
            key: log_key,
            queue: Queue::default(),
            writer: Mutex::default(),
            head: RwLock::new(Arc::new(head)),
        })
    }

    /// Appends one entry; its index. When this returns, entry and signed checkpoint are durable.
    pub fn append(&self, entry: &SignedDocument) -> Result<u64, AuditError> {
        Ok(self.append_all(std::slice::from_ref(entry))?.start)
    }

    /// Appends entries, all or none; their indices. When this returns, they and the signed checkpoint are durable.
    pub fn append_all(&self, entries: &[SignedDocument]) -> Result<Range<u64>, AuditError> {
        if entries.len() > MAX_BATCH {
            return Err(AuditError::BatchTooLarge { size: entries.len(), limit: MAX_BATCH });
        }
        if entries.is_empty() {
            let size = self.size();
            return Ok(size..size);
        }
        let submission = Submission::new(entries.iter().map(encode).collect::<Result<_, _>>()?);
        if self.queue.push(submission.clone()) {
            self.write_queued();
        }
        submission.wait()
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.head().frontier.size()
    }

    /// The log's name, as its checkpoints carry it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The log's public key.
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// The newest signed checkpoint, a C2SP signed note.
    pub fn checkpoint(&self) -> Result<String, AuditError> {
        Ok(self.head().note.clone())
    }

    /// The entry at `index`.
    pub fn entry(&self, index: u64) -> Result<SignedDocument, AuditError> {
        self.within(index, self.size())?;
        Ok(self.read_entry(index)?.1)
    }

    /// The proof that the entry at `index` is in the log.
    pub fn receipt(&self, index: u64) -> Result<Receipt, AuditError> {
        let head = self.head();
        self.within(index, head.frontier.size())?;
        let (_, entry) = self.read_entry(index)?;
        let path = inclusion_path(index, head.frontier.size(), &|subtree| read_hash(self.store.as_ref(), subtree))?;
        Ok(Receipt { entry, index, path, checkpoint: head.note.clone() })
    }

    /// The proof that the log only grew since it had `old_size` entries.
    pub fn consistency(&self, old_size: u64) -> Result<ConsistencyProof, AuditError> {
        let head = self.head();
        let size = head.frontier.size();
        if old_size > size {
            return Err(AuditError::NoEntry { index: old_size, size });
        }
        let path = consistency_path(old_size, size, &|subtree| read_hash(self.store.as_ref(), subtree))?;
        Ok(ConsistencyProof { path, checkpoint: head.note.clone() })
    }

    /// Recomputes the tree from all entries: every entry must be in canonical form, every stored hash must come out, and
    /// the stored checkpoint must be signed and lead to the same root. Names the first entry that is damaged. Appends go
    /// on meanwhile; what they add is not part of the answer.
    pub fn verify(&self) -> Result<Verified, AuditError> {
        let checkpoint = self.stored_checkpoint()?;
        let mut recomputed = Frontier::empty();
        for index in 0..checkpoint.size {
            let (bytes, _) = self.read_entry(index)?;
            for (subtree, hash) in recomputed.push(leaf_hash(&bytes)) {
                if read_hash(self.store.as_ref(), subtree)? != hash {
                    return Err(damaged_subtree(subtree, "does not fit the entries"));
                }
            }
        }
        match recomputed.root() {
            root if root == checkpoint.root => Ok(Verified { entries: checkpoint.size, root }),
            _ => Err(damaged(0, "the entries do not lead to the checkpoint's root")),
        }
    }

    /// The checkpoint in the store, which must not be older than the last that this process wrote.
    fn stored_checkpoint(&self) -> Result<Checkpoint, AuditError> {
        let _writing = self.writer.lock().map_err(|_| AuditError::Interrupted)?;
        let (checkpoint, _) = load_checkpoint(self.store.as_ref(), &self.origin, &self.key)?;
        if checkpoint.size < self.size() {
            return Err(damaged(checkpoint.size, "the stored checkpoint is older than one that was written"));
        }
        Ok(checkpoint)
    }

    fn head(&self) -> Arc<Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn within(&self, index: u64, size: u64) -> Result<(), AuditError> {
        if index < size { Ok(()) } else { Err(AuditError::NoEntry { index, size }) }
    }

    fn read_entry(&self, index: u64) -> Result<(Vec<u8>, SignedDocument), AuditError> {
        let bytes = self.store.get(&entry_key(index))?.ok_or_else(|| damaged(index, "the entry is missing"))?;
        let entry = canonical::decode(&bytes)
            .map_err(|_| damaged(index, "the entry is not a signed document in canonical form"))?;
        Ok((bytes, entry))
    }

    /// Leads a group: waits for the write before, and settles all that has queued up meanwhile.
    fn write_queued(&self) {
        let writing = self.writer.lock();
        let group = self.queue.take();
        if writing.is_ok() {
            group.parts().for_each(|part| group::settle(part, &self.write(part).map_err(AuditError::from)));
        }
    }

    /// Writes the submissions' entries, their hashes and the next checkpoint as one batch; the first entry's index.
    fn write(&self, part: &[Arc<Submission>]) -> Result<u64, StoreError> {
        let head = self.head();
        let first = head.frontier.size();
        let mut frontier = head.frontier.clone();
        let mut batch = match first {
            0 => Batch::new().expect_absent(head_key()),
            _ => Batch::new().expect(head_key(), head.note.as_str()),
        };
        for entry in part.iter().flat_map(|submission| submission.entries()) {
            batch = batch.put(entry_key(frontier.size()), entry.as_slice());
            for (subtree, hash) in frontier.push(leaf_hash(entry)) {
                batch = batch.put(hash_key(subtree), hash.as_bytes().as_slice());
            }
        }
        let note = sign_head(&frontier, &self.origin, &self.key);
        self.store.apply(batch.put(head_key(), note.as_str()))?;
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Head { frontier, note });
        Ok(first)
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("origin", &self.origin).field("size", &self.size()).finish_non_exhaustive()
    }
}

fn encode(entry: &SignedDocument) -> Result<Vec<u8>, AuditError> {
    let bytes = canonical::encode(entry)?;
    match bytes.len() {
        size if size > MAX_ENTRY => Err(AuditError::EntryTooLarge { size, limit: MAX_ENTRY }),
        _ => Ok(bytes),
    }
}

fn sign_head(frontier: &Frontier, origin: &str, key: &SigningKey) -> String {
    Checkpoint { origin: origin.to_owned(), size: frontier.size(), root: frontier.root() }.sign(key)
}

/// The stored state, checked in O(log n) reads.
fn load_head(store: &dyn Store, origin: &str, key: &SigningKey) -> Result<Head, AuditError> {
    let (checkpoint, note) = load_checkpoint(store, origin, key)?;
    let frontier = Frontier::load(checkpoint.size, |subtree| read_hash(store, subtree))?;
    if frontier.root() != checkpoint.root {
        return Err(damaged(0, "the stored hashes do not lead to the checkpoint's root"));
    }
    Ok(Head { frontier, note })
}

/// The stored checkpoint, or that of the empty log, with its note. No entry may stand beyond it.
fn load_checkpoint(store: &dyn Store, origin: &str, key: &SigningKey) -> Result<(Checkpoint, String), AuditError> {
    let note = match store.get(&head_key())? {
        None => sign_head(&Frontier::empty(), origin, key),
        Some(bytes) => String::from_utf8(bytes).map_err(|_| AuditError::Checkpoint("is not text"))?,
    };
    let checkpoint = Checkpoint::open(&note, origin, &key.public())?;
    match store.get(&entry_key(checkpoint.size))? {
        None => Ok((checkpoint, note)),
        Some(_) => Err(damaged(checkpoint.size, "an entry stands beyond the checkpoint")),
    }
}

fn read_hash(store: &dyn Store, subtree: Subtree) -> Result<Digest, AuditError> {
    let bytes = store.get(&hash_key(subtree))?.ok_or_else(|| damaged_subtree(subtree, "is missing"))?;
    Ok(Digest(bytes.try_into().map_err(|_| damaged_subtree(subtree, "is not 32 bytes"))?))
}

fn damaged(index: u64, what: &str) -> AuditError {
    AuditError::Damaged { index, what: what.to_owned() }
}

fn damaged_subtree(subtree: Subtree, what: &str) -> AuditError {
    let (first, last) = (subtree.first_leaf(), subtree.last_leaf());
    damaged(first, &format!("the hash of entries {first} to {last} {what}"))
}
