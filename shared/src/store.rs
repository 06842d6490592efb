//! Durable ordered key-value storage as the rest of Ringfence sees it. The engines stand in `shared-store`.

use crate::Explain;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The largest value, in bytes.
pub const MAX_VALUE: usize = 512 * 1024 * 1024;

/// A key in a named tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The tree.
    pub tree: &'static str,
    /// The key within it.
    pub key: Vec<u8>,
}

impl Key {
    /// The key `key` of `tree`.
    pub fn new(tree: &'static str, key: impl Into<Vec<u8>>) -> Self {
        Self { tree, key: key.into() }
    }
}

/// Changes that happen together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// What must be there (`Some`) or absent (`None`) for the batch to apply.
    pub expectations: Vec<(Key, Option<Vec<u8>>)>,
    /// What to write (`Some`) or delete (`None`).
    pub writes: Vec<(Key, Option<Vec<u8>>)>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// The batch applies only if `key` is absent.
    #[must_use]
    pub fn expect_absent(mut self, key: Key) -> Self {
        self.expectations.push((key, None));
        self
    }

    /// The batch applies only if `key` holds `value`.
    #[must_use]
    pub fn expect(mut self, key: Key, value: impl Into<Vec<u8>>) -> Self {
        self.expectations.push((key, Some(value.into())));
        self
    }

    /// Writes `value` at `key`.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<Vec<u8>>) -> Self {
        self.writes.push((key, Some(value.into())));
        self
    }

    /// Deletes `key`.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push((key, None));
        self
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something that a batch expected does not hold; nothing was changed.
    #[error("`{tree}` was changed by somebody else meanwhile")]
    Conflict {
        /// The tree of the first expectation that failed.
        tree: &'static str,
    },
    /// A key or value exceeds the limits.
    #[error("a {what} of {size} bytes for `{tree}` exceeds the limit of {limit}")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// The tree.
        tree: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// What was acknowledged is not there any more, or does not read.
    #[error("the store at `{location}` is damaged: {what}")]
    Damaged {
        /// Path or address.
        location: String,
        /// What is missing.
        what: String,
    },
    /// The engine failed: disk full, access refused.
    #[error("the store at `{location}` failed: {reason}")]
    Engine {
        /// Path or address.
        location: String,
        /// What the engine said.
        reason: String,
    },
}

impl Explain for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "store-conflict",
            Self::TooLarge { .. } => "store-too-large",
            Self::Damaged { .. } => "store-damaged",
            Self::Engine { .. } => "store-engine",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "read again and retry; nothing was changed",
            Self::TooLarge { .. } => "split the value; nothing was changed",
            Self::Damaged { .. } => {
                "check the disk, and put back a copy of the folder that was made while nobody had it open"
            }
            Self::Engine { .. } => "check free space, permissions and that no other process has the store open",
        }
    }
}

/// A value with its key.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A durable, ordered key-value store.
pub trait Store: Send + Sync {
    /// The value at `key`.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError>;

    /// The entries of `tree` whose keys begin with `prefix`, in key order, at most `limit`.
    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Applies a batch as a whole. When this returns `Ok`, the changes survive a crash of the process and the machine.
    fn apply(&self, batch: Batch) -> Result<(), StoreError>;
}
