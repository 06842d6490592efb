//! The binary `ringfence-participant`: one site of the federation.

use std::process::ExitCode;

fn main() -> ExitCode {
    participant::cli::main()
}
