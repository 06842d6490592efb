//! What was proven before, on disk, so that an unchanged environment is not proven again.
//!
//! A query is known by its digest and the solver that answered it. The file is trusted: keep it where a pull request
//! cannot write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use shared::Digest;

use crate::PolicyError;

/// How many queries of one solver are remembered.
const MAX_QUERIES: usize = 100_000;

/// Proven queries, by solver.
#[derive(Debug)]
pub struct ProofMemory {
    path: PathBuf,
    proven: BTreeMap<String, BTreeSet<Digest>>,
}

impl ProofMemory {
    /// What the file at `path` remembers; nothing where there is no such file, or it holds something else.
    pub fn open(path: &Path) -> Self {
        let remembered = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path: path.to_owned(), proven: remembered.unwrap_or_default() }
    }

    /// The queries that `solver` has proven.
    pub fn proven_by(&self, solver: &str) -> BTreeSet<Digest> {
        self.proven.get(solver).cloned().unwrap_or_default()
    }

    /// Remembers what `solver` has proven. Where that is too much, what was remembered of it before is forgotten.
    pub fn remember(&mut self, solver: &str, proven: &BTreeSet<Digest>) -> Result<(), PolicyError> {
        let known = self.proven.entry(solver.to_owned()).or_default();
        if proven.is_subset(known) {
            return Ok(());
        }
        if known.len().saturating_add(proven.len()) > MAX_QUERIES {
            known.clear();
        }
        known.extend(proven.iter().take(MAX_QUERIES));
        self.write()
            .map_err(|error| PolicyError::Write { path: self.path.display().to_string(), reason: error.to_string() })
    }

    /// Writes beside the file and moves it there, so that nobody reads half of it.
    fn write(&self) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let unfinished = self.path.with_extension(format!("{}.unfinished", std::process::id()));
        std::fs::write(&unfinished, serde_json::to_vec(&self.proven)?)?;
        std::fs::rename(unfinished, &self.path)
    }
}
