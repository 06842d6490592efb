//! A store that stops after its first failure. After a failed write nobody knows what is on disk, so nothing is read or
//! written until a probe has shown that everything before it is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shared::store::{Batch, Entry, Key, Store, StoreError};

/// Any store, behind the rule.
pub(crate) struct Guarded {
    inner: Arc<dyn Store>,
    failed: AtomicBool,
}

impl Guarded {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, failed: AtomicBool::new(false) }
    }

    pub(crate) fn is_well(&self) -> bool {
        !self.failed.load(Ordering::SeqCst)
    }

    /// Writes once; when that is durable, so is all before it, and the store serves again.
    pub(crate) fn probe(&self) -> Result<(), StoreError> {
        self.inner.apply(Batch::new().put(Key::new("probe", "store"), "well"))?;
        self.failed.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn admit(&self) -> Result<(), StoreError> {
        let refused = || StoreError::Engine {
            location: "data_dir".to_owned(),
            reason: "an earlier write failed; waiting until writes succeed again".to_owned(),
        };
        if self.is_well() { Ok(()) } else { Err(refused()) }
    }

    fn watched<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Engine { location, reason }) = &result {
            tracing::error!(location, reason, "the store failed");
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }
}

impl Store for Guarded {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.admit()?;
        self.watched(self.inner.get(key))
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.admit()?;
        self.watched(self.inner.scan(tree, prefix, limit))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.admit()?;
        self.watched(self.inner.apply(batch))
    }
}
