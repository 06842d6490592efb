//! Where a quickstart's evidence lies. It replaces the folder of an earlier quickstart and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

const MARK: &str = "quickstart.md";

/// An empty folder at `path`.
pub(crate) fn prepare(path: &Path) -> Result<PathBuf, anyhow::Error> {
    if path.join(MARK).exists() {
        fs::remove_dir_all(path).with_context(|| format!("could not replace `{}`", path.display()))?;
    }
    let is_empty = !path.exists() || fs::read_dir(path)?.next().is_none();
    anyhow::ensure!(is_empty, "`{}` holds something else: give another folder with --dir", path.display());
    fs::create_dir_all(path).with_context(|| format!("could not create `{}`", path.display()))?;
    let text = "Evidence of a quickstart of Ringfence: one folder for the coordinator, one per site.\n";
    fs::write(path.join(MARK), text)?;
    Ok(path.canonicalize()?)
}
