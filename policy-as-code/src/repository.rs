//! A policy repository in memory, read once, so that what is checked, digested and served are the same bytes.
//!
//! It knows which files belong to a repository and how many there may be; it does not know what they mean.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use policy_as_code_cedar::Source;
use serde::{Deserialize, Serialize};
use shared::Digest;

use crate::PolicyError;

mod revision;

/// How many files a repository may have.
pub const MAX_FILES: usize = 2_000;
/// How large a file may be, in bytes.
pub const MAX_FILE: usize = 1024 * 1024;
/// How many folders deep a file may lie.
const MAX_DEPTH: usize = 4;

/// The folders of a repository, with the endings of the files that count.
const FOLDERS: [(&str, &[&str]); 6] = [
    ("governance", &["cedar"]),
    ("invariants", &["cedar"]),
    ("playbooks", &["json"]),
    ("policies", &["cedar"]),
    ("rego", &["rego"]),
    ("schema", &["cedarschema", "toml"]),
];
/// The folders on which nothing that is served depends: recorded decisions, and tests.
const ASIDE: [(&str, &[&str]); 2] = [("replay", &["jsonl"]), (TESTS, &["json"])];
const TESTS: &str = "tests";
/// The tests of what a site adds lie here, in a folder of its name.
const SITE_TESTS: &str = "tests/sites";
/// What a site adds to the policies lies here, in a folder of its name.
const SITES: &str = "policies/sites";
/// The schema of the containment policies.
pub(crate) const SCHEMA: &str = "schema/ringfence.cedarschema";
/// The folder by which a policy repository is known.
const SCHEMA_FOLDER: &str = "schema";
/// The tests of the policies of governance lie here.
const GOVERNANCE_TESTS: &str = "tests/governance";

/// The files of a policy repository by path, `/`-separated and relative to its root.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    served: BTreeMap<String, String>,
    /// Nothing that is served depends on them.
    #[serde(skip)]
    aside: BTreeMap<String, String>,
}

impl Repository {
    /// Reads the repository at `root`.
    pub fn read(root: &Path) -> Result<Self, PolicyError> {
        if !root.is_dir() {
            return Err(unreadable(root, "there is no such folder"));
        }
        let mut repository = Self::default();
        for (folder, endings) in FOLDERS {
            read_folder(root, folder, endings, &mut repository.served)?;
        }
        for (folder, endings) in ASIDE {
            read_folder(root, folder, endings, &mut repository.aside)?;
        }
        Ok(repository)
    }

    /// The repository at `version`: a folder, or a git revision of the repository at `root`, such as `main` or `HEAD~1`.
    ///
    /// A folder wins over a branch of the same name.
    pub fn at(root: &Path, version: &str) -> Result<Self, PolicyError> {
        let folder = Path::new(version);
        if folder.join(SCHEMA_FOLDER).is_dir() { Self::read(folder) } else { revision::read(root, version) }
    }

    /// A repository from its files, as they stand in a bundle or a commit.
    pub fn from_files(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_aside = |path: &str| ASIDE.iter().any(|(folder, _)| path.split('/').next() == Some(folder));
        let (aside, served) = files.into_iter().partition(|(path, _)| is_aside(path));
        Self { served, aside }
    }

    /// What is served of it: neither tests nor recorded decisions.
    #[must_use]
    pub fn served(self) -> Self {
        Self { aside: BTreeMap::new(), ..self }
    }

    /// The files that are served, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &String)> {
        self.served.iter().map(|(path, text)| (path.as_str(), text))
    }

    /// The file at `path`.
    pub fn file(&self, path: &'static str) -> Result<Source, PolicyError> {
        let text = self.served.get(path).ok_or(PolicyError::Missing { path })?;
        Ok(Source { path: path.to_owned(), text: text.clone() })
    }

    /// The files under `folder`, in path order.
    pub fn folder(&self, folder: &str) -> Vec<Source> {
        under(&self.served, folder)
    }

    /// The containment policies that hold at every site and, given one, those that `site` adds, in path order.
    pub fn policies(&self, site: Option<&str>) -> Vec<Source> {
        let mut policies = self.folder("policies");
        policies.retain(|file| site_of(&file.path).is_none_or(|own| site == Some(own)));
        policies
    }

    /// The sites that add policies of their own.
    pub fn sites(&self) -> BTreeSet<String> {
        self.served.keys().filter_map(|path| site_of(path)).map(str::to_owned).collect()
    }

    /// What there is to serve: the policies of all sites alone, and with what each site adds.
    pub fn everywhere_and_sites(&self) -> impl Iterator<Item = Option<String>> {
        [None].into_iter().chain(self.sites().into_iter().map(Some))
    }

    /// The tests of the policies that hold at every site or, given one, of `site`, in path order.
    pub fn tests(&self, site: Option<&str>) -> Vec<Source> {
        if let Some(site) = site {
            return under(&self.aside, &format!("{SITE_TESTS}/{site}"));
        }
        let mut tests = under(&self.aside, TESTS);
        tests.retain(|file| !file.path.starts_with(GOVERNANCE_TESTS) && !file.path.starts_with(SITE_TESTS));
        tests
    }

    /// The tests of the policies of governance, in path order.
    pub fn governance_tests(&self) -> Vec<Source> {
        under(&self.aside, GOVERNANCE_TESTS)
    }

    /// The paths of the files in which two versions differ, whether they are served or not.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let all = |side: &Self| -> BTreeMap<String, String> {
            side.served.iter().chain(&side.aside).map(|(path, text)| (path.clone(), text.clone())).collect()
        };
        let (one, other) = (all(self), all(other));
        let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
    }

    /// SHA-256 of every file that is served.
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        let digest = |text: &String| shared_crypto::digest(text.as_bytes());
        self.served.iter().map(|(path, text)| (path.clone(), digest(text))).collect()
    }

    /// The bundle digest: SHA-256 of the canonical JSON of [`Repository::digests`].
    pub fn digest(&self) -> Result<Digest, PolicyError> {
        Ok(shared_crypto::digest_of(&self.digests())?)
    }
}

