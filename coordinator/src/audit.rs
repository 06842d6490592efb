//! The coordinator's side of the audit log: every enrolment, task, round and release, exactly once.
//!
//! A record becomes durable in the same batch as what it records (in an outbox), and moves into the log after. A crash
//! in between neither loses it nor enters it twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use shared::Timestamp;
use shared::audit::{AuditKind, AuditRecord};
use shared::document::SignedDocument;
use shared::store::{Batch, Key, Store};
use shared_audit::{AuditLog, Receipt, Verified};
use shared_crypto::{PublicKey, SigningKey};

use crate::{Error, durable};

/// How many records move at a time.
const PAGE: usize = 64;

/// The outbox and the log behind it.
pub(crate) struct Journal {
    store: Arc<dyn Store>,
    log: AuditLog,
    signer: SigningKey,
    next: AtomicU64,
    draining: Mutex<()>,
}

impl Journal {
    /// Opens the log and finishes what a crash interrupted.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        origin: &str,
        log_key: SigningKey,
        signer: SigningKey,
    ) -> Result<Self, Error> {
        let log = AuditLog::open(Arc::clone(&store), origin, log_key)?;
        let journal = Self { store, log, signer, next: AtomicU64::new(0), draining: Mutex::new(()) };
        journal.forget_entered()?;
        journal.drain()?;
        Ok(journal)
    }

    /// The write that puts a record into the outbox; it belongs into the batch of what it records.
    pub(crate) fn entry(
        &self,
        kind: AuditKind,
        at: Timestamp,
        content: &impl Serialize,
    ) -> Result<(Key, Vec<u8>), Error> {
        let content = serde_json::to_value(content).map_err(shared::canonical::CanonicalError::Encode)?;
        let record = AuditRecord { kind, at, actor: "coordinator".to_owned(), content };
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        Ok((durable::outbox(number), durable::encode(&self.signer.sign(&record)?)?))
    }

    /// Records what stands for itself.
    pub(crate) fn record(&self, kind: AuditKind, at: Timestamp, content: &impl Serialize) -> Result<(), Error> {
        let (key, record) = self.entry(kind, at, content)?;
        self.store.apply(Batch::new().put(key, record))?;
        self.drain_or_defer();
        Ok(())
    }

    /// Moves what is in the outbox into the log.
    pub(crate) fn drain(&self) -> Result<(), Error> {
        let _one_at_a_time = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let page = self.store.scan(durable::OUTBOX, b"", PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, value) in page {
                self.log.append(&durable::decode::<SignedDocument>(durable::OUTBOX, &value)?)?;
                self.store.apply(Batch::new().delete(Key::new(durable::OUTBOX, key)))?;
            }
        }
    }

    /// Moves what is in the outbox into the log, now if that works, else later.
    pub(crate) fn drain_or_defer(&self) {
        if let Err(error) = self.drain() {
            tracing::warn!(%error, "audit records could not be moved into the log; they wait in the outbox for the next ones");
        }
    }

    /// Removes the record that was entered last, if the crash came before it left the outbox.
    fn forget_entered(&self) -> Result<(), Error> {
        let Some(last) = self.log.size().checked_sub(1) else { return Ok(()) };
        let last = durable::encode(&self.log.entry(last)?)?;
        let pending = self.store.scan(durable::OUTBOX, b"", usize::MAX)?;
        let entered = pending.into_iter().filter(|(_, value)| *value == last);
        let batch = entered.fold(Batch::new(), |batch, (key, _)| batch.delete(Key::new(durable::OUTBOX, key)));
        Ok(self.store.apply(batch)?)
    }

    /// The log's signed checkpoint.
    pub(crate) fn checkpoint(&self) -> Result<String, Error> {
        Ok(self.log.checkpoint()?)
    }

    /// The entry with this index, with the proof that it is in the log.
    pub(crate) fn receipt(&self, index: u64) -> Result<Receipt, Error> {
        Ok(self.log.receipt(index)?)
    }

    /// The entry with this index.
    pub(crate) fn document(&self, index: u64) -> Result<SignedDocument, Error> {
        Ok(self.log.entry(index)?)
    }

    /// Recomputes the whole log.
    pub(crate) fn verify(&self) -> Result<Verified, Error> {
        Ok(self.log.verify()?)
    }

    /// How many entries the log has.
    pub(crate) fn size(&self) -> u64 {
        self.log.size()
    }

    /// The key that signs checkpoints.
    pub(crate) fn public(&self) -> PublicKey {
        self.log.public()
    }
}
