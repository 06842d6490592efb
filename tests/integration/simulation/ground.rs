//! What the simulated coordinator stands on: a store that can stop at any write, a disk that forgets what was not synced,
//! and a clock that can jump.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coordinator::config::Limits;
use coordinator::core::{Core, Ground, MemoryDisk};
use shared::Timestamp;
use shared::round::RoundEvent;
use shared::store::{Batch, Entry, Key, Store, StoreError};
use shared::time::ManualClock;
use shared_crypto::SigningKey;
use shared_store::MemoryStore;

/// On which side of a write the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// Where the coordinator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// At once, in between two messages.
    Now,
    /// At a write of the store, after so many more.
    Store(u8, When),
    /// At a change of the disk, after so many more.
    Disk(u8),
}

/// A store whose process can die at any write.
#[derive(Default)]
pub(crate) struct Brittle {
    inner: MemoryStore,
    fault: Mutex<Fault>,
}

#[derive(Default)]
struct Fault {
    left: Option<(u8, When)>,
    dead: bool,
}

impl Brittle {
    fn fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dead() -> StoreError {
        StoreError::Engine { location: "simulation".to_owned(), reason: "killed".to_owned() }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.fault().dead { Err(Self::dead()) } else { Ok(()) }
    }
}

impl Store for Brittle {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.check()?;
        self.inner.get(key)
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.check()?;
        self.inner.scan(tree, prefix, limit)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.check()?;
        let dies = {
            let mut fault = self.fault();
            match fault.left {
                Some((0, when)) => {
                    fault.dead = true;
                    Some(when)
                }
                Some((left, when)) => {
                    fault.left = Some((left - 1, when));
                    None
                }
                None => None,
            }
        };
        match dies {
            Some(When::Before) => Err(Self::dead()),
            Some(When::After) => self.inner.apply(batch).and(Err(Self::dead())),
            None => self.inner.apply(batch),
        }
    }
}

/// Everything that outlives the coordinator's process.
pub(crate) struct Bed {
    store: Arc<Brittle>,
    pub(crate) disk: MemoryDisk,
    pub(crate) clock: Arc<ManualClock>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let start = Timestamp::from_micros(1_790_000_000_000_000);
        Self { store: Arc::default(), disk: MemoryDisk::default(), clock: Arc::new(ManualClock::new(start)) }
    }

    pub(crate) fn coordinator_key() -> SigningKey {
        SigningKey::from_seed(&[2; 32])
    }

    pub(crate) fn operator_key() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    /// A process on what is there.
    pub(crate) fn open(&self) -> Result<Core, coordinator::Error> {
        Core::open(Ground {
            store: Arc::<Brittle>::clone(&self.store),
            disk: Arc::new(self.disk.clone()),
            clock: Arc::<ManualClock>::clone(&self.clock),
            operator: Self::operator_key(),
            coordinator: Self::coordinator_key(),
            log: SigningKey::from_seed(&[3; 32]),
            limits: Limits { aborted_rounds: 10_000.try_into().unwrap(), ..Limits::default() },
        })
    }

    pub(crate) fn arm(&self, break_: Break) {
        match break_ {
            Break::Now => {}
            Break::Store(writes, when) => self.store.fault().left = Some((writes, when)),
            Break::Disk(changes) => self.disk.stop_after(u64::from(changes)),
        }
    }

    /// Every event of every round, as it stands in the store.
    pub(crate) fn events(&self) -> Vec<RoundEvent> {
        let entries = self.store.scan("round-event", b"", usize::MAX).unwrap();
        entries.iter().map(|(_, event)| serde_json::from_slice(event).unwrap()).collect()
    }

    /// Whether the process was killed at a write of the store.
    pub(crate) fn is_dead(&self) -> bool {
        self.store.fault().dead
    }

    /// The process is gone: what was not synced survives by the coin's fall.
    pub(crate) fn crash(&self, coin: &mut dyn FnMut() -> bool) {
        *self.store.fault() = Fault::default();
        self.disk.crash(coin);
    }
}
