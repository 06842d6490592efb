//! Where the log's parts stand in the store.

use shared::store::Key;

use crate::tree::Subtree;

/// The entry at `index`: its canonical JSON.
pub(super) fn entry_key(index: u64) -> Key {
    Key::new("audit-entry", index.to_be_bytes())
}

/// The hash of a complete subtree: 32 bytes.
pub(super) fn hash_key(subtree: Subtree) -> Key {
    Key::new("audit-hash", [subtree.level.to_be_bytes().as_slice(), &subtree.index.to_be_bytes()].concat())
}

/// The newest signed checkpoint: its text.
pub(super) fn head_key() -> Key {
    Key::new("audit-head", b"checkpoint")
}
