//! Where a quickstart's evidence lies. It replaces the folder of an earlier quickstart and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use shared_ops::cli::Failure;

const MARK: &str = "quickstart.md";

/// An empty folder at `path`.
pub(crate) fn prepare(path: &Path) -> Result<PathBuf, anyhow::Error> {
    prepared(path).map_err(|error| {
        let said = format!("the folder `{}` cannot be used: {error}", path.display());
        Failure::new("quickstart-folder", "give another folder with `--dir`, empty or of an earlier quickstart", said)
            .into()
    })
}

fn prepared(path: &Path) -> io::Result<PathBuf> {
    if path.join(MARK).exists() {
        fs::remove_dir_all(path)?;
    }
    if path.exists() && fs::read_dir(path)?.next().is_some() {
        return Err(io::Error::other("it holds something else"));
    }
    fs::create_dir_all(path)?;
    let text = "Evidence of a quickstart of Ringfence: one folder for the coordinator, one per site.\n";
    fs::write(path.join(MARK), text)?;
    path.canonicalize()
}
