//! A store in memory, for tests and simulations. It keeps nothing: durable it is only as long as it lives.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use shared::store::{Batch, Entry, Key, Store, StoreError};

use crate::limits;

/// An ordered map behind one lock, with the semantics of every other engine.
#[derive(Debug, Default)]
pub struct MemoryStore(RwLock<BTreeMap<Key, Vec<u8>>>);

impl Store for MemoryStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let from_prefix = map.range(Key::new(tree, prefix)..);
        let matching = from_prefix.take_while(|(key, _)| key.tree == tree && key.key.starts_with(prefix));
        Ok(matching.take(limit).map(|(key, value)| (key.key.clone(), value.clone())).collect())
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        limits::check(&batch)?;
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((key, _)) = batch.expectations.iter().find(|(key, value)| map.get(key) != value.as_ref()) {
            return Err(StoreError::Conflict { tree: key.tree });
        }
        for (key, value) in batch.writes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_engine_conforms() {
        crate::conformance::check(&MemoryStore::default());
    }
}
