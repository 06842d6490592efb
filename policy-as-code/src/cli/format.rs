//! Lays policies out.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use shared_ops::cli::{Failure, Format, print};

use crate::PolicyError;
use crate::lint::unformatted;
use crate::repository::Repository;

/// The files that were written.
#[derive(Serialize)]
struct Written {
    files: Vec<String>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.files.as_slice() {
            [] => write!(f, "every file is laid out"),
            files => write!(f, "{}", files.join("\n")),
        }
    }
}

pub(super) fn run(repo: &Path, format: Format) -> Result<(), anyhow::Error> {
    let found = Repository::read(repo).and_then(|repository| unformatted(&repository)).map_err(Failure::from)?;
    for source in &found {
        let path = repo.join(&source.path);
        let failed =
            |error: std::io::Error| PolicyError::Write { path: path.display().to_string(), reason: error.to_string() };
        std::fs::write(&path, &source.text).map_err(failed).map_err(Failure::from)?;
    }
    Ok(print(&Written { files: found.into_iter().map(|source| source.path).collect() }, format)?)
}
