//! What a site trains on and evaluates with: the labelled events of its lake as feature vectors, split in time.
//!
//! Every event drives the feature engine, so that windows and novelty are right; only labelled ones become records.

use std::collections::{BTreeMap, BTreeSet};

use shared::store::{Batch, Key, Store};

use crate::error::SiteError;
use crate::feature::{Engine, WIDTH};
use crate::site::Site;
use crate::train::Dataset;

const LABELS: &str = "label";
/// Labels written in one batch.
const LABELS_AT_ONCE: usize = 4096;
/// The most labels that are read back.
const MAX_LABELS: usize = 50_000_000;

/// A site's records.
pub struct Records {
    /// The earlier labelled events.
    pub train: Dataset,
    /// The later labelled events.
    pub holdout: Dataset,
    /// The sources of the labelled events.
    pub sources: BTreeSet<String>,
}

impl Records {
    /// Reads the site's lake in the order of arrival, and splits what is labelled by event time; the ledger's δ is made to
    /// fit how many there are. Answers the records
    /// (`None` where too few events are labelled to train on some and hold out others) and the engine that has seen every
    /// event.
    pub fn read(site: &Site) -> Result<(Option<Self>, Engine), SiteError> {
        let labels = labels(site.store.as_ref())?;
        let mut engine = Engine::new(&site.tokens);
        let (mut rows, mut sources) = (Vec::new(), BTreeSet::new());
        for event in site.lake.replay() {
            let event = event?;
            let (vector, entity) = (engine.observe(&event), engine.entity(&event));
            if let Some(scenario) = labels.get(event.event_id().as_bytes()) {
                rows.push((event.timestamp(), vector, scenario.as_str(), entity));
                if !sources.contains(event.source()) {
                    sources.insert(event.source().to_owned());
                }
            }
        }
        rows.sort_by_key(|(at, ..)| *at);
        let mut labelled = Dataset::new(WIDTH);
        for (_, vector, scenario, entity) in rows {
            labelled.push(vector.as_slice(), (!scenario.is_empty()).then_some(scenario), entity)?;
        }
        site.ledger.fit_delta(labelled.len().into())?;
        let (train, holdout) = labelled.split_in_time(site.config.federation.holdout_percent);
        let enough = !train.is_empty() && !holdout.is_empty();
        Ok((enough.then_some(Self { train, holdout, sources }), engine))
    }
}

/// Keeps labels: which events were part of which attack. An empty scenario means an ordinary event.
pub fn keep_labels<'a>(site: &Site, labels: impl IntoIterator<Item = (&'a str, String)>) -> Result<usize, SiteError> {
    let mut kept = 0;
    let mut batch = Batch::new();
    for (event_id, scenario) in labels {
        batch = batch.put(Key::new(LABELS, event_id), scenario);
        kept += 1;
        if kept % LABELS_AT_ONCE == 0 {
            site.store.apply(std::mem::take(&mut batch))?;
        }
    }
    site.store.apply(batch)?;
    Ok(kept)
}

fn labels(store: &dyn Store) -> Result<BTreeMap<Vec<u8>, String>, SiteError> {
    let entries = store.scan(LABELS, &[], MAX_LABELS)?;
    let text = |scenario: Vec<u8>| String::from_utf8_lossy(&scenario).into_owned();
    Ok(entries.into_iter().map(|(event_id, scenario)| (event_id, text(scenario))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::testing::{Lone, event};

    fn append(lone: &Lone, events: &[(&str, u32)]) {
        let read = |(id, seconds): &(&str, u32)| Event::from_json(event(id, *seconds, "ada").as_bytes()).unwrap();
        lone.site.lake.append(events.iter().map(read).collect(), lone.site.clock.now()).unwrap();
    }

    #[test]
    fn the_hold_out_is_what_happened_last_not_what_arrived_last() {
        let lone = Lone::with(|config| config.federation.holdout_percent = 50);
        append(&lone, &[("c", 30), ("d", 40)]);
        append(&lone, &[("a", 10), ("b", 20)]);
        let labels = [("a", ""), ("b", ""), ("c", "dump"), ("d", "dump"), ("unknown", "dump")];
        let labels = labels.map(|(event_id, scenario)| (event_id, scenario.to_owned()));
        assert_eq!(keep_labels(&lone.site, labels).unwrap(), 5);
        let records = Records::read(&lone.site).unwrap().0.unwrap();
        assert_eq!((records.train.len(), records.holdout.len()), (2, 2));
        let zeros = shared_model::Model::new(&crate::testing::task().model, &crate::testing::params(0.0)).unwrap();
        assert!(records.train.scored(&zeros).unwrap().iter().all(|one| !one.attack));
        assert!(records.holdout.scored(&zeros).unwrap().iter().all(|one| one.scenario == "dump"));
    }

    #[test]
    fn without_labels_there_are_no_records_to_train_on() {
        let lone = Lone::new();
        append(&lone, &[("a", 10)]);
        assert!(Records::read(&lone.site).unwrap().0.is_none());
    }
}
