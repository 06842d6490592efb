//! Where results go: standard output, and files in a folder that the user names.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use shared_ops::cli::{self, Failure, Format};

/// Writes a result to standard output, for people or as a line of JSON.
pub fn print<T: Serialize + Display>(value: &T, format: Format) -> anyhow::Result<()> {
    let printed = cli::print(value, format);
    printed.map_err(|error| Failure::new("output-failed", "give standard output somewhere to go", error).into())
}

/// Writes each text to the file of that name in `folder`, which is made if need be.
pub fn write(folder: &Path, files: &[(&str, String)]) -> Result<(), Failure> {
    make(folder)?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// Makes a folder for results, unless it is there.
pub fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let hint = "name a folder that you may write to with --out";
    Failure::new("output-failed", hint, format!("cannot write `{}`: {error}", path.display()))
}
