//! The binary `ringfence-coordinator`: the federation's coordinator, and its operator's commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    coordinator::cli::main()
}
