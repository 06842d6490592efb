//! Events as they come: into the lake first, then through the feature engine, then scored.
//!
//! The engine sees each stored event once, in the order in which the lake keeps them, so that a replay of the lake gives
//! the same vectors bit for bit (promise A6).

use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use shared::audit::AuditKind;
use shared::canonical;
use shared::detection::Detection;
use shared::store::{Batch, Key};
use shared_crypto::digest;

use crate::collect::{CollectError, Collector, Ingested, ingest};
use crate::error::SiteError;
use crate::event::Event;
use crate::feature::{Engine, Vector};
use crate::records::Records;
use crate::serve::{Calibration, Installed, Scored, Scorer};
use crate::site::Site;

const DETECTIONS: &str = "detection";

/// A site's online path.
pub struct Online {
    site: Arc<Site>,
    engine: Mutex<Engine>,
    scorer: RwLock<Option<Arc<Scorer>>>,
}

/// What became of an input.
#[derive(Debug)]
pub struct Taken {
    /// New events, with their scores where a release serves.
    pub scored: Vec<(Event, Option<Scored>)>,
    /// What scored them.
    pub scorer: Option<Arc<Scorer>>,
    /// How many events were stored, known before, or rejected.
    pub ingested: Ingested,
}

/// A new event with its feature vector and its principal's token.
struct Observed {
    event: Event,
    vector: Vector,
    principal_token: String,
}

/// A detection with the event that raised it. Stays at the site.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    /// The event.
    pub event: Event,
    /// The detection.
    pub detection: Detection,
}

impl Observed {
    /// The event with its score. Where there is none the event stays in the lake, and the others go on.
    fn scored(self, scorer: Option<&Scorer>) -> (Event, Option<Scored>) {
        let Self { event, vector, principal_token } = self;
        let scored = scorer.map(|scorer| scorer.score(&event, vector.as_slice(), &principal_token)).transpose();
        let scored = scored.unwrap_or_else(|error| {
            metrics::counter!("ringfence_unscored_total").increment(1);
            tracing::error!(event_id = event.event_id(), %error, "an event could not be scored");
            None
        });
        (event, scored)
    }
}

impl Taken {
    /// The detections among the scores, in time order.
    pub fn raised(&self) -> Vec<Raised> {
        let raised = self.scored.iter().filter_map(|(event, scored)| {
            let detection = scored.as_ref()?.detection.clone()?;
            Some(Raised { event: event.clone(), detection })
        });
        raised.collect()
    }
}

impl Online {
    /// The online path of a site whose engine has seen the whole lake.
    pub fn new(site: Arc<Site>, engine: Engine) -> Self {
        Self { site, engine: Mutex::new(engine), scorer: RwLock::new(None) }
    }

    /// Puts a verified release to work, calibrated on the site's own hold-out.
    pub fn serve(&self, installed: Installed, records: &Records) -> Result<(), SiteError> {
        let calibration = Calibration::of(&installed.model, &records.holdout)?;
        let scorer = Arc::new(Scorer::new(installed, calibration, self.site.config.detection.clone()));
        *self.scorer.write().unwrap_or_else(PoisonError::into_inner) = Some(scorer);
        Ok(())
    }

    /// The scorer at work; `None` before the first release.
    pub fn scorer(&self) -> Option<Arc<Scorer>> {
        self.scorer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes an input in: its events are stored and scored, every detection stands in the audit log, and what is no event
    /// in the dead-letter file. `name` stands for the input there.
    pub fn take<R: BufRead>(&self, input: Collector<R>, name: &str) -> Result<Taken, SiteError> {
        let (observed, ingested) = self.store_and_observe(input, name)?;
        let scorer = self.scorer();
        let scored = observed.into_iter().map(|one| one.scored(scorer.as_deref())).collect();
        let mut taken = Taken { scored, scorer, ingested: Ingested::default() };
        // An input that breaks off loses nothing of its good part.
        self.keep(&taken)?;
        taken.ingested = ingested?;
        Ok(taken)
    }

    /// The engine is locked while the lake is written: it sees what the lake keeps, in the same order, whatever becomes
    /// of the scores.
    fn store_and_observe<R: BufRead>(
        &self,
        input: Collector<R>,
        name: &str,
    ) -> Result<(Vec<Observed>, Result<Ingested, CollectError>), SiteError> {
        let mut letters = self.site.dead_letters(name)?;
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut observed = Vec::new();
        let observe = |event: &Event| {
            let vector = engine.observe(event);
            let principal_token = engine.principal_token(event);
            observed.push(Observed { event: event.clone(), vector, principal_token });
        };
        let ingested = ingest(input, &self.site.lake, self.site.clock.now(), &mut letters, observe);
        Ok((observed, ingested))
    }

    fn keep(&self, taken: &Taken) -> Result<(), SiteError> {
        let detections: Vec<Detection> = taken.raised().into_iter().map(|raised| raised.detection).collect();
        if detections.is_empty() {
            return Ok(());
        }
        self.site.journal.write_all(AuditKind::Detection, &detections)?;
        let mut batch = Batch::new();
        for detection in &detections {
            batch = batch.put(key(detection), canonical::encode(detection)?);
        }
        Ok(self.site.store.apply(batch)?)
    }

    /// The latest kept detections, at most `limit`, in time order.
    pub fn detections(&self, limit: usize) -> Result<Vec<Detection>, SiteError> {
        let entries = self.site.store.scan(DETECTIONS, &[], limit)?;
        entries.iter().rev().map(|(_, bytes)| Ok(canonical::decode(bytes)?)).collect()
    }
}

/// The detections' keys sort from the latest to the earliest: time runs backwards in them. An id may be too long for a
/// key, its digest is not.
fn key(detection: &Detection) -> Key {
    let mut key = (i64::MAX - detection.event_time.as_micros()).to_be_bytes().to_vec();
    key.extend_from_slice(digest(detection.event_id.as_bytes()).as_bytes());
    Key::new(DETECTIONS, key)
}

#[cfg(test)]
mod tests;
