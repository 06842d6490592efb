//! The machine's own disk, below one folder.
//!
//! Files that are hardly read are written past the page cache (`O_DIRECT`), where the file system can: a copy into memory
//! that nobody wants afterwards costs more than all else that happens to an update.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Disk, DiskFile};

/// What direct writes are aligned to, in memory and in the file: no common disk asks for more.
const ALIGNMENT: usize = 4096;

thread_local! {
    /// Where bytes are aligned before they are written directly; as long as the longest write of the thread.
    static ALIGNED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A folder of the local disk.
#[derive(Debug)]
pub(crate) struct LocalDisk {
    root: PathBuf,
}

impl LocalDisk {
    /// The folder `root`, which is made when absent.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Disk for LocalDisk {
    fn make_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir);
        fs::create_dir_all(&path)?;
        // A folder's name stands in the one above it, up to the root and the root's own.
        let depth = dir.split('/').count().saturating_add(1);
        path.ancestors().skip(1).take(depth).filter(|above| above.parent().is_some()).try_for_each(sync_folder)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(path))?;
        Ok(Box::new(file))
    }

    fn create_uncached(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path(path);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let flags = OFlags::DIRECT.bits().cast_signed();
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Ok(direct) => Ok(Box::new(DirectFile { file, direct })),
            // The file system knows no direct writes.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Box::new(file)),
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(self.path(path))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        fs::remove_dir_all(self.path(dir))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            // Names that are no text are not ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync_folder(&self.path(dir))
    }
}

impl DiskFile for File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file with a second way into it, past the page cache. The kernel keeps both in step.
struct DirectFile {
    file: File,
    direct: File,
}

impl DiskFile for DirectFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let is_aligned = usize::try_from(offset).is_ok_and(|offset| offset.is_multiple_of(ALIGNMENT));
        let (whole, rest) = bytes.split_at(if is_aligned { bytes.len() - bytes.len() % ALIGNMENT } else { 0 });
        let written = if whole.is_empty() { Ok(()) } else { write_direct(&self.direct, offset, whole) };
        match written {
            Ok(()) => {}
            // The disk wants another alignment.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return self.file.write_all_at(bytes, offset),
            Err(error) => return Err(error),
        }
        let rest_at = offset.saturating_add(u64::try_from(whole.len()).unwrap_or(u64::MAX));
        if rest.is_empty() { Ok(()) } else { self.file.write_all_at(rest, rest_at) }
    }

    fn len(&self) -> io::Result<u64> {
        DiskFile::len(&self.file)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Writes whole blocks, from memory that is aligned as the disk wants it.
fn write_direct(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    ALIGNED.with_borrow_mut(|buffer| {
        let needed = bytes.len().saturating_add(ALIGNMENT);
        if buffer.len() < needed {
            buffer.resize(needed, 0);
        }
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        let aligned = buffer.get_mut(start..start.saturating_add(bytes.len())).ok_or(io::ErrorKind::InvalidInput)?;
        aligned.copy_from_slice(bytes);
        file.write_all_at(aligned, offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_past_the_cache_is_read_back_whatever_its_length_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalDisk::new(folder.path());
        let bytes: Vec<u8> = (0..3 * ALIGNMENT + 7).map(|index| u8::try_from(index % 251).unwrap()).collect();
        let parts = [ALIGNMENT, 2 * ALIGNMENT, 3 * ALIGNMENT, 3 * ALIGNMENT + 2, bytes.len()];
        let file = disk.create_uncached("update").unwrap();
        let mut start = 0;
        for end in parts {
            file.write_at(u64::try_from(start).unwrap(), &bytes[start..end]).unwrap();
            start = end;
        }
        file.write_at(5, &bytes[5..9]).unwrap();
        file.sync().unwrap();
        for file in [file, disk.open("update").unwrap()] {
            let mut found = vec![0; bytes.len()];
            file.read_at(0, &mut found).unwrap();
            assert_eq!((file.len().unwrap(), found == bytes), (u64::try_from(bytes.len()).unwrap(), true));
        }
    }
}
