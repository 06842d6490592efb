//! A transcript of a small round is made by hand; what holds in it is found to hold, and nothing in it can be changed.

use std::sync::Arc;

use serde_json::json;
use shared::audit::{AuditKind, AuditRecord};
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::release::RoundRecord;
use shared::round::{AcceptedUpdate, Tally};
use shared::task::Task;
use shared::update::{Evaluation, UpdateHeader, UpdateReceipt};
use shared::{ParamVector, ParticipantId, RoundId, RoundNumber, TaskId, Timestamp};
use shared_crypto::{SigningKey, bulk_digest, digest, document_digest};
use shared_store::MemoryStore;

use super::*;
use crate::AuditLog;

mod masked;

const SITES: [&str; 3] = ["a", "b", "c"];
const ORIGIN: &str = "coordinator.example";

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(digest(name.as_bytes()).as_bytes())
}

fn site(name: &str) -> ParticipantId {
    ParticipantId::new(name).unwrap()
}

fn round_id() -> RoundId {
    RoundId { task_id: TaskId::new("t").unwrap(), number: RoundNumber(2) }
}

fn task() -> Task {
    serde_json::from_value(json!({
        "task_id": "t", "title": "a task", "cohort": SITES, "quorum": 2, "rounds": 3, "seed": 1,
        "feature_view": {"name": "view", "version": 1, "digest": "0".repeat(64)},
        "model": {"inputs": 2, "hidden": []},
        "recipe": {"local_steps": 1, "sampling_rate": 0.5, "learning_rate": 0.1, "momentum": 0.0, "clip_norm": 1.0,
                   "noise_multiplier": null},
        "privacy": {"unit": "record", "ceiling": {"epsilon": 3.0, "delta": 1e-5}, "evaluation_rho": 0.1},
        "deadlines": {"join_ms": 1000, "collect_ms": 1000, "evaluate_ms": 1000},
        "gates": {"min_true_positive_rate": 0.5, "max_false_positive_rate": 0.5},
        "created_at": "2026-01-01T00:00:00Z"
    }))
    .unwrap()
}

/// What a round's transcript is made of; a test may spoil any of it before it is signed and written.
struct Round {
    task: Task,
    record: RoundRecord,
    headers: Vec<UpdateHeader>,
    payloads: Vec<Vec<u8>>,
    evaluations: Vec<Evaluation>,
    checkpoint: Vec<u8>,
    /// Signs the updates and evaluations of `a`.
    signer: SigningKey,
    /// What the log's entry names.
    logged: Option<shared::Digest>,
    /// What it holds in place of payloads.
    masked: Option<masked::Masked>,
}

impl Round {
    /// Three updates, 1, 2 and 6 in every entry, on a checkpoint of tens: a candidate of thirteens.
    fn new() -> Self {
        let task = task();
        let task_digest = document_digest(&key("operator").sign(&task).unwrap());
        let vector = |value: f32| ParamVector::new(vec![value; 3]).unwrap().to_le_bytes();
        let (checkpoint, candidate) = (vector(10.0), bulk_digest(&vector(13.0)));
        let payloads = [1.0, 2.0, 6.0].map(vector).to_vec();
        let header = |(name, payload): (&&str, &Vec<u8>)| UpdateHeader {
            round_id: round_id(),
            participant_id: site(name),
            task_digest,
            checkpoint: bulk_digest(&checkpoint),
            encoding: Encoding::F32,
            byte_count: 12,
            payload: bulk_digest(bulk_digest(payload).as_bytes()),
            local_steps: 1,
            masked: None,
        };
        let headers: Vec<UpdateHeader> = SITES.iter().zip(&payloads).map(header).collect();
        let evaluation = |name: &str| Evaluation {
            round_id: round_id(),
            participant_id: site(name),
            candidate,
            true_positives: 9,
            false_negatives: 1,
            false_positives: 1,
            true_negatives: 99,
        };
        let evaluations = vec![evaluation("a"), evaluation("c")];
        let mut round = Self {
            record: RoundRecord {
                round_id: round_id(),
                task_digest,
                checkpoint: bulk_digest(&checkpoint),
                aggregation: task.aggregation.clone(),
                server_state_before: None,
                accepted: headers.iter().map(|header| (header.participant_id.clone(), accepted(header))).collect(),
                updates_root: digest(b""),
                candidate,
                server_state: None,
                tally: evaluations.iter().fold(Tally::default(), Tally::with),
                committed_at: Timestamp::EPOCH,
                masked_sum: None,
                recomputed: None,
            },
            task,
            headers,
            payloads,
            evaluations,
            checkpoint,
            signer: key("a"),
            logged: None,
            masked: None,
        };
        round.record.updates_root = updates_root(&round.record.accepted).unwrap();
        round
    }

