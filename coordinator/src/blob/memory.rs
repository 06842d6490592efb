//! A disk in memory that keeps only what it promised to keep: at a crash, what was not synced may be there, gone or torn.
//!
//! It is meaner than real file systems: names and bytes that were not synced survive or vanish independently of one
//! another and of their order, which POSIX allows. It can also run full, and stop at any operation.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// Bytes that reach a disk together or not at all.
const SECTOR: usize = 512;

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Counts crashes: files that were opened before one are of no use after it.
    epoch: u64,
    inodes: Vec<Inode>,
    dirs: BTreeSet<String>,
    /// Which file a name leads to, now.
    names: BTreeMap<String, usize>,
    /// Which file a name surely leads to after a crash.
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since then.
    pending: Vec<Change>,
    /// How many bytes there may be; `None` is no limit.
    capacity: Option<u64>,
    /// How many more operations succeed that change anything; `None` is all.
    operations_left: Option<u64>,
    operations: u64,
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum Change {
    Put(String, usize),
    Remove(String),
    Rename(String, String),
}

impl Change {
    fn dir(&self) -> &str {
        let (Self::Put(path, _) | Self::Remove(path) | Self::Rename(path, _)) = self;
        path.rsplit_once('/').map_or("", |(dir, _)| dir)
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl MemoryDisk {
    /// Loses power: `coin` decides, for each thing that was not synced, whether it survived. Files that are open are of
    /// no use any more; the disk itself works again.
    pub fn crash(&self, coin: &mut dyn FnMut() -> bool) {
        let mut state = self.state();
        state.epoch = state.epoch.saturating_add(1);
        state.operations_left = None;
        for inode in &mut state.inodes {
            inode.crash(coin);
        }
        for change in std::mem::take(&mut state.pending) {
            if coin() {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
    }

    /// How many bytes may be on the disk; beyond that it is full. `None` takes the limit away.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Lets `operations` more changes through; then every one fails, as for a process that was killed, until
    /// [`MemoryDisk::crash`].
    pub fn stop_after(&self, operations: u64) {
        self.state().operations_left = Some(operations);
    }

    /// How many changes there were so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many bytes the files hold together.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, state: &State, inode: usize) -> Box<dyn DiskFile> {
        Box::new(MemoryFile { disk: self.clone(), epoch: state.epoch, inode })
    }
}

impl State {
    fn used(&self) -> u64 {
        let len = |inode: &usize| self.inodes.get(*inode).map_or(0, |inode| inode.bytes.len());
        self.names.values().map(|inode| u64::try_from(len(inode)).unwrap_or(u64::MAX)).sum()
    }

    /// Counts an operation that changes something; refuses it once the disk has stopped.
    fn operate(&mut self) -> Result<()> {
        if let Some(left) = &mut self.operations_left {
            *left = left.checked_sub(1).ok_or_else(|| Error::other("the disk has stopped"))?;
        }
        self.operations = self.operations.saturating_add(1);
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn find(&self, path: &str) -> Result<usize> {
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Inode {
    fn crash(&mut self, coin: &mut dyn FnMut() -> bool) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            for (sector, piece) in (0..).zip(bytes.chunks(SECTOR)) {
                if coin() {
                    overwrite(&mut self.durable, offset.saturating_add(SECTOR.saturating_mul(sector)), piece);
                }
            }
        }
        self.bytes = self.durable.clone();
    }
}

/// Writes `bytes` at `offset`; a gap before it reads as zeros.
fn overwrite(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if into.len() < end {
        into.resize(end, 0);
    }
    into.iter_mut().skip(offset).zip(bytes).for_each(|(old, new)| *old = *new);
}

impl Disk for MemoryDisk {
    fn make_dir(&self, dir: &str) -> Result<()> {
        let mut state = self.state();
        if state.dirs.contains(dir) {
            return Ok(());
        }
        state.operate()?;
        let ends = dir.match_indices('/').map(|(end, _)| end).chain([dir.len()]);
        state.dirs.extend(ends.filter_map(|end| dir.get(..end)).map(str::to_owned));
        Ok(())
    }

    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if let Ok(inode) = state.find(path) {
            return Ok(self.file(&state, inode));
        }
        let change = Change::Put(path.to_owned(), state.inodes.len());
        if !state.dirs.contains(change.dir()) {
            return Err(ErrorKind::NotFound.into());
        }
        state.operate()?;
        state.inodes.push(Inode::default());
        state.change(change);
        Ok(self.file(&state, state.inodes.len().saturating_sub(1)))
    }

    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>> {
        let state = self.state();
        state.find(path).map(|inode| self.file(&state, inode))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state();
        state.find(from)?;
        state.operate()?;
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        let mut state = self.state();
        state.find(path)?;
        state.operate()?;
        state.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, dir: &str) -> Result<()> {
        for name in self.list(dir)? {
            self.remove(&format!("{dir}/{name}"))?;
        }
        let removed = self.state().dirs.remove(dir);
        if removed { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let state = self.state();
        let prefix = format!("{dir}/");
        let below = state.names.keys().chain(&state.dirs).filter_map(|path| path.strip_prefix(&prefix));
        let names: BTreeSet<&str> = below.filter(|name| !name.contains('/')).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        let mut state = self.state();
        state.operate()?;
        let (synced, pending) = std::mem::take(&mut state.pending).into_iter().partition(|change| change.dir() == dir);
        let synced: Vec<Change> = synced;
        state.pending = pending;
        synced.iter().for_each(|change| change.apply(&mut state.durable_names));
        Ok(())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    epoch: u64,
    inode: usize,
}

impl MemoryFile {
    fn with<T>(&self, work: impl FnOnce(&mut State, usize) -> Result<T>) -> Result<T> {
        let mut state = self.disk.state();
        if state.epoch != self.epoch {
            return Err(Error::other("the file was opened before the crash"));
        }
        work(&mut state, self.inode)
    }
}

fn inode(state: &mut State, number: usize) -> Result<&mut Inode> {
    state.inodes.get_mut(number).ok_or_else(|| ErrorKind::NotFound.into())
}

impl DiskFile for MemoryFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.with(|state, number| {
            let bytes = &inode(state, number)?.bytes;
            let offset = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
            let end = offset.checked_add(into.len());
            let found = end.and_then(|end| bytes.get(offset..end)).ok_or(ErrorKind::UnexpectedEof)?;
            into.copy_from_slice(found);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.with(|state, number| {
            state.operate()?;
            let offset = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
            let (used, capacity) = (state.used(), state.capacity);
            let inode = inode(state, number)?;
            let more = offset.saturating_add(bytes.len()).saturating_sub(inode.bytes.len());
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            if capacity.is_some_and(|capacity| used.saturating_add(more) > capacity) {
                return Err(ErrorKind::StorageFull.into());
            }
            overwrite(&mut inode.bytes, offset, bytes);
            inode.unsynced.push((offset, bytes.to_vec()));
            Ok(())
        })
    }

    fn len(&self) -> Result<u64> {
        self.with(|state, number| Ok(u64::try_from(inode(state, number)?.bytes.len()).unwrap_or(u64::MAX)))
    }

    fn sync(&self) -> Result<()> {
        self.with(|state, number| {
            state.operate()?;
            let inode = inode(state, number)?;
            inode.unsynced.clear();
            inode.durable = inode.bytes.clone();
            Ok(())
        })
    }
}
