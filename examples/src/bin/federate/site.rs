//! A site from its files: events through the feature engine in time order, labels beside them. Refuses a site that has
//! labels without events, or no row of some class to judge by.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use examples::parallel;
use participant::collect::{self, Collector, Format};
use participant::event::Event;
use participant::feature::{Engine, WIDTH};
use participant::label::{self, Label, Split};
use participant::train::Dataset;
use shared::Timestamp;
use shared_crypto::TokenKey;
use shared_ops::cli::Failure;

const LABELS: &str = ".labels.csv.gz";
/// Files of events, the preferred first.
const EVENTS: [(&str, Format); 2] = [(".events.jsonl.gz", Format::EventJson), (".pgaudit.jsonlog.gz", Format::Pgaudit)];

/// One site's labelled vectors.
pub(crate) struct Site {
    pub(crate) name: String,
    /// What models learn from.
    pub(crate) train: Dataset,
    /// What models are judged by.
    pub(crate) test: Dataset,
}

impl Site {
    /// The site as one that never trains: where it has no test split, all its rows are one.
    pub(crate) fn watching(self) -> Self {
        if self.test.is_empty() { Self { name: self.name, train: self.test, test: self.train } } else { self }
    }
}

/// Where a site's telemetry lies.
struct Files {
    name: String,
    labels: PathBuf,
    events: PathBuf,
    format: Format,
}

/// Reads every site of `dir`, by name.
pub(crate) fn load_all(dir: &Path) -> anyhow::Result<Vec<Site>> {
    let files = find(dir)?;
    parallel::map(&files, |_, files| load(files).with_context(|| format!("site `{}`", files.name)))
}

fn find(dir: &Path) -> anyhow::Result<Vec<Files>> {
    let hint = "name a folder that holds NAME.labels.csv.gz and NAME.events.jsonl.gz of each site";
    let entries = fs::read_dir(dir).map_err(|error| {
        Failure::new("data-unreadable", hint, format!("cannot read the folder `{}`: {error}", dir.display()))
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("cannot list `{}`", dir.display()))?.file_name();
        names.extend(name.to_string_lossy().strip_suffix(LABELS).map(str::to_owned));
    }
    names.sort();
    if names.is_empty() {
        let message = format!("the folder `{}` holds no site", dir.display());
        return Err(Failure::new("data-no-site", hint, message).into());
    }
    names.into_iter().map(|name| files_of(dir, name)).collect()
}

fn files_of(dir: &Path, name: String) -> anyhow::Result<Files> {
    let labels = dir.join(format!("{name}{LABELS}"));
    let candidates = EVENTS.map(|(suffix, format)| (dir.join(format!("{name}{suffix}")), format));
    match candidates.into_iter().find(|(path, _)| path.is_file()) {
        Some((events, format)) => Ok(Files { name, labels, events, format }),
        None => {
            let hint = "put NAME.events.jsonl.gz or NAME.pgaudit.jsonlog.gz beside the labels";
            Err(Failure::new("data-no-events", hint, format!("site `{name}` has labels but no events")).into())
        }
    }
}

fn load(files: &Files) -> anyhow::Result<Site> {
    let labels = label::read(collect::open(&files.labels).map_err(Failure::from)?).map_err(Failure::from)?;
    let mut events = read_events(files)?;
    events.sort_by(|left, right| left.order().cmp(&right.order()));
    let (train, test) = vectors(&events, &labels)?;
    if train.is_empty() && test.is_empty() {
        let hint = "label events by their event_id; in a pgaudit log that is SESSION_ID/LINE_NUM";
        return Err(Failure::new("data-no-label-fits", hint, "no label is for any of the events").into());
    }
    Ok(Site { name: files.name.clone(), train, test })
}

fn read_events(files: &Files) -> anyhow::Result<Vec<Event>> {
    let input = collect::open(&files.events).map_err(Failure::from)?;
    Collector::new(input, files.format, Timestamp::MAX)
        .map(|event| {
            event.map_err(|rejected| {
                let hint = "mend or remove the record; training data is taken whole or not at all";
                Failure::new("data-bad-record", hint, format!("line {}: {}", rejected.line, rejected.reason)).into()
            })
        })
        .collect()
}

/// The labelled events' vectors. Every event drives the engine; only labelled ones are rows.
fn vectors(events: &[Event], labels: &BTreeMap<String, Label>) -> anyhow::Result<(Dataset, Dataset)> {
    let mut engine = Engine::new(&Arc::new(TokenKey::from_bytes(&[0; 32])));
    let (mut train, mut test) = (Dataset::new(WIDTH), Dataset::new(WIDTH));
    for event in events {
        let (vector, entity) = (engine.observe(event), engine.entity(event));
        if let Some(label) = labels.get(event.event_id()) {
            let part = if label.split == Split::Train { &mut train } else { &mut test };
            let scenario = label.attack.then_some(label.scenario.as_str());
            part.push(vector.as_slice(), scenario, entity).map_err(Failure::from)?;
        }
    }
    Ok((train, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "event_id,label,scenario,technique,split\n";
    const EVENT: &str = r#"{"event_id":"ID","timestamp":"2026-03-02T00:00:00Z","source":"s","operation":"SELECT"}"#;

    fn code(dir: &Path) -> String {
        let error = load_all(dir).err().unwrap();
        error.downcast_ref::<Failure>().map_or(error.to_string(), |failure| format!("{failure:?}"))
    }

    #[test]
    fn a_missing_folder_an_empty_one_and_labels_that_fit_nothing_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(code(&dir.path().join("nowhere")).contains("data-unreadable"));
        assert!(code(dir.path()).contains("data-no-site"));
        fs::write(dir.path().join("a.labels.csv.gz"), HEADER).unwrap();
        assert!(code(dir.path()).contains("data-no-events"));
        fs::write(dir.path().join("a.events.jsonl.gz"), EVENT).unwrap();
        assert!(code(dir.path()).contains("data-no-label-fits"));
    }

    #[test]
    fn rows_go_where_their_split_says_and_broken_records_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let labels = format!("{HEADER}a,0,benign,,train\nb,1,recon,T1087,test\nc,0,benign,,test\n");
        let events: Vec<String> = ["c", "a", "unlabelled", "b"].map(|id| EVENT.replace("ID", id)).into();
        fs::write(dir.path().join("x.labels.csv.gz"), labels).unwrap();
        fs::write(dir.path().join("x.events.jsonl.gz"), events.join("\n")).unwrap();
        let sites = load_all(dir.path()).unwrap();
        assert_eq!((sites[0].name.as_str(), sites[0].train.len(), sites[0].test.len()), ("x", 1, 2));
        let untested = Site { train: sites[0].test.clone(), test: Dataset::new(WIDTH), name: "y".to_owned() };
        assert_eq!(untested.watching().test, sites[0].test);
        fs::write(dir.path().join("x.events.jsonl.gz"), "{").unwrap();
        assert!(code(dir.path()).contains("data-bad-record"), "{}", code(dir.path()));
    }
}
