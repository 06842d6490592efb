//! What the coordinator asks of a disk, so that a test can put one in its place that tears, loses and runs full.
//!
//! Paths are relative to the disk's root, with `/` between names.

use std::io;

/// Folders of files.
pub trait Disk: Send + Sync {
    /// Makes a folder and those above it; all of it is durable on return.
    fn make_dir(&self, dir: &str) -> io::Result<()>;

    /// Opens a file to read and write, made empty when there is none. Its name is durable after [`Disk::sync_dir`].
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;

    /// As [`Disk::create`], for a file that is written once and hardly read: its bytes need not stay in memory.
    fn create_uncached(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.create(path)
    }

    /// Opens a file to read.
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name in the same folder, in place of whatever had it; durable after [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Removes a folder with the files in it.
    fn remove_dir(&self, dir: &str) -> io::Result<()>;

    /// The names of what is in a folder, in order; none when there is no such folder.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Fills `into` from `offset` on; an error when the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` from `offset` on.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// How many bytes the file has.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes what was written durable, whoever wrote it.
    fn sync(&self) -> io::Result<()>;
}
