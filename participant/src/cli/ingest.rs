//! `ingest`: telemetry from files or standard input into the lake, labels into the store.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use shared_ops::cli::{Failure, Format, print};

use crate::collect::{self, Collector};
use crate::error::SiteError;
use crate::label;
use crate::records::keep_labels;
use crate::site::Site;

/// What to take in.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What the inputs hold: `event-json`, `pgaudit` or `cloudtrail`
    #[arg(id = "as", long = "as", value_name = "FORMAT", default_value = "event-json")]
    format: collect::Format,
    /// CSV of labels: event_id,label,scenario,technique,split; gzip or plain
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Files, gzip or plain; `-` is standard input
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

/// What became of the inputs.
#[derive(Debug, Default, Serialize)]
struct Report {
    stored: u64,
    duplicates: u64,
    rejected: u64,
    labels: usize,
    dead_letters: PathBuf,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stored, duplicates, rejected, labels, dead_letters } = self;
        write!(f, "{stored} events stored, {duplicates} known before, {rejected} rejected, {labels} labels")?;
        if *rejected > 0 {
            write!(f, "\nreasons stand in {}", dead_letters.display())?;
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &Arguments, site: &Site, format: Format) -> Result<(), anyhow::Error> {
    let mut report = Report { dead_letters: site.folder().join("dead-letters.jsonl"), ..Report::default() };
    for input in &arguments.inputs {
        take(input, arguments.format, site, &mut report).map_err(Failure::from)?;
    }
    if let Some(labels) = &arguments.labels {
        report.labels = take_labels(labels, site).map_err(Failure::from)?;
    }
    Ok(print(&report, format)?)
}

fn take(input: &Path, format: collect::Format, site: &Site, report: &mut Report) -> Result<(), SiteError> {
    let collector = Collector::new(collect::open(input)?, format, site.latest());
    let mut letters = site.dead_letters(&input.display().to_string())?;
    let taken = collect::ingest(collector, &site.lake, site.clock.now(), &mut letters, |_| ())?;
    report.stored += taken.stored;
    report.duplicates += taken.duplicates;
    report.rejected += taken.rejected;
    Ok(())
}

fn take_labels(path: &Path, site: &Site) -> Result<usize, SiteError> {
    let labels = label::read(collect::open(path)?)?;
    let scenario = |label: &label::Label| if label.attack { label.scenario.clone() } else { String::new() };
    keep_labels(site, labels.iter().map(|(event_id, label)| (event_id.as_str(), scenario(label))))
}
