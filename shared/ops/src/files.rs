//! How many files and sockets a process may have open at once, and how a file takes another's place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process open as many files and sockets as its hard limit allows. The soft limit that most systems begin
/// with (1,024) is there for programs that use `select`, which no program of ours does.
pub fn allow_many() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let maximum = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, soft_limit = limit.current, "the limit of open files stays as it is");
    }
}

/// Writes `bytes` at `path`, durably, over what was there before; only the owner may read them. The file never holds half
/// of them. Of two writers at once, one may fail.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unfinished = path.with_extension("unfinished");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use rustix::process::Rlimit;

    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).unwrap();
        allow_many();
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: maximum, maximum });
    }

    #[test]
    fn a_file_is_replaced_whole_and_left_alone_where_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        for text in ["one", "two"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
        fs::create_dir(path.with_extension("unfinished")).unwrap();
        replace(&path, b"three").unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }
}
