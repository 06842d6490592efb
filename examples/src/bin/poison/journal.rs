//! What a run has found so far, a line of JSON for each federation as soon as it is trained, so that a run that was
//! stopped goes on where it was. It refuses a file that a run of other arguments began, and one that another run writes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared_ops::cli::Failure;

/// Changes with what a line says and with how a federation is trained.
const FORMAT: u32 = 1;
/// The longest file that is read: some hundred times that of the whole matrix.
const MAX_BYTES: u64 = 256 << 20;

/// Results by what they are of.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    found: HashMap<String, Value>,
    /// Where new ones go; nowhere if absent.
    file: Option<Mutex<File>>,
}

/// The first line.
#[derive(Serialize)]
struct Head<'a, A> {
    format: u32,
    #[serde(flatten)]
    arguments: &'a A,
}

/// Any other line.
#[derive(Serialize, Deserialize)]
struct Line<K, T> {
    of: K,
    found: T,
}

impl Journal {
    /// Opens the file at `path`, made if need be, for a run of `arguments`, which are what decides its results.
    pub(crate) fn open(path: &Path, arguments: &impl Serialize) -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            let hint = "name a folder that you may write to with --out";
            Failure::new("journal-unusable", hint, format!("cannot use `{}`: {error}", path.display()))
        };
        let refused = |reason: String| {
            let hint = "name another folder with --out, or remove the file to begin anew";
            Failure::new("journal-refused", hint, format!("cannot go on from `{}`: {reason}", path.display()))
        };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(unusable)?;
        file.try_lock().map_err(|_| refused("another run writes it".to_owned()))?;
        let head = Head { format: FORMAT, arguments };
        let head = serde_json::to_string(&head).map_err(|error| unusable(error.into()))? + "\n";
        let text = text_of(&mut file).map_err(unusable)?;
        let whole = text.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let begun = if head.starts_with(&text) { head.as_str() } else { text.get(..whole).unwrap_or_default() };
        let found = read(begun, &head).map_err(refused)?;
        // A run that is killed as it writes leaves half a line behind.
        file.set_len(u64::try_from(whole).unwrap_or(u64::MAX)).map_err(unusable)?;
        if whole == 0 {
            file.write_all(head.as_bytes()).map_err(unusable)?;
        }
        Ok(Self { found, file: Some(Mutex::new(file)) })
    }

    /// How many results there were when it was opened.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// The result of `key`, or else what `work` finds, which is written down at once.
    pub(crate) fn get_or<T: Serialize + DeserializeOwned>(
        &self,
        key: &impl Serialize,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        if let Some(found) = self.found.get(&serde_json::to_value(key)?.to_string()) {
            return Ok(T::deserialize(found)?);
        }
        let found = work()?;
        if let Some(file) = &self.file {
            let line = serde_json::to_string(&Line { of: key, found: &found })? + "\n";
            let written = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
            written
                .map_err(|error| Failure::new("output-failed", "make room for the file in --out's folder", error))?;
        }
        Ok(found)
    }
}

fn text_of(file: &mut File) -> io::Result<String> {
    if file.metadata()?.len() > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// The results in `text`, whose first line has to be `head`.
fn read(text: &str, head: &str) -> Result<HashMap<String, Value>, String> {
    let mut lines = text.lines();
    let differ = differences(lines.next().unwrap_or_default(), head).map_err(|error| format!("line 1: {error}"))?;
    if !differ.is_empty() {
        return Err(format!("it was begun with another {}", differ.join(", another ")));
    }
    let parse = |(number, line): (usize, &str)| {
        let line: Line<Value, Value> = serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
        Ok((line.of.to_string(), line.found))
    };
    (2..).zip(lines).map(parse).collect()
}

/// The names of the arguments that are not the same in both.
fn differences(one: &str, other: &str) -> serde_json::Result<Vec<String>> {
    let (one, other): (HashMap<String, Value>, serde_json::Map<String, Value>) =
        (serde_json::from_str(one)?, serde_json::from_str(other)?);
    let differ = other.into_iter().filter(|(name, value)| one.get(name) != Some(value));
    Ok(differ.map(|(name, _)| format!("`{name}`")).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn open(path: &Path, seeds: u64) -> Result<Journal, String> {
        Journal::open(path, &json!({ "seeds": seeds, "rules": ["mean"] })).map_err(|failure| failure.to_string())
    }

    fn never() -> anyhow::Result<f64> {
        anyhow::bail!("it was found before")
    }

    #[test]
    fn what_was_found_is_not_worked_on_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let first = open(&path, 5).unwrap();
        assert_eq!(first.len(), 0);
        assert_eq!(first.get_or(&(1, "iid"), || Ok(0.1)).unwrap(), 0.1);
        assert!(first.get_or(&(2, "iid"), never).is_err());
        drop(first);
        let again = open(&path, 5).unwrap();
        assert_eq!((again.len(), again.get_or(&(1, "iid"), never).unwrap()), (1, 0.1));
    }

    #[test]
    fn half_a_line_is_forgotten_and_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        open(&path, 5).unwrap().get_or(&1, || Ok(0.5)).unwrap();
        open(&path, 5).unwrap().get_or(&2, || Ok(0.25)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 3]).unwrap();
        let journal = open(&path, 5).unwrap();
        assert_eq!((journal.len(), journal.get_or(&2, || Ok(0.75)).unwrap()), (1, 0.75));
        drop(journal);
        assert_eq!(open(&path, 5).unwrap().get_or(&2, never).unwrap(), 0.75);
        fs::write(&path, &text[..5]).unwrap();
        assert_eq!(open(&path, 5).unwrap().len(), 0, "half of the first line");
        assert_eq!(open(&path, 5).unwrap().len(), 0);
    }

    #[test]
    fn a_file_of_other_arguments_a_broken_one_and_one_in_use_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let held = open(&path, 5).unwrap();
        assert!(open(&path, 5).unwrap_err().ends_with("another run writes it"));
        drop(held);
        assert!(open(&path, 6).unwrap_err().ends_with("it was begun with another `seeds`"));
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{}\n").unwrap();
        assert!(open(&path, 5).unwrap_err().contains("line 2: missing field"));
        fs::write(&path, "{\"format\":0,\"seeds\":5,\"rules\":[]}\n").unwrap();
        assert!(open(&path, 5).unwrap_err().ends_with("another `format`, another `rules`"));
        for nonsense in ["nonsense\n", "nonsense"] {
            fs::write(&path, nonsense).unwrap();
            assert!(open(&path, 5).unwrap_err().contains("line 1"));
            assert_eq!(fs::read_to_string(&path).unwrap(), nonsense, "what is refused is not touched");
        }
    }

    #[test]
    fn without_a_file_all_is_worked_on() {
        let journal = Journal::default();
        assert_eq!((journal.get_or(&1, || Ok(1.0)).unwrap(), journal.get_or(&1, || Ok(2.0)).unwrap()), (1.0, 2.0));
    }
}
