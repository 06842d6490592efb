//! The check of a transcript, from the one trusted key to the recomputed aggregate. Needs no network and no clock.

use std::fmt;

use serde::Serialize;
use shared::audit::{AuditKind, AuditRecord};
use shared::document::SignedDocument;
use shared::release::RoundRecord;
use shared::round::Tally;
use shared::task::Task;
use shared::update::{Evaluation, UpdateReceipt};
use shared::{Digest, ParticipantId, RoundId};
use shared_crypto::{PublicKey, document_digest};

use super::archive::ReadAt;
use super::documents::{Sections, opened, same};
use super::recompute::Updates;
use super::updates::{self, key_of, updates_root};
use super::{TranscriptError, TranscriptKeys, masked, name, recompute};
use crate::{Checkpoint, Receipt, verify_receipt};

/// The keys that are known from elsewhere. All others in a transcript count because the coordinator's key signed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// Signs round records.
    pub coordinator: PublicKey,
    /// Signs tasks, where the caller knows who may.
    pub operator: Option<PublicKey>,
}

/// Whose update must be in the round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This participant's.
    Of(ParticipantId),
    /// The one that the coordinator acknowledged with this receipt.
    Acknowledged(SignedDocument),
}

/// An update that was asked for and is in the round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Included {
    /// Whose.
    pub participant_id: ParticipantId,
    /// Digest of its encoded bytes.
    pub payload: Digest,
    /// How much it weighs in the aggregate.
    pub weight: u32,
}

/// What a transcript shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// Which round.
    pub round_id: RoundId,
    /// Digest of the signed task.
    pub task: Digest,
    /// Digest of the signed record.
    pub record: Digest,
    /// Digest of the parameters that follow from the updates.
    pub candidate: Digest,
    /// How many updates were folded in.
    pub updates: usize,
    /// How many sites' evaluations sum to the record's tally.
    pub evaluations: u32,
    /// Where the record stands in the audit log.
    pub log_index: u64,
    /// How many entries the log had when it vouched for that.
    pub log_size: u64,
    /// The update that was asked for.
    pub included: Option<Included>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "round {} holds", self.round_id)?;
        writeln!(f, "  task       {}  signed by the operator", self.task)?;
        writeln!(f, "  record     {}  signed by the coordinator", self.record)?;
        writeln!(f, "  log        entry {} of {}", self.log_index, self.log_size)?;
        writeln!(f, "  updates    {}, each signed by its participant", self.updates)?;
        writeln!(f, "  candidate  {}  recomputed bit for bit", self.candidate)?;
        write!(f, "  tally      of {} signed evaluations", self.evaluations)?;
        match &self.included {
            Some(own) => write!(f, "\n  included   `{}`, {}, weight {}", own.participant_id, own.payload, own.weight),
            None => Ok(()),
        }
    }
}

/// Checks every signature, digest and inclusion of a round's transcript, and recomputes its aggregate bit for bit.
///
/// Memory: the model and one block of each update. Each failure has its own [`TranscriptError`].
pub fn verify<R: ReadAt + Sync + ?Sized>(
    source: &R,
    trust: &Trust,
    claim: Option<&Claim>,
) -> Result<Verified, TranscriptError> {
    let mut sections = Sections::open(source)?;
    let (_, keys) = sections.signed::<TranscriptKeys>(name::KEYS, &trust.coordinator)?;
    if trust.operator.is_some_and(|operator| operator != keys.operator) {
        return Err(TranscriptError::OtherKey { whose: "operator" });
    }
    let (task_document, task) = sections.signed::<Task>(name::TASK, &keys.operator)?;
    let (record_document, record) = sections.signed::<RoundRecord>(name::RECORD, &trust.coordinator)?;
    let task_digest = document_digest(&task_document);
    terms_hold(&keys, &task, task_digest, &record)?;
    let receipt: Receipt = sections.document(name::RECEIPT)?;
    let record_digest = document_digest(&record_document);
    let log_size = is_logged(&receipt, &keys, trust, record_digest)?;
    let start = recompute::start(&mut sections, &task, &record)?;
    let updates = match &task.secure_aggregation {
        Some(_) => Updates::Masked(masked::checked(&mut sections, trust, &keys, &task, &record)?),
        None => Updates::Visible(updates::checked(&mut sections, &keys, &task, &record)?),
    };
    evaluations_hold(&mut sections, &keys, &record)?;
    recompute::holds(source, &task, &record, &start, &updates)?;
    Ok(Verified {
        included: claim.map(|claim| included(claim, trust, &record)).transpose()?,
        round_id: record.round_id,
        task: task_digest,
        record: record_digest,
        candidate: record.candidate,
        updates: record.accepted.len(),
        evaluations: record.tally.sites,
        log_index: receipt.index,
        log_size,
    })
}

