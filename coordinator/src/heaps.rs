//! How many heaps the C library keeps for the threads of this process. It decides nothing about what is in them.

use std::env;
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::available_parallelism;

/// What the GNU C library reads when a program starts, and never again (mallopt(3), `M_ARENA_MAX`).
const SETTING: &str = "MALLOC_ARENA_MAX";

/// Gives the process one heap per core, unless somebody has decided otherwise, by starting its program anew within it.
///
/// By default there are eight, and what each keeps for later adds up to more than what is in use. Must be called before
/// anything else is done. Where it fails, the process goes on with the heaps it has.
pub(crate) fn limit() {
    if env::var_os(SETTING).is_some() {
        return;
    }
    let heaps = available_parallelism().map_or(1, NonZeroUsize::get);
    if let Ok(program) = env::current_exe() {
        let error = Command::new(program).args(env::args_os().skip(1)).env(SETTING, heaps.to_string()).exec();
        tracing::debug!(%error, "the process keeps its heaps");
    }
}
