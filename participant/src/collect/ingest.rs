//! One input into the lake: batch by batch, counting what is stored, known already, and rejected.

use std::io::{BufRead, Write};

use metrics::counter;
use shared::{Explain, Timestamp};

use super::{CollectError, Collector, DeadLetters};
use crate::event::Event;
use crate::lake::Lake;

/// Events appended to the lake at once.
const BATCH: usize = 16_384;

/// What became of an input.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ingested {
    /// Events now in the lake.
    pub stored: u64,
    /// Events that the lake held before.
    pub duplicates: u64,
    /// Records that are no events.
    pub rejected: u64,
}

/// Stores the events of `collector`, known since `known_at`. Each one that is new goes to `observe` once it is durable,
/// in the order in which [`Lake::replay`] gives it back.
pub fn ingest<R: BufRead, W: Write>(
    mut collector: Collector<R>,
    lake: &Lake,
    known_at: Timestamp,
    letters: &mut DeadLetters<W>,
    mut observe: impl FnMut(&Event),
) -> Result<Ingested, CollectError> {
    let format = collector.format().as_str();
    let mut total = Ingested::default();
    loop {
        let batch = read_batch(&mut collector, letters, &mut total)?;
        if batch.is_empty() {
            letters.flush()?;
            return Ok(total);
        }
        let appended = lake.append(batch, known_at)?;
        let stored = u64::try_from(appended.stored.len()).unwrap_or(u64::MAX);
        counter!("ringfence_events_ingested_total", "source" => format).increment(stored);
        counter!("ringfence_events_duplicate_total", "source" => format).increment(appended.duplicates);
        total.stored = total.stored.saturating_add(stored);
        total.duplicates = total.duplicates.saturating_add(appended.duplicates);
        appended.stored.iter().for_each(&mut observe);
    }
}

fn read_batch<R: BufRead, W: Write>(
    collector: &mut Collector<R>,
    letters: &mut DeadLetters<W>,
    total: &mut Ingested,
) -> Result<Vec<Event>, CollectError> {
    let mut batch = Vec::new();
    for item in collector {
        match item {
            Ok(event) => batch.push(event),
            Err(rejected) => {
                letters.write(&rejected)?;
                counter!("ringfence_events_rejected_total", "code" => rejected.reason.code()).increment(1);
                total.rejected = total.rejected.saturating_add(1);
            }
        }
        if batch.len() >= BATCH {
            break;
        }
    }
    Ok(batch)
}
