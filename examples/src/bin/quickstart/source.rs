//! Where a site's telemetry comes from: the range, or real files. Either way it enters as text, as at any site.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use participant::collect::{self, Collector, Format};
use participant::event::Event;
use participant::label::{self, Label, Split};
use participant::range::{LabelledEvent, Range, Scenario, SiteProfile};
use shared::{ParticipantId, Timestamp};
use shared_ops::cli::Failure;

/// How many sites take part.
const SITES: usize = 3;
/// Days of history that a generated site learns from.
const HISTORY_DAYS: u32 = 9;
/// When a generated attack begins, after the history's end: mid-morning, in ordinary traffic.
const ATTACK_AFTER: std::time::Duration = std::time::Duration::from_secs(10 * 3600);

/// What the sites of the range learn from, and what they meet afterwards: an attack that only another site has seen.
const LESSONS: [([Scenario; 3], Scenario); SITES] = [
    (
        [Scenario::CredentialStuffing, Scenario::InjectionProbing, Scenario::SchemaReconnaissance],
        Scenario::DumpExfiltration,
    ),
    (
        [Scenario::DumpExfiltration, Scenario::InsiderBulkExport, Scenario::PrivilegeEscalation],
        Scenario::StolenServiceCredential,
    ),
    (
        [Scenario::LowAndSlowScraping, Scenario::StolenServiceCredential, Scenario::DestructiveStatements],
        Scenario::PrivilegeEscalation,
    ),
];

/// One site's telemetry as it will arrive, with the truth.
pub(crate) struct Source {
    /// The site's name.
    pub(crate) name: ParticipantId,
    /// JSON events to learn from, one a line.
    pub(crate) history: Vec<u8>,
    /// JSON events that come when the release serves.
    pub(crate) fresh: Vec<u8>,
    /// What each event was: an attack's kind, or empty.
    pub(crate) truth: BTreeMap<String, String>,
    /// The attack kinds in the history.
    pub(crate) learnt: BTreeSet<String>,
    /// The principals that appear.
    pub(crate) principals: BTreeSet<String>,
}

/// Three sites from the files of `folder`, or from the range.
pub(crate) fn sources(folder: Option<&Path>, seed: u64) -> Result<Vec<Source>, anyhow::Error> {
    match folder {
        Some(folder) => recorded(folder),
        None => (0_u8..).zip(LESSONS).map(|(site, lesson)| generated(site, &lesson.0, lesson.1, seed)).collect(),
    }
}

impl Source {
    fn new(name: ParticipantId) -> Self {
        Self {
            name,
            history: Vec::new(),
            fresh: Vec::new(),
            truth: BTreeMap::new(),
            learnt: BTreeSet::new(),
            principals: BTreeSet::new(),
        }
    }

    fn add(&mut self, event: &Event, attack: &str, is_fresh: bool) -> Result<(), anyhow::Error> {
        if !is_fresh && !attack.is_empty() {
            self.learnt.insert(attack.to_owned());
        }
        if !event.principal().is_empty() {
            self.principals.insert(event.principal().to_owned());
        }
        self.truth.insert(event.event_id().to_owned(), attack.to_owned());
        let text = if is_fresh { &mut self.fresh } else { &mut self.history };
        event.write_json(text)?;
        text.push(b'\n');
        Ok(())
    }
}

fn generated(site: u8, lessons: &[Scenario], surprise: Scenario, seed: u64) -> Result<Source, anyhow::Error> {
    let profile = SiteProfile::example(site);
    let (name, start) = (ParticipantId::new(profile.name.clone())?, profile.start);
    let mut range = Range::new(profile, seed);
    let mut source = Source::new(name);
    for labelled in range.generate(HISTORY_DAYS, lessons)? {
        source.add(&labelled.event, kind(&labelled), false)?;
    }
    let today = start.plus(std::time::Duration::from_secs(u64::from(HISTORY_DAYS) * 86_400));
    let mut fresh = range.generate(1, &[])?;
    fresh.extend(range.attack(surprise, today.plus(ATTACK_AFTER))?);
    fresh.sort_by_key(|labelled| labelled.event.timestamp());
    for labelled in fresh {
        source.add(&labelled.event, kind(&labelled), true)?;
    }
    Ok(source)
}

fn kind(labelled: &LabelledEvent) -> &'static str {
    labelled.scenario.map_or("", Scenario::name)
}

/// The first three sites of a folder: they learn from the `train` split and meet the `test` split.
fn recorded(folder: &Path) -> Result<Vec<Source>, anyhow::Error> {
    let refused = |reason: String| {
        let said = format!("`{}` holds no story to tell: {reason}", folder.display());
        let hint = "give a folder with at least three sites, each NAME.events.jsonl.gz with NAME.labels.csv.gz";
        Failure::new("quickstart-data", hint, said)
    };
    let listed = std::fs::read_dir(folder).map_err(|error| refused(error.to_string()))?;
    let mut names: Vec<String> = listed
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".events.jsonl.gz")?.to_owned()))
        .collect();
    names.sort();
    if names.len() < SITES {
        return Err(refused(format!("it holds {} sites", names.len())).into());
    }
    names.iter().take(SITES).map(|name| read_site(folder, name)).collect()
}

fn read_site(folder: &Path, name: &str) -> Result<Source, anyhow::Error> {
    let file = |ending: &str| -> PathBuf { folder.join(format!("{name}.{ending}")) };
    let labels = label::read(collect::open(&file("labels.csv.gz"))?.by_ref())?;
    let mut source = Source::new(ParticipantId::new(name)?);
    for event in Collector::new(collect::open(&file("events.jsonl.gz"))?, Format::EventJson, Timestamp::MAX) {
        let Ok(event) = event else { continue };
        let Some(Label { attack, scenario, split, .. }) = labels.get(event.event_id()) else { continue };
        source.add(&event, if *attack { scenario } else { "" }, *split == Split::Test)?;
    }
    Ok(source)
}