/// Whether the record is of this task and keeps to its terms.
fn terms_hold(
    keys: &TranscriptKeys,
    task: &Task,
    task_digest: Digest,
    record: &RoundRecord,
) -> Result<(), TranscriptError> {
    let broken = |what: &str, expected: String, found: String| {
        Err(TranscriptError::Differs { what: what.to_owned(), expected, found })
    };
    same(|| "the round that the keys are for".to_owned(), &record.round_id, &keys.round_id)?;
    same(|| "the record's task digest".to_owned(), &task_digest, &record.task_digest)?;
    same(|| "the record's task".to_owned(), &task.task_id, &record.round_id.task_id)?;
    same(|| "the record's aggregation rule".to_owned(), &task.aggregation, &record.aggregation)?;
    same(|| "the record's root of updates".to_owned(), &updates_root(&record.accepted)?, &record.updates_root)?;
    if let Some(stranger) = record.accepted.keys().find(|id| !task.cohort.contains(id)) {
        return broken("an accepted participant", "in the task's cohort".to_owned(), stranger.to_string());
    }
    if u32::try_from(record.accepted.len()).is_ok_and(|count| count < task.quorum) {
        let (least, count) = (format!("at least {}", task.quorum), record.accepted.len().to_string());
        return broken("the number of updates", least, count);
    }
    record.accepted.values().try_for_each(|update| {
        if !task.encodings.contains(&update.encoding) {
            return broken(
                "an update's encoding",
                "one of the task's".to_owned(),
                format!("{:?}", update.encoding.kind()),
            );
        }
        let behind = record.round_id.number.0.checked_sub(update.trained_in.0);
        let Some(behind) = behind.filter(|behind| *behind <= task.participation.late.max_staleness()) else {
            return broken("an update's round", "within the late policy".to_owned(), update.trained_in.to_string());
        };
        same(|| "an update's weight".to_owned(), &task.participation.late.weight(behind), &update.weight)
    })
}

/// Whether the log vouches for the coordinator's word that the record was committed; how long the log was then.
fn is_logged(receipt: &Receipt, keys: &TranscriptKeys, trust: &Trust, record: Digest) -> Result<u64, TranscriptError> {
    verify_receipt(receipt, &keys.log, &keys.log_origin)?;
    let entry: AuditRecord = opened("the log's entry", &receipt.entry, &trust.coordinator)?;
    same(|| "the kind of the log's entry".to_owned(), &AuditKind::Round, &entry.kind)?;
    let named = entry.content.get("record").and_then(|value| value.as_str()).unwrap_or_default();
    same(|| "the record that the log's entry names".to_owned(), &record.to_string(), &named.to_owned())?;
    Ok(Checkpoint::open(&receipt.checkpoint, &keys.log_origin, &keys.log)?.size)
}

/// Takes the evaluations in: each by somebody whose update counts, of this candidate, and all of them the tally.
fn evaluations_hold<R: ReadAt + ?Sized>(
    sections: &mut Sections<'_, R>,
    keys: &TranscriptKeys,
    record: &RoundRecord,
) -> Result<(), TranscriptError> {
    let mut tally = Tally::default();
    for participant_id in record.accepted.keys() {
        let section = name::evaluation(participant_id);
        if sections.peek() != Some(&section) {
            continue;
        }
        let (_, evaluation) = sections.signed::<Evaluation>(&section, key_of(keys, participant_id)?)?;
        let what = |field: &'static str| move || format!("the {field} in `evaluations/{participant_id}.json`");
        same(what("participant"), participant_id, &evaluation.participant_id)?;
        same(what("round"), &record.round_id, &evaluation.round_id)?;
        same(what("candidate"), &record.candidate, &evaluation.candidate)?;
        tally = tally.with(&evaluation);
    }
    if let Some(found) = sections.peek() {
        let found = found.to_owned();
        return Err(TranscriptError::Section { expected: "the end".to_owned(), found });
    }
    same(|| "the record's tally".to_owned(), &tally, &record.tally)
}

/// The update that the claim is about, as the record counts it.
fn included(claim: &Claim, trust: &Trust, record: &RoundRecord) -> Result<Included, TranscriptError> {
    let (participant_id, promised) = match claim {
        Claim::Of(participant_id) => (participant_id.clone(), None),
        Claim::Acknowledged(document) => {
            let receipt: UpdateReceipt = opened("the receipt", document, &trust.coordinator)?;
            same(|| "the receipt's round".to_owned(), &record.round_id, &receipt.round_id)?;
            (receipt.participant_id, Some(receipt.payload))
        }
    };
    let missing = |reason: String| TranscriptError::NotIncluded { participant_id: participant_id.clone(), reason };
    let accepted = record.accepted.get(&participant_id).ok_or_else(|| missing("none of it counts".to_owned()))?;
    match promised.filter(|promised| *promised != accepted.payload) {
        Some(promised) => Err(missing(format!("{} counts, not the acknowledged {promised}", accepted.payload))),
        None => Ok(Included { payload: accepted.payload, weight: accepted.weight, participant_id }),
    }
}
