//! The binary `ringfence-policy`: check, test, prove, ask, sign and serve a policy repository.

use std::process::ExitCode;

fn main() -> ExitCode {
    policy_as_code::cli::main()
}
