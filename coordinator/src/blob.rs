//! Bulk data in files: parameters by their digest, and updates, on their way and accepted. Everything small is in the
//! store.
//!
//! A file says nothing about whether it counts: that is an event's word, and an event is stored only after the file it
//! is about and the file's folder are synced. Nothing here is ever whole in memory.

mod disk;
mod local;
pub(crate) mod memory;
mod params;

use std::io;
use std::sync::Arc;

use shared::update::UpdateHeader;
use shared::{Digest, ParticipantId, RoundId};

pub use disk::{Disk, DiskFile};
pub(crate) use local::LocalDisk;
pub(crate) use params::{Params, ParamsWriter};

use crate::Error;
use params::{Counter, Pins};

/// How many bytes are read, written or computed at a time.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;
const PARAMS: &str = "params";
const UPDATES: &str = "updates";
/// What the names of files on their way end with.
const PARTIAL: &str = ".partial";

/// The coordinator's files.
pub(crate) struct Blobs {
    disk: Arc<dyn Disk>,
    /// Names files on their way.
    partials: Counter,
    /// Which parameters may not be removed just now.
    pins: Pins,
}

/// The folder of the updates that were trained in a round.
fn round_dir(round_id: &RoundId) -> String {
    format!("{UPDATES}/{}/{:010}", round_id.task_id, round_id.number.0)
}

/// Two updates never share a file: the name holds the whole digest. Participant ids may contain dots, digests do not.
fn update_name(participant_id: &ParticipantId, payload: Digest) -> String {
    format!("{participant_id}.{payload}")
}

fn failed(path: &str) -> impl FnOnce(io::Error) -> Error {
    |source| Error::Disk { path: path.to_owned(), source: Arc::new(source) }
}

impl Blobs {
    /// Makes the folders and their names durable, and removes parameters that a crash left half written.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self, Error> {
        for dir in [PARAMS, UPDATES] {
            disk.make_dir(dir).map_err(failed(dir))?;
        }
        let blobs = Self { disk, partials: Counter::default(), pins: Pins::default() };
        for name in blobs.list(PARAMS)?.iter().filter(|name| name.ends_with(PARTIAL)) {
            blobs.remove(&format!("{PARAMS}/{name}"))?;
        }
        // A process that was killed may have made folders whose names nobody synced.
        for task in blobs.list(UPDATES)? {
            let dir = format!("{UPDATES}/{task}");
            blobs.disk.sync_dir(&dir).map_err(failed(&dir))?;
        }
        Ok(blobs)
    }

    /// Makes the folder for a round's updates; durable on return.
    fn make_round(&self, round_id: &RoundId) -> Result<(), Error> {
        let dir = round_dir(round_id);
        self.disk.make_dir(&dir).map_err(failed(&dir))
    }

    /// The file of an update, made empty when there is none.
    pub(crate) fn create_update(&self, header: &UpdateHeader) -> Result<Blob, Error> {
        let path = format!("{}/{}", round_dir(&header.round_id), update_name(&header.participant_id, header.payload));
        let created = match self.disk.create_uncached(&path) {
            // The round's first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_round(&header.round_id)?;
                self.disk.create_uncached(&path)
            }
            created => created,
        };
        Ok(Blob { file: created.map_err(failed(&path))?, path })
    }

    /// An update's file, which must be there.
    pub(crate) fn update(
        &self,
        trained_in: &RoundId,
        participant_id: &ParticipantId,
        payload: Digest,
    ) -> Result<Blob, Error> {
        self.open_file(format!("{}/{}", round_dir(trained_in), update_name(participant_id, payload)))
    }

    /// Whose updates, in which payloads, have files under a round; accepted or not.
    pub(crate) fn updates(&self, round_id: &RoundId) -> Result<Vec<(ParticipantId, Digest)>, Error> {
        let names = self.list(&round_dir(round_id))?;
        Ok(names.iter().filter_map(|name| parse_name(name)).collect())
    }

    /// Makes the names of all files of a round's updates durable.
    pub(crate) fn sync_round(&self, round_id: &RoundId) -> Result<(), Error> {
        let dir = round_dir(round_id);
        self.disk.sync_dir(&dir).map_err(failed(&dir))
    }

    /// Removes an update that does not count.
    pub(crate) fn remove_update(
        &self,
        round_id: &RoundId,
        participant_id: &ParticipantId,
        payload: Digest,
    ) -> Result<(), Error> {
        self.remove(&format!("{}/{}", round_dir(round_id), update_name(participant_id, payload)))
    }

    /// Removes a round's updates. What is not there is removed.
    pub(crate) fn remove_round(&self, round_id: &RoundId) -> Result<(), Error> {
        let dir = round_dir(round_id);
        gone_is_fine(self.disk.remove_dir(&dir)).map_err(failed(&dir))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, Error> {
        self.disk.list(dir).map_err(failed(dir))
    }

    fn open_file(&self, path: String) -> Result<Blob, Error> {
        let file = self.disk.open(&path).map_err(failed(&path))?;
        Ok(Blob { path, file })
    }

    fn remove(&self, path: &str) -> Result<(), Error> {
        gone_is_fine(self.disk.remove(path)).map_err(failed(path))
    }
}

fn parse_name(name: &str) -> Option<(ParticipantId, Digest)> {
    let (participant_id, payload) = name.rsplit_once('.')?;
    Some((ParticipantId::new(participant_id).ok()?, payload.parse().ok()?))
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// An open file, named in errors.
pub(crate) struct Blob {
    path: String,
    file: Box<dyn DiskFile>,
}

impl Blob {
    /// Fills `into` from `offset` on.
    pub(crate) fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.file.read_at(offset, into).map_err(failed(&self.path))
    }

    /// Writes all of `bytes` from `offset` on.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_at(offset, bytes).map_err(failed(&self.path))
    }

    /// How long the file is.
    pub(crate) fn len(&self) -> Result<u64, Error> {
        self.file.len().map_err(failed(&self.path))
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync().map_err(failed(&self.path))
    }
}

#[cfg(test)]
mod tests;