    fn sign<T: Document>(&self, participant_id: &ParticipantId, document: &T) -> SignedDocument {
        let signer = if participant_id.as_str() == "a" { self.signer.clone() } else { key(participant_id.as_str()) };
        signer.sign(document).unwrap()
    }

    fn parts(&self) -> Parts {
        let masked = self.masked.as_ref().map(|masked| masked.parts(self));
        let mut record = self.record.clone();
        record.masked_sum = masked.as_ref().map(|masked| document_digest(&masked.word));
        let record = key("coordinator").sign(&record).unwrap();
        let entry = AuditRecord {
            kind: AuditKind::Round,
            at: Timestamp::EPOCH,
            actor: "coordinator".to_owned(),
            content: json!({"event": "committed", "record": self.logged.unwrap_or(document_digest(&record))}),
        };
        let log = AuditLog::open(Arc::new(MemoryStore::default()), ORIGIN, key("log")).unwrap();
        let index = log.append(&key("coordinator").sign(&entry).unwrap()).unwrap();
        let keys = TranscriptKeys {
            round_id: round_id(),
            operator: key("operator").public(),
            log: key("log").public(),
            log_origin: ORIGIN.to_owned(),
            participants: SITES.iter().map(|name| (site(name), key(name).public())).collect(),
        };
        let update = |(header, payload): (&UpdateHeader, &Vec<u8>)| {
            let document = self.sign(&header.participant_id, header);
            let content = self.masked.is_none().then(|| Content::from(payload.clone()));
            (header.participant_id.clone(), document, content)
        };
        Parts {
            keys: key("coordinator").sign(&keys).unwrap(),
            task: key("operator").sign(&self.task).unwrap(),
            record,
            receipt: log.receipt(index).unwrap(),
            checkpoint: self.checkpoint.clone().into(),
            server_state: None,
            masked,
            updates: self.headers.iter().zip(&self.payloads).map(update).collect(),
            evaluations: self
                .evaluations
                .iter()
                .map(|evaluation| {
                    (evaluation.participant_id.clone(), self.sign(&evaluation.participant_id, evaluation))
                })
                .collect(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let transcript = Transcript::new(self.parts()).unwrap();
        let (len, mut bytes) = (transcript.len(), Vec::new());
        transcript.write_to(&mut bytes).unwrap();
        assert_eq!(u64::try_from(bytes.len()).unwrap(), len);
        bytes
    }

    fn verify(&self) -> Result<Verified, TranscriptError> {
        check(&self.bytes(), None)
    }
}

fn accepted(header: &UpdateHeader) -> AcceptedUpdate {
    AcceptedUpdate {
        payload: header.payload,
        byte_count: header.byte_count,
        encoding: header.encoding,
        trained_in: RoundNumber(2),
        weight: 1,
        local_steps: 1,
    }
}

fn trust() -> Trust {
    Trust { coordinator: key("coordinator").public(), operator: Some(key("operator").public()) }
}

fn check(bytes: &[u8], claim: Option<&Claim>) -> Result<Verified, TranscriptError> {
    verify(bytes, &trust(), claim)
}

#[test]
fn an_honest_round_holds_and_tells_what_it_is() {
    let verified = Round::new().verify().unwrap();
    assert_eq!((verified.round_id, verified.updates, verified.evaluations), (round_id(), 3, 2));
    assert_eq!((verified.log_index, verified.log_size, verified.included), (0, 1, None));
}

#[test]
fn tar_lists_a_transcript() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("round.tar");
    std::fs::write(&file, Round::new().bytes()).unwrap();
    let Ok(listed) = std::process::Command::new("tar").arg("tf").arg(&file).output() else {
        eprintln!("there is no `tar` here; the archive was not listed");
        return;
    };
    let names = String::from_utf8(listed.stdout).unwrap();
    let expected = "keys.json task.json record.json receipt.json checkpoint.f32 updates/a.json updates/a.bin updates/b.json \
                    updates/b.bin updates/c.json updates/c.bin evaluations/a.json evaluations/c.json";
    assert!(listed.status.success());
    assert_eq!(names.lines().collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn no_byte_of_a_transcript_can_change() {
    let honest = Round::new().bytes();
    let mut bytes = honest.clone();
    for at in 0..honest.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(check(&bytes, None).is_err(), "byte {at}");
        bytes[at] = honest[at];
    }
    assert!(check(&bytes, None).is_ok());
    for len in [0, 1, 511, 512, 1000, honest.len() - 512, honest.len() - 1] {
        assert!(check(&honest[..len], None).is_err(), "{len} bytes of it");
    }
    assert!(check(&[honest.as_slice(), &[0; 512]].concat(), None).is_err());
}

/// Spoils one thing before it is signed.
type Lie = fn(&mut Round);

#[test]
fn each_lie_is_found_and_named() {
    let lies: [(&str, Lie); 12] = [
        ("transcript-signature", |round| round.signer = key("x")),
        ("transcript-differs", |round| round.task.quorum = 1),
        ("transcript-differs", |round| round.headers[0].local_steps = 9),
        ("transcript-section", |round| round.headers[0].participant_id = site("b")),
        ("transcript-differs", |round| round.evaluations[0].true_positives = 10),
        ("transcript-differs", |round| {
            round.record.accepted.get_mut(&site("a")).unwrap().weight = 2;
            round.record.updates_root = updates_root(&round.record.accepted).unwrap();
        }),
        ("transcript-differs", |round| round.record.updates_root = digest(b"other")),
        ("transcript-differs", |round| round.logged = Some(digest(b"other"))),
        ("transcript-digest", |round| round.payloads[1][0] ^= 1),
        ("transcript-digest", |round| round.checkpoint[0] ^= 1),
        ("transcript-section", |round| round.evaluations.insert(0, round.evaluations[1].clone())),
        ("transcript-recomputed", |round| {
            round.record.candidate = digest(b"other");
            for evaluation in &mut round.evaluations {
                evaluation.candidate = digest(b"other");
            }
        }),
    ];
    for (number, (code, lie)) in lies.into_iter().enumerate() {
        let mut round = Round::new();
        lie(&mut round);
        let error = round.verify().unwrap_err();
        assert_eq!(shared::Explain::code(&error), code, "lie {number}: {error}");
    }
}

#[test]
fn an_update_that_is_no_update_is_refused_though_its_participant_signed_it() {
    let mut round = Round::new();
    round.payloads[0][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let payload = bulk_digest(bulk_digest(&round.payloads[0]).as_bytes());
    round.headers[0].payload = payload;
    round.record.accepted.get_mut(&site("a")).unwrap().payload = payload;
    round.record.updates_root = updates_root(&round.record.accepted).unwrap();
    assert!(
        matches!(round.verify(), Err(TranscriptError::Update { participant_id, .. }) if participant_id == site("a"))
    );
}

#[test]
fn another_coordinator_or_operator_is_not_trusted() {
    let bytes = Round::new().bytes();
    let other = Trust { coordinator: key("x").public(), operator: None };
    assert!(matches!(verify(bytes.as_slice(), &other, None), Err(TranscriptError::Signature { .. })));
    let other = Trust { operator: Some(key("x").public()), ..trust() };
    assert!(matches!(verify(bytes.as_slice(), &other, None), Err(TranscriptError::OtherKey { whose: "operator" })));
}

#[test]
fn a_claim_holds_for_the_update_that_was_acknowledged_and_for_no_other() {
    let round = Round::new();
    let bytes = round.bytes();
    let receipt = |payload, signer: &str| {
        let receipt =
            UpdateReceipt { round_id: round_id(), participant_id: site("b"), payload, accepted_at: Timestamp::EPOCH };
        Claim::Acknowledged(key(signer).sign(&receipt).unwrap())
    };
    let own = round.headers[1].payload;
    let included = check(&bytes, Some(&receipt(own, "coordinator"))).unwrap().included.unwrap();
    assert_eq!((included.participant_id, included.payload), (site("b"), own));
    assert!(check(&bytes, Some(&Claim::Of(site("a")))).unwrap().included.is_some());
    let missing = |claim| matches!(check(&bytes, Some(&claim)), Err(TranscriptError::NotIncluded { .. }));
    assert!(missing(Claim::Of(site("d"))));
    assert!(missing(receipt(digest(b"other"), "coordinator")));
    assert!(matches!(check(&bytes, Some(&receipt(own, "b"))), Err(TranscriptError::Signature { .. })));
}
