//! The threads of a coordinator's process. Nothing else about how it runs is decided here.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// How many threads may wait for the disk or compute digests at a time. Few on purpose: the C library gives threads heaps
/// of their own, and what each keeps for later adds up to several times what is in use.
const BLOCKING_THREADS: usize = 8;

/// The runtime that a coordinator is to be started in: a thread per core, and a few for what blocks.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().max_blocking_threads(BLOCKING_THREADS).enable_all().build()
}
