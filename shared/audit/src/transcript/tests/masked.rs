//! The same round with masked updates: what they add up to holds, and no other sum does.

use std::collections::{BTreeMap, BTreeSet};

use shared::Digest;
use shared::masking::{Assurance, Element, Layout, MaskedPart, MaskedSum, SecureAggregation, Survivors};
use shared_crypto::masking::{CommitmentKey, CommittedVector, blinding_from_sums};

use super::*;

/// What stands in place of payloads; a test may spoil it before it is signed.
pub(super) struct Masked {
    sum: Vec<i32>,
    blindings: Vec<Element>,
    survivors: Survivors,
}

impl Masked {
    pub(super) fn parts(&self, round: &Round) -> MaskedParts {
        let mut survivors = self.survivors.clone();
        for header in &round.headers {
            let id = header.participant_id.clone();
            let signed = document_digest(&round.sign(&id, header));
            survivors.delivered.entry(id).or_insert(signed);
        }
        let survivors = key("coordinator").sign(&survivors).unwrap();
        let sum: Vec<u8> = self.sum.iter().flat_map(|value| value.to_le_bytes()).collect();
        let word = key("coordinator").sign(&MaskedSum {
            round_id: round_id(),
            survivors: document_digest(&survivors),
            sum: bulk_digest(&sum),
            blindings: self.blindings.clone(),
        });
        MaskedParts { word: word.unwrap(), survivors, sum: sum.into() }
    }
}

/// Updates of 1, 2 and 6 steps of a grid whose step is 1.
fn masked_round() -> Round {
    let mut round = Round::new();
    round.task.secure_aggregation = Some(SecureAggregation {
        clip_norm: 32768.0,
        value_bits: 16,
        assurance: Assurance::None,
        roster: BTreeMap::new(),
    });
    let task_digest = document_digest(&key("operator").sign(&round.task).unwrap());
    round.record.task_digest = task_digest;
    let commitments = CommitmentKey::new(3, Layout::Packed24);
    let mut blindings = vec![0; shared::masking::BLINDING_WORDS];
    for (header, value) in round.headers.iter_mut().zip([1, 2, 6]) {
        let update = CommittedVector::new(vec![value; 3], 1).unwrap();
        blindings.iter_mut().zip(&update.to_words()[3..]).for_each(|(sum, word)| *sum += word);
        header.task_digest = task_digest;
        header.masked = Some(MaskedPart {
            plan: digest(b"plan"),
            commitments: vec![commitments.commit(&update.values, &update.blindings).unwrap()[0].into()],
            self_mask: Element::from([0; 32]),
            dealing: digest(b"dealing"),
        });
    }
    round.masked = Some(Masked {
        sum: vec![9; 3],
        blindings: vec![Element::from(*blinding_from_sums(&blindings.try_into().unwrap()).to_bytes())],
        survivors: Survivors {
            round_id: round_id(),
            plan: digest(b"plan"),
            delivered: BTreeMap::new(),
            dropped: BTreeSet::new(),
        },
    });
    round
}

#[test]
fn an_honest_masked_round_holds_without_any_update_of_its_own() {
    let round = masked_round();
    let verified = round.verify().unwrap();
    assert_eq!((verified.updates, verified.evaluations, verified.candidate), (3, 2, round.record.candidate));
}

#[test]
fn no_byte_of_a_masked_transcript_can_change() {
    let honest = masked_round().bytes();
    let mut bytes = honest.clone();
    for at in 0..honest.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(check(&bytes, None).is_err(), "byte {at}");
        bytes[at] = honest[at];
    }
    assert!(check(&bytes, None).is_ok());
}

/// Spoils one thing of what was masked before it is signed.
type MaskedLie = fn(&mut Masked, &mut [UpdateHeader]);

#[test]
fn each_lie_about_a_masked_sum_is_found_and_named() {
    let lies: [(&str, MaskedLie); 6] = [
        ("transcript-commitments", |masked, _| masked.sum[1] = 10),
        ("transcript-commitments", |masked, _| masked.blindings = vec![Element::from([1; 32])]),
        ("transcript-commitments", |_, headers| headers[0].masked = None),
        ("transcript-differs", |_, headers| headers[0].masked.as_mut().unwrap().plan = digest(b"other")),
        ("transcript-differs", |masked, _| {
            masked.survivors.delivered.insert(site("a"), Digest([1; 32]));
        }),
        ("transcript-differs", |masked, _| {
            masked.survivors.delivered.insert(site("d"), Digest([1; 32]));
        }),
    ];
    for (number, (code, lie)) in lies.into_iter().enumerate() {
        let mut round = masked_round();
        lie(round.masked.as_mut().unwrap(), &mut round.headers);
        let error = round.verify().unwrap_err();
        assert_eq!(shared::Explain::code(&error), code, "lie {number}: {error}");
    }
}

#[test]
fn a_candidate_that_does_not_follow_from_the_sum_is_found() {
    let mut round = masked_round();
    round.record.candidate = digest(b"other");
    round.evaluations.iter_mut().for_each(|evaluation| evaluation.candidate = digest(b"other"));
    assert_eq!(shared::Explain::code(&round.verify().unwrap_err()), "transcript-recomputed");
}
