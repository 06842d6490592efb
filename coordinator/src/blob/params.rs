//! Parameters in files that never change: each is named by the digest of its bytes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::Digest;
use shared_crypto::BulkWriter;

use super::{Blob, Blobs, PARAMS, PARTIAL, failed};
use crate::Error;

/// Counts up.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Parameters in a file that is not removed while this lives, be they in use or not: until then somebody may be about
/// to make that durable.
#[derive(Debug)]
pub(crate) struct Params {
    pins: Pins,
    digest: Digest,
}

/// How often each file is pinned. Whoever holds the lock may remove files.
pub(super) type Pins = Arc<Mutex<BTreeMap<Digest, usize>>>;

fn lock(pins: &Pins) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
    pins.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Params {
    fn pin(pins: &Pins, digest: Digest) -> Self {
        let mut counts = lock(pins);
        let count = counts.entry(digest).or_insert(0);
        *count = count.saturating_add(1);
        Self { pins: Arc::clone(pins), digest }
    }

    /// Their digest, which is the file's name.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        let mut counts = lock(&self.pins);
        if let Some(count) = counts.get_mut(&self.digest) {
            *count = count.saturating_sub(1);
        }
        counts.retain(|_, count| *count > 0);
    }
}

/// Parameters that are being written, block after block. Dropped before [`ParamsWriter::finish`], they are nothing.
pub(crate) struct ParamsWriter {
    blobs: Arc<Blobs>,
    blob: Blob,
    digest: BulkWriter,
    written: u64,
    finished: bool,
}

impl ParamsWriter {
    /// Begins to write.
    pub(crate) fn new(blobs: &Arc<Blobs>) -> Result<Self, Error> {
        let path = format!("{PARAMS}/{}{PARTIAL}", blobs.partials.next());
        let file = blobs.disk.create(&path).map_err(failed(&path))?;
        let blob = Blob { path, file };
        Ok(Self { blobs: Arc::clone(blobs), blob, digest: BulkWriter::new(), written: 0, finished: false })
    }

    /// Writes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.blob.write_at(self.written, bytes)?;
        self.digest.update(bytes);
        self.written = self.written.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Gives the file its name; it is durable on return.
    pub(crate) fn finish(mut self) -> Result<Params, Error> {
        let digest = std::mem::take(&mut self.digest).finish();
        let params = Params::pin(&self.blobs.pins, digest);
        let name = params_path(digest);
        self.blob.sync()?;
        self.blobs.disk.rename(&self.blob.path, &name).map_err(failed(&name))?;
        self.finished = true;
        self.blobs.disk.sync_dir(PARAMS).map_err(failed(PARAMS))?;
        Ok(params)
    }
}

impl Drop for ParamsWriter {
    fn drop(&mut self) {
        if !self.finished {
            // What stays behind is removed at the next start.
            let _ = self.blobs.remove(&self.blob.path);
        }
    }
}

fn params_path(digest: Digest) -> String {
    format!("{PARAMS}/{digest}")
}

impl Blobs {
    /// The parameters with this digest, which must be there.
    pub(crate) fn params(&self, digest: Digest) -> Result<Blob, Error> {
        self.open_file(params_path(digest)).map_err(|error| match error {
            Error::Disk { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Error::UnknownParams(digest),
            error => error,
        })
    }

    /// Keeps parameters that are there from being removed, while the answer lives.
    pub(crate) fn pin_params(&self, digest: Digest) -> Result<Params, Error> {
        let params = Params::pin(&self.pins, digest);
        self.params(digest)?;
        Ok(params)
    }

    /// Removes parameters unless they are in use, or pinned. `used` is asked while nobody else can pin them.
    pub(crate) fn remove_unused_params(
        &self,
        digest: Digest,
        used: impl FnOnce() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let pins = lock(&self.pins);
        if pins.contains_key(&digest) || used()? { Ok(()) } else { self.remove(&params_path(digest)) }
    }

    /// Writes parameters that are in memory already.
    pub(crate) fn write_params(self: &Arc<Self>, bytes: &[u8]) -> Result<Params, Error> {
        let mut writer = ParamsWriter::new(self)?;
        writer.write(bytes)?;
        writer.finish()
    }

    /// The digests of all parameters in files.
    pub(crate) fn all_params(&self) -> Result<Vec<Digest>, Error> {
        Ok(self.list(PARAMS)?.iter().filter_map(|name| name.parse().ok()).collect())
    }
}