/// The site that adds the policies in the file at `path`; `None` where they hold at every site.
pub(crate) fn site_of(path: &str) -> Option<&str> {
    let (site, _) = path.strip_prefix(SITES)?.strip_prefix('/')?.split_once('/')?;
    Some(site)
}

fn ends_with_one_of(name: &str, endings: &[&str]) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(&ending))
}

/// Whether the file at `path`, `/`-separated and relative to the root, belongs to a repository.
fn belongs(path: &str) -> bool {
    let Some((folder, inside)) = path.split_once('/') else { return false };
    let known = FOLDERS.into_iter().chain(ASIDE).find(|(name, _)| *name == folder);
    known.is_some_and(|(_, endings)| ends_with_one_of(inside, endings))
}

fn under(files: &BTreeMap<String, String>, folder: &str) -> Vec<Source> {
    let prefix = format!("{folder}/");
    let inside = files.iter().filter(|(path, _)| path.starts_with(&prefix));
    inside.map(|(path, text)| Source { path: path.clone(), text: text.clone() }).collect()
}

fn read_folder(
    root: &Path,
    folder: &str,
    endings: &[&str],
    files: &mut BTreeMap<String, String>,
) -> Result<(), PolicyError> {
    let mut open = vec![(root.join(folder), folder.to_owned(), 1)];
    while let Some((directory, name, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(PolicyError::TooLarge { what: "folders in depth", limit: MAX_DEPTH });
        }
        for (path, entry) in entries(&directory)? {
            let inside = format!("{name}/{entry}");
            if path.is_dir() {
                open.push((path, inside, depth + 1));
            } else if ends_with_one_of(&entry, endings) {
                files.insert(inside, read_file(&path)?);
            }
        }
        if files.len() > MAX_FILES {
            return Err(PolicyError::TooLarge { what: "files", limit: MAX_FILES });
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: impl std::fmt::Display) -> PolicyError {
    PolicyError::Read { path: path.display().to_string(), reason: error.to_string() }
}

/// What lies in `directory`; nothing when there is no such folder.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>, PolicyError> {
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory, error)),
    };
    let mut entries = Vec::new();
    for entry in listing.take(MAX_FILES + 1) {
        let entry = entry.map_err(|error| unreadable(directory, error))?;
        entries.push((entry.path(), entry.file_name().to_string_lossy().into_owned()));
    }
    Ok(entries)
}

fn read_file(path: &Path) -> Result<String, PolicyError> {
    let bytes = std::fs::metadata(path).map_err(|error| unreadable(path, error))?.len();
    if usize::try_from(bytes).map_or(true, |bytes| bytes > MAX_FILE) {
        return Err(PolicyError::TooLarge { what: "bytes in a file", limit: MAX_FILE });
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_digest_covers_paths_and_bytes_of_what_is_served_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "policies/sites/a.cedar", "a");
        write(root.path(), "schema/domain.toml", "b");
        let digest = || Repository::read(root.path()).unwrap().digest().unwrap();
        let first = digest();
        write(root.path(), "tests/a.json", "[]");
        write(root.path(), "replay/a.jsonl", "");
        write(root.path(), "policies/README.md", "not a policy");
        assert_eq!(digest(), first);
        write(root.path(), "policies/sites/a.cedar", "b");
        let second = digest();
        assert_ne!(second, first);
        std::fs::rename(root.path().join("policies/sites/a.cedar"), root.path().join("policies/a.cedar")).unwrap();
        assert_ne!(digest(), second);
    }

    #[test]
    fn what_lies_in_no_sites_folder_holds_everywhere() {
        let paths =
            ["policies/a.cedar", "policies/sites/b.cedar", "policies/sites/x/c.cedar", "policies/sites/y/d.cedar"];
        let repository = Repository::from_files(paths.map(|path| (path.to_owned(), String::new())));
        let of = |site| repository.policies(site).into_iter().map(|file| file.path).collect::<Vec<_>>();
        assert_eq!(repository.sites(), BTreeSet::from(["x".to_owned(), "y".to_owned()]));
        assert_eq!(of(None), paths[..2]);
        assert_eq!(of(Some("x")), paths[..3]);
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "policies/a.cedar", &"/".repeat(MAX_FILE + 1));
        assert!(matches!(Repository::read(root.path()), Err(PolicyError::TooLarge { .. })));
    }
}
