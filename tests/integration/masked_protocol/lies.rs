//! Sites that join, deliver, agree or reveal otherwise than they should: refused by name, and what they signed twice in
//! different words is kept.

use coordinator::core::{Opening, State};
use shared::masking::MaskingOffer;
use shared::round::{AbortReason, RoundEvent};
use shared::update::{Join, UpdateHeader};
use shared::{Digest, ParamVector};
use shared_crypto::{ChunkDigests, SigningKey, digest};
use shared_wire::{Bytes, JoinRequest, MaskingStage};

use super::federation::{Federation, SITES, code, first, site, task_id};

fn join(federation: &mut Federation, request: JoinRequest) -> &'static str {
    code(federation.core.join(&[(site("a"), request)]).unwrap().remove(0))
}

/// What `a` joins with, changed and signed again.
fn changed_join(federation: &Federation, change: impl FnOnce(&mut Join)) -> JoinRequest {
    let (one, request) = (&federation.sites[&site("a")], federation.join_request("a"));
    let mut join: Join = one.identity.public().open(&request.join).unwrap();
    change(&mut join);
    JoinRequest { join: one.identity.sign(&join).unwrap(), ..request }
}

#[test]
fn a_join_whose_dealing_is_missing_or_another_is_refused() {
    let mut federation = Federation::new();
    let bare = changed_join(&federation, |join| join.masking = None);
    assert_eq!(join(&mut federation, bare), "masking-missing");
    let empty = JoinRequest { dealing: Bytes::new(), ..federation.join_request("a") };
    assert_eq!(join(&mut federation, empty), "update-stale");
    let other = federation.join_request("b").dealing;
    let mismatched = JoinRequest { dealing: other.clone(), ..federation.join_request("a") };
    assert_eq!(join(&mut federation, mismatched), "update-stale");
    // A dealing that is signed for, of another secret than the key's.
    let offer = |join: &mut Join| {
        let said = join.masking.take().unwrap();
        join.masking = Some(MaskingOffer { dealing: digest(&other), ..said });
    };
    let foreign = JoinRequest { dealing: other.clone(), ..changed_join(&federation, offer) };
    assert_eq!(join(&mut federation, foreign), "update-stale");
    assert_eq!(federation.phase(), "announced");
    assert!(!federation.view("a").caller_joined);
}

#[test]
fn a_key_that_the_roster_does_not_have_is_refused_at_the_join() {
    let mut federation = Federation::new();
    // The site enrolled anew after the task was made: nobody else in the round would take what it signs.
    let identity = SigningKey::generate().unwrap();
    let agreement = federation.sites[&site("a")].keys().agreement;
    federation.core.vouch(&site("a"), identity.public(), agreement).unwrap();
    federation.one("a").identity = identity;
    let request = federation.join_request("a");
    assert_eq!(join(&mut federation, request), "masking-not-in-roster");
}

#[test]
fn two_different_joins_of_one_round_quarantine_their_site_and_are_kept() {
    let mut federation = Federation::new();
    let first_join = federation.join_request("a");
    assert!(federation.core.join(&[(site("a"), first_join.clone())]).unwrap()[0].is_ok());
    assert!(federation.core.join(&[(site("a"), first_join.clone())]).unwrap()[0].is_ok(), "the same again");
    let one = &federation.sites[&site("a")];
    let offer = one.member(&federation.task, federation.task_digest).offer(&first()).unwrap();
    let second = changed_join(&federation, |join| join.masking = Some(offer.said.clone()));
    let second = JoinRequest { dealing: Bytes::from(offer.dealing), ..second };
    assert_eq!(join(&mut federation, second.clone()), "round-equivocation");
    assert_eq!(federation.core.standing(&site("a")), Some(State::Quarantined));
    let proofs = federation.proofs();
    assert_eq!((proofs.len(), &proofs[0].participant_id), (1, &site("a")));
    assert_eq!(proofs[0].proof["second"], serde_json::to_value(&second.join).unwrap());
    assert_eq!(proofs[0].proof["before"][0], serde_json::to_value(&first_join.join).unwrap());
}

#[test]
fn a_second_agreement_or_reveal_in_other_words_is_refused_and_kept() {
    let mut federation = Federation::at("agreeing", &[]);
    let other = federation.other_agreement("a");
    assert_eq!(code(federation.core.agree(&[(site("a"), other.clone())]).unwrap().remove(0)), "update-stale");
    federation.act("a").unwrap();
    assert_eq!(code(federation.core.agree(&[(site("a"), other.clone())]).unwrap().remove(0)), "round-equivocation");
    assert_eq!(federation.proofs()[0].proof["second"], serde_json::to_value(&other).unwrap());

    let mut federation = Federation::at("unmasking", &[]);
    let honest = federation.reveal("a").unwrap();
    let other = federation.lie("a", |reveal| reveal.shares.extend([(site("b"), reveal.shares[&site("c")])]));
    assert!(federation.core.reveal(&[(site("a"), honest.clone())]).unwrap()[0].is_ok());
    assert_eq!(code(federation.core.reveal(&[(site("a"), other.clone())]).unwrap().remove(0)), "round-equivocation");
    assert_eq!(federation.core.standing(&site("a")), Some(State::Quarantined));
    let proofs = federation.proofs();
    assert_eq!(proofs[0].proof["second"], serde_json::to_value(&other).unwrap());
    let before = proofs[0].proof["before"].as_array().unwrap();
    assert!(before.contains(&serde_json::to_value(&honest).unwrap()));
    // The first word counts, and only it.
    federation.finish();
    let revealed = |event: &&RoundEvent| matches!(event, RoundEvent::Revealed { participant_id, .. } if *participant_id == site("a"));
    assert_eq!(federation.bed.events().iter().filter(revealed).count(), 1);
    assert!(federation.core.record(&first()).unwrap().is_some());
}

