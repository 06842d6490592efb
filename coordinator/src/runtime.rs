//! The threads of a coordinator's process, and the files it may open. Nothing else about how it runs is decided here.

use std::io;

use shared_ops::files;
use tokio::runtime::{Builder, Runtime};

use crate::heaps;

/// How many threads may wait for the disk or compute digests at a time. Few on purpose: each keeps memory for later.
const BLOCKING_THREADS: usize = 8;

/// The runtime that a coordinator is to be started in: a thread per core, and a few for what blocks. To be called first
/// of all: it may start the process's program anew, with fewer heaps. From then on the process may open as many files as
/// its hard limit allows: two for each participant, and some more.
pub fn runtime() -> io::Result<Runtime> {
    heaps::limit();
    files::allow_many();
    Builder::new_multi_thread().max_blocking_threads(BLOCKING_THREADS).enable_all().build()
}
