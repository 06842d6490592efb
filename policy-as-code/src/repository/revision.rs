//! A policy repository as it stands in a commit, read through the `git` command.
//!
//! Reads objects only: no checkout, no hook, no write, and nothing outside the repository's own folder.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{MAX_FILE, MAX_FILES, Repository, belongs};
use crate::PolicyError;

/// The repository at `revision`, in the folder `root` of a git work tree.
pub(super) fn read(root: &Path, revision: &str) -> Result<Repository, PolicyError> {
    let git = Git { root, revision };
    let blobs = git.blobs()?;
    let texts = git.texts(&blobs)?;
    if !texts.keys().any(|path| path.starts_with("schema/")) {
        return Err(git.failed("it holds no policy repository in this folder"));
    }
    Ok(Repository::from_files(texts))
}

/// A file in a commit.
struct Blob {
    path: String,
    object: String,
}

struct Git<'a> {
    root: &'a Path,
    revision: &'a str,
}

impl Git<'_> {
    fn failed(&self, reason: impl std::fmt::Display) -> PolicyError {
        let (revision, root) = (self.revision.to_owned(), self.root.display().to_string());
        PolicyError::Revision { revision, root, reason: reason.to_string() }
    }

    /// What a git command prints, given `input`.
    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, PolicyError> {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.root).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.failed(format!("`git` cannot be run: {error}")))?;
        let stdin = child.stdin.take();
        let output = std::thread::scope(|scope| {
            // Written beside reading: git answers while it is still being asked.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
            child.wait_with_output()
        });
        let output = output.map_err(|error| self.failed(error))?;
        if !output.status.success() {
            return Err(self.failed(String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(output.stdout)
    }

    /// The commit's files that belong to a repository, within its limits.
    fn blobs(&self) -> Result<Vec<Blob>, PolicyError> {
        let commit = format!("{}^{{commit}}", self.revision);
        let commit = self.run(&["rev-parse", "--verify", "--end-of-options", &commit], b"")?;
        let commit = String::from_utf8_lossy(&commit).trim().to_owned();
        // Paths are relative to `root`, and nothing above it is listed.
        let listing = self.run(&["ls-tree", "-r", "-z", "--long", &commit, "."], b"")?;
        let listing = String::from_utf8(listing).map_err(|_| self.failed("a path is not UTF-8"))?;
        let mut blobs = Vec::new();
        for line in listing.split('\0').filter(|line| !line.is_empty()) {
            blobs.extend(self.blob(line)?);
        }
        if blobs.len() > MAX_FILES {
            return Err(PolicyError::TooLarge { what: "files", limit: MAX_FILES });
        }
        Ok(blobs)
    }

    /// One line of `git ls-tree --long`: mode, type, object, size, a tab, the path.
    fn blob(&self, line: &str) -> Result<Option<Blob>, PolicyError> {
        let (about, path) = line.split_once('\t').ok_or_else(|| self.failed("git listed a line without a path"))?;
        let words: Vec<&str> = about.split_whitespace().collect();
        let [_, "blob", object, size] = words.as_slice() else { return Ok(None) };
        if !belongs(path) {
            return Ok(None);
        }
        match size.parse::<usize>() {
            Ok(size) if size <= MAX_FILE => Ok(Some(Blob { path: path.to_owned(), object: (*object).to_owned() })),
            _ => Err(PolicyError::TooLarge { what: "bytes in a file", limit: MAX_FILE }),
        }
    }

    fn texts(&self, blobs: &[Blob]) -> Result<BTreeMap<String, String>, PolicyError> {
        let wanted: String = blobs.iter().map(|blob| format!("{}\n", blob.object)).collect();
        let objects = self.run(&["cat-file", "--batch"], wanted.as_bytes())?;
        let mut rest = objects.as_slice();
        let mut texts = BTreeMap::new();
        for blob in blobs {
            let text = next_object(&mut rest).ok_or_else(|| self.failed(format!("`{}` is missing", blob.path)))?;
            let text = String::from_utf8(text.to_vec());
            texts.insert(blob.path.clone(), text.map_err(|_| self.failed(format!("`{}` is not UTF-8", blob.path)))?);
        }
        Ok(texts)
    }
}

/// Takes the next object off what `git cat-file --batch` printed: a line that ends in its size, its bytes, a line feed.
fn next_object<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (header, after) = rest.split_at_checked(end)?;
    let size: usize = std::str::from_utf8(header).ok()?.rsplit(' ').next()?.parse().ok()?;
    let (object, after) = after.get(1..)?.split_at_checked(size)?;
    *rest = after.get(1..)?;
    Some(object)
}

#[cfg(test)]
mod tests {
    use shared::Explain;

    use super::*;
    use crate::testing::{commit, git};

    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "--initial-branch", "main"]);
        commit(folder.path(), "policies/schema/domain.toml", "a domain");
        commit(folder.path(), "policies/policies/10-ä b.cedar", "one");
        commit(folder.path(), "policies/README.md", "not a policy");
        commit(folder.path(), "policies/policies/notes.txt", "not a policy");
        commit(folder.path(), "elsewhere/policies/a.cedar", "not of this repository");
        folder
    }

    #[test]
    fn a_commit_is_read_as_it_was_whatever_the_work_tree_holds() {
        let folder = repository();
        let root = folder.path().join("policies");
        git(folder.path(), &["checkout", "--quiet", "-b", "change"]);
        commit(folder.path(), "policies/policies/10-ä b.cedar", "two");
        std::fs::write(root.join("policies/10-ä b.cedar"), "three").unwrap();
        for (version, text) in [("main", "one"), ("change", "two"), ("change~1", "one"), ("HEAD", "two")] {
            let files = Repository::at(&root, version).unwrap().folder("policies");
            let files: Vec<(&str, &str)> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
            assert_eq!(files, [("policies/10-ä b.cedar", text)], "{version}");
        }
        assert_eq!(Repository::at(&root, "main").unwrap().digests().len(), 2);
        let worktree = Repository::at(&root, root.to_str().unwrap()).unwrap();
        assert_eq!(worktree.folder("policies")[0].text, "three");
    }

    #[test]
    fn what_is_no_revision_is_refused_with_gits_reason() {
        let folder = repository();
        let root = folder.path().join("policies");
        for (root, revision) in [
            (root.as_path(), "no-such-branch"),
            (root.as_path(), "--output=elsewhere"),
            (root.as_path(), "main:policies"),
            (folder.path(), "main"),
            (Path::new("/nowhere"), "main"),
        ] {
            let error = Repository::at(root, revision).unwrap_err();
            assert_eq!(error.code(), "policy-revision", "{error}");
            assert!(error.to_string().contains(revision), "{error}");
        }
        let large = "/".repeat(MAX_FILE + 1);
        commit(folder.path(), "policies/policies/large.cedar", &large);
        assert_eq!(Repository::at(&root, "main").unwrap_err().code(), "policy-too-large");
    }
}