#[test]
fn what_comes_after_its_phase_is_refused_as_late_and_not_as_wrong() {
    let mut federation = Federation::at("agreeing", &["e"]);
    let late = federation.agreement("d").unwrap();
    let gone = federation.other_agreement("e");
    assert_eq!(code(federation.core.agree(&[(site("e"), gone)]).unwrap().remove(0)), "round-not-taking-part");
    assert_eq!(code(federation.core.sealed_shares(&site("a"), &task_id())), "round-wrong-phase");
    while federation.phase() == "agreeing" {
        federation.step();
    }
    assert_eq!(code(federation.core.agree(&[(site("d"), late)]).unwrap().remove(0)), "round-wrong-phase");
    let late = federation.reveal("d").unwrap();
    while federation.phase() == "unmasking" {
        federation.step();
    }
    assert_eq!(federation.phase(), "aggregated");
    assert_eq!(code(federation.core.reveal(&[(site("d"), late)]).unwrap().remove(0)), "round-wrong-phase");
}

/// The round in which `e` delivers something else than it committed to: why it ended.
fn voided(change: impl FnOnce(&mut [u32])) -> AbortReason {
    let mut federation = Federation::at("collecting", &[]);
    while federation.sites[&site("e")].prepared.is_none() && federation.sites[&site("e")].held.params.is_empty() {
        federation.act("e").unwrap();
    }
    federation.act("e").unwrap();
    federation.one("e").change_words(change);
    while federation.round_id() == first() {
        federation.step();
    }
    let aborted = federation.abort_reason();
    assert!(federation.core.record(&first()).unwrap().is_none(), "a void round has no record");
    assert_eq!(code(federation.core.masking_documents(&site("a"), &first(), MaskingStage::Sum)), "round-unknown");
    // Nobody can tell yet whose update it was, and nobody is blamed.
    assert!(federation.proofs().is_empty());
    assert!(SITES.iter().all(|name| federation.core.standing(&site(name)) == Some(State::Approved)));
    aborted.expect("an aborted round")
}

#[test]
fn an_update_that_overflows_or_is_not_the_one_committed_to_voids_its_round() {
    let AbortReason::AggregateFailed { reason } = voided(|words| words[0] = words[0].wrapping_add(1 << 30)) else {
        panic!()
    };
    assert!(reason.ends_with("[masking-out-of-range]") && reason.starts_with("word 0 of the sum"), "{reason}");
    let AbortReason::AggregateFailed { reason } = voided(|words| words[3] = words[3].wrapping_add(1)) else { panic!() };
    assert!(reason.ends_with("[masking-commitments]"), "{reason}");
}

#[test]
fn two_masked_updates_of_one_round_drop_their_site_out_and_the_others_go_on() {
    let mut federation = Federation::at("collecting", &[]);
    while federation.sites[&site("e")].held.delivered.is_none() {
        federation.act("e").unwrap();
    }
    // The same masks once more, on other words: the round key is used up, so that only a site that lies can do it.
    let header: UpdateHeader = federation.sites[&site("e")]
        .identity
        .public()
        .open(federation.sites[&site("e")].header.as_ref().unwrap())
        .unwrap();
    let payload = vec![7; usize::try_from(header.byte_count).unwrap()];
    let digests = ChunkDigests::of(&payload);
    let header = UpdateHeader { payload: digests.payload(), ..header };
    let header = federation.sites[&site("e")].identity.sign(&header).unwrap();
    let open = shared_wire::UpdateOpen {
        header: header.clone(),
        chunk_digests: digests.as_slice().to_vec(),
        dealing: Bytes::new(),
    };
    let refused = federation.core.open_upload(&site("e"), &open).map(|opening| matches!(opening, Opening::Receipt(_)));
    assert_eq!(code(refused), "round-equivocation");
    federation.gone = [site("e")].into();
    federation.finish();
    let record = federation.core.record(&first()).unwrap().unwrap();
    assert_eq!(record.accepted.keys().cloned().collect::<Vec<_>>(), ["a", "b", "c", "d"].map(site));
    assert_eq!(federation.proofs()[0].proof["second"], serde_json::to_value(&header).unwrap());
    // Its mask was taken off with its round key, which nobody else's reveal gave away beside its own mask's secret.
    let expected = ParamVector::new(vec![0.625; 8]).unwrap();
    let differs = federation.candidate().as_slice().iter().zip(expected.as_slice()).any(|(a, b)| (a - b).abs() > 2e-5);
    assert!(!differs);
}

#[test]
fn an_update_for_another_plan_or_without_its_dealing_is_refused() {
    let mut federation = Federation::at("collecting", &[]);
    while federation.sites[&site("e")].prepared.is_none() {
        federation.act("e").unwrap();
    }
    let one = &federation.sites[&site("e")];
    let (open, _) = one.prepared.clone().unwrap();
    let header: UpdateHeader = one.identity.public().open(&open.header).unwrap();
    let mut other = header.clone();
    other.masked.as_mut().unwrap().plan = Digest([8; 32]);
    let other = shared_wire::UpdateOpen { header: one.identity.sign(&other).unwrap(), ..open.clone() };
    let bare = shared_wire::UpdateOpen { dealing: Bytes::new(), ..open.clone() };
    let plain = UpdateHeader { masked: None, ..header };
    let plain = shared_wire::UpdateOpen { header: one.identity.sign(&plain).unwrap(), ..open };
    let mut refused = |open| code(federation.core.open_upload(&site("e"), &open).map(drop));
    assert_eq!([refused(other), refused(bare), refused(plain)], ["update-stale", "update-stale", "masking-missing"]);
}
