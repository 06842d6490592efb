//! The binary `ringfence-participant`: one site of the federation.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A training step asks for megabytes a tensor and gives them back at once. glibc's allocator returns such blocks to the
/// kernel, and waits for zeroed pages the next time; mimalloc keeps them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    participant::cli::main()
}
