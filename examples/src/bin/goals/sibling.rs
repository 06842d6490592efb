//! The programs beside this one that do the measuring. Each is run to its end and answers with one line of JSON.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;
use shared_ops::cli::Failure;

const BUILD: &str = "build all of them first: `cargo build --release -p examples --bins`";

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Siblings {
    pub(crate) bench_round: PathBuf,
    pub(crate) simulate: PathBuf,
}

impl Siblings {
    /// Finds them beside this very program.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        Ok(Self { bench_round: beside(&own, "bench-round")?, simulate: beside(&own, "simulate")? })
    }
}

fn beside(own: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = own.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    match path.is_file() {
        true => Ok(path),
        false => Err(Failure::new("program-missing", BUILD, format!("there is no `{}`", path.display()))),
    }
}

/// Runs a program with `arguments` and reads its answer.
pub(crate) fn ask<T: DeserializeOwned>(program: &Path, arguments: &[String]) -> Result<T, Failure> {
    let failed = |reason: String| {
        let command = format!("`{} {}`", program.display(), arguments.join(" "));
        Failure::new("measurement-failed", "run that command by itself to see why", format!("{command} {reason}"))
    };
    let mut command = Command::new(program);
    command.args(arguments).args(["--format", "json"]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| failed(format!("did not start: {error}")))?;
    if !output.status.success() {
        return Err(failed(format!("ended with {}", output.status)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("gave no figures: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_not_built_is_named_with_the_command_that_builds_it() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("goals");
        let error = beside(&own, "bench-round").unwrap_err();
        assert!(error.to_string().contains("bench-round"), "{error}");
        std::fs::write(folder.path().join("bench-round"), "").unwrap();
        assert_eq!(beside(&own, "bench-round").unwrap(), folder.path().join("bench-round"));
    }

    #[test]
    fn a_program_that_fails_or_says_nothing_is_no_measurement() {
        for program in ["/bin/false", "/bin/true", "/nowhere"] {
            let error = ask::<u32>(Path::new(program), &["--rounds".to_owned()]).unwrap_err();
            assert!(error.to_string().contains(&format!("{program} --rounds")), "{error}");
        }
    }
}
