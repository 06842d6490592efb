//! Sites prove what their hidden updates are: who is too long or points another way than the root has no weight, who proves
//! falsely is convicted, and the round goes on.

use coordinator::Outcome;
use coordinator::core::State;
use serde_json::{Value, json};
use shared::masking::NormClaim;
use shared::round::{AbortReason, RoundEvent};
use shared::{ParamVector, ParticipantId};
use shared_crypto::digest;
use shared_wire::{Bytes, ProofRequest};

use super::federation::{Federation, PARAMS, SITES, code, first, site};
use super::too_few::aborted;

fn proofs() -> Value {
    json!({"kind": "norm_proofs"})
}

fn proofs_beside(root: &str) -> Value {
    json!({"kind": "norm_proofs", "root": root})
}

fn accepted(federation: &Federation) -> Vec<ParticipantId> {
    federation.core.record(&first()).unwrap().unwrap().accepted.into_keys().collect()
}

fn all_but(name: &str) -> Vec<ParticipantId> {
    SITES.into_iter().filter(|other| *other != name).map(site).collect()
}

fn offered(federation: &mut Federation, name: &str, request: ProofRequest) -> Result<(), coordinator::Error> {
    federation.core.prove_update(&[(site(name), request)]).unwrap().remove(0)
}

/// The request of a site whose proof was changed, signed again.
fn resigned(federation: &Federation, name: &str, request: &ProofRequest, change: fn(&mut NormClaim)) -> ProofRequest {
    let one = &federation.sites[&site(name)];
    let mut said: NormClaim = one.identity.public().open(&request.said).unwrap();
    change(&mut said);
    ProofRequest { said: one.identity.sign(&said).unwrap(), proof: request.proof.clone() }
}

#[test]
fn a_round_goes_on_once_everybody_has_proven_and_everybody_counts() {
    for assurance in [proofs(), proofs_beside("c")] {
        let mut federation = Federation::with(&assurance);
        assert!(matches!(federation.finish(), Outcome::Released { .. }));
        assert_eq!(accepted(&federation).len(), 5);
        let proven = |event: &&RoundEvent| matches!(event, RoundEvent::Proven { .. });
        assert_eq!(federation.bed.events().iter().filter(proven).count(), 5);
        assert!(federation.proofs().is_empty());
        assert!(SITES.iter().all(|name| federation.sites[&site(name)].kept.masks(&first()).is_err()));
    }
}

#[test]
fn who_is_several_times_as_long_as_the_task_allows_has_no_weight_and_is_not_blamed() {
    let mut federation = Federation::with(&proofs());
    federation.go_to("collecting", &[]);
    // On the same grid as the others, e clips to four times the norm: its update is 2.8 times as long as theirs may be.
    let honest = federation.task.clone();
    let terms = federation.task.secure_aggregation.as_mut().unwrap();
    (terms.clip_norm, terms.value_bits) = (40.0, 18);
    federation.one("e").update = ParamVector::new(vec![9.99; PARAMS]).unwrap();
    while federation.sites[&site("e")].prepared.is_none() {
        federation.act("e").unwrap();
    }
    federation.task = honest;
    assert!(matches!(federation.finish(), Outcome::Released { .. }));
    assert_eq!(accepted(&federation), all_but("e"));
    assert!(federation.proofs().is_empty());
    assert_eq!(federation.core.standing(&site("e")), Some(State::Approved));
}

#[test]
fn who_points_another_way_than_the_root_has_no_weight() {
    let mut federation = Federation::with(&proofs_beside("a"));
    federation.go_to("collecting", &[]);
    federation.one("d").update = ParamVector::new(vec![-2.0; PARAMS]).unwrap();
    assert!(matches!(federation.finish(), Outcome::Released { .. }));
    assert_eq!(accepted(&federation), all_but("d"));
    assert!(federation.proofs().is_empty());
}

#[test]
fn a_proof_of_other_numbers_than_it_was_made_for_convicts_who_signed_it() {
    let lies: [fn(&mut NormClaim); 3] =
        [|said| said.squares += 1, |said| said.squares = 0, |said| said.inner = said.inner.map(|inner| inner + 1)];
    for lie in lies {
        let mut federation = Federation::with(&proofs_beside("a"));
        federation.go_to("proving", &[]);
        let honest = federation.proof("b").unwrap();
        let lied = resigned(&federation, "b", &honest, lie);
        assert_eq!(code(offered(&mut federation, "b", lied.clone())), "masking-unproven");
        assert_eq!(federation.core.standing(&site("b")), Some(State::Quarantined));
        assert!(matches!(federation.finish(), Outcome::Released { .. }));
        assert_eq!(accepted(&federation), all_but("b"));
        assert_eq!(federation.proofs()[0].proof["said"], serde_json::to_value(&lied.said).unwrap());
    }
}

#[test]
fn a_proof_is_of_the_update_that_was_delivered_by_who_delivered_it() {
    let mut federation = Federation::with(&proofs());
    federation.go_to("proving", &[]);
    let (of_b, of_c) = (federation.proof("b").unwrap(), federation.proof("c").unwrap());
    // c takes b's proof for its own.
    let stolen = resigned(&federation, "b", &of_b, |said| said.participant_id = site("c"));
    let said: NormClaim = federation.sites[&site("b")].identity.public().open(&stolen.said).unwrap();
    let said = federation.sites[&site("c")].identity.sign(&said).unwrap();
    assert_eq!(
        code(offered(&mut federation, "c", ProofRequest { said, proof: of_b.proof.clone() })),
        "masking-unproven"
    );
    // The bytes are those that were signed for.
    let swapped = ProofRequest { said: of_b.said, proof: of_c.proof };
    assert_eq!(code(offered(&mut federation, "b", swapped)), "update-stale");
}

#[test]
fn a_second_proof_in_other_words_is_equivocation() {
    let mut federation = Federation::with(&proofs());
    federation.go_to("proving", &[]);
    let honest = federation.proof("b").unwrap();
    offered(&mut federation, "b", honest.clone()).unwrap();
    // The same again is taken as it was.
    offered(&mut federation, "b", honest.clone()).unwrap();
    let other = Bytes::from_static(b"another proof");
    let mut changed = resigned(&federation, "b", &honest, |said| said.proof = digest(b"another proof"));
    changed.proof = other;
    assert_eq!(code(offered(&mut federation, "b", changed)), "round-equivocation");
}

#[test]
fn who_does_not_prove_in_time_drops_out() {
    let mut federation = Federation::with(&proofs());
    federation.go_to("proving", &[]);
    federation.gone = [site("b")].into();
    assert!(matches!(federation.finish(), Outcome::Released { .. }));
    assert_eq!(accepted(&federation), all_but("b"));
    assert!(federation.proofs().is_empty());
}

#[test]
fn no_round_goes_on_without_the_update_that_the_others_are_measured_by() {
    let mut federation = Federation::with(&proofs_beside("a"));
    federation.go_to("opening", &[]);
    federation.gone = [site("a")].into();
    assert_eq!(aborted(&mut federation), AbortReason::NoRoot { root: site("a") });
}

#[test]
fn what_was_prepared_is_proven_after_a_restart_in_the_same_words() {
    let mut federation = Federation::with(&proofs());
    federation.go_to("proving", &[]);
    assert_eq!(federation.proof("b").unwrap(), federation.proof("b").unwrap());
}
