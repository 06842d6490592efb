//! Wrong shares, and dealings that make none: the sum comes out from the good ones, who is to blame is convicted with a
//! proof that others can check, and nobody else is.

use coordinator::core::State;
use shared::RoundNumber;
use shared::document::SignedDocument;
use shared::masking::label::{Dealt, sealed_share};
use shared::masking::{Element, MaskedPart, Reveal, SEALED_SHARE_BYTES};
use shared::update::UpdateHeader;
use shared_crypto::digest;
use shared_crypto::masking::{AgreementPublic, Circle, RoundKey, SealedDealing, SecretScalar};
use shared_wire::Bytes;

use super::federation::{Federation, SITES, code, first, site};

/// A scalar that is on nobody's polynomial.
fn stray() -> Element {
    Element::from(*SecretScalar::random().unwrap().to_bytes())
}

fn standings(federation: &Federation) -> Vec<&'static str> {
    let quarantined = |name: &&str| federation.core.standing(&site(name)) == Some(State::Quarantined);
    SITES.into_iter().filter(quarantined).collect()
}

fn document(value: &serde_json::Value) -> SignedDocument {
    serde_json::from_value(value.clone()).unwrap()
}

/// The dealing in a proof, whose digest its dealer signed.
fn dealing_of(federation: &Federation, dealer: &str, proof: &serde_json::Value) -> (MaskedPart, SealedDealing) {
    let key = federation.sites[&site(dealer)].identity.public();
    let header: UpdateHeader = key.open(&document(&proof["dealer"])).unwrap();
    let masked = header.masked.unwrap();
    let bytes = hex::decode(proof["dealing"].as_str().unwrap()).unwrap();
    assert_eq!(digest(&bytes), masked.dealing, "the dealing that was signed for");
    (masked, SealedDealing::parse(&bytes, 5, 4).unwrap())
}

#[test]
fn a_wrong_share_convicts_who_revealed_it_and_the_sum_comes_out_from_the_others() {
    let mut federation = Federation::at("unmasking", &[]);
    let lie = federation.lie("a", |reveal| {
        reveal.shares.insert(site("b"), stray());
    });
    assert!(federation.core.reveal(&[(site("a"), lie)]).unwrap()[0].is_ok(), "nobody can see it yet");
    federation.finish();
    assert!(federation.core.record(&first()).unwrap().is_some());
    assert!(federation.candidate().as_slice().iter().all(|value| (value - 0.75).abs() < 2e-5));
    assert_eq!(standings(&federation), ["a"]);
    let proofs = federation.proofs();
    let [proof] = proofs.as_slice() else { panic!("{proofs:?}") };
    assert_eq!((&proof.participant_id, proof.what.as_str()), (&site("a"), "revealed a wrong share"));
    // Whoever has the roster sees it: the share that `a` signed is not on the polynomial that `b` signed.
    let (_, dealing) = dealing_of(&federation, "b", &proof.proof);
    let reveal: Reveal =
        federation.sites[&site("a")].identity.public().open(&document(&proof.proof["reveal"])).unwrap();
    let number =
        Circle::new(&federation.task.cohort, &federation.task_digest).share_number(&site("b"), &site("a")).unwrap();
    let share = SecretScalar::try_from(&reveal.shares[&site("b")]).unwrap();
    assert!(dealing.commitments().verify(number, &share).is_err());
}

#[test]
fn a_wrong_share_where_every_share_is_needed_voids_the_round_and_the_next_one_goes_without_its_site() {
    let mut federation = Federation::at("unmasking", &[]);
    // `e` has delivered and is not heard of any more: four shares are left, and all four are needed.
    federation.gone = [site("e")].into();
    let lie = federation.lie("a", |reveal| {
        reveal.shares.insert(site("b"), stray());
    });
    assert!(federation.core.reveal(&[(site("a"), lie)]).unwrap()[0].is_ok());
    while federation.round_id() == first() {
        federation.step();
    }
    assert!(federation.core.record(&first()).unwrap().is_none());
    // Three good shares of `b`'s secret and a wrong one: who of the two lied, nobody can tell without the secret.
    assert_eq!((standings(&federation), federation.proofs().len()), (Vec::new(), 0));
    assert!(federation.bed.events().iter().any(|event| format!("{event:?}").contains("masking-too-few-shares")));
    federation.gone.clear();
    federation.finish();
    assert!(federation.core.record(&first()).unwrap().is_none());
    let second = shared::RoundId { number: RoundNumber(2), ..first() };
    assert_eq!(federation.core.record(&second).unwrap().unwrap().accepted.len(), 5, "tried anew with fresh masks");
}

/// A round in which `b` seals garbage for `victims` in the dealing of its own mask's secret.
fn garbage(victims: &[&str]) -> Federation {
    let mut federation = Federation::at("collecting", &[]);
    while federation.sites[&site("b")].prepared.is_none() {
        federation.act("b").unwrap();
    }
    let circle = Circle::new(&federation.task.cohort, &federation.task_digest);
    let one = federation.one("b");
    let (open, _) = one.prepared.as_mut().unwrap();
    let mut dealing = open.dealing.to_vec();
    for victim in victims {
        let number = usize::try_from(circle.share_number(&site("b"), &site(victim)).unwrap()).unwrap();
        // The dealing's own key comes first, then each holder's ciphertext.
        dealing[32 + (number - 1) * 48] ^= 1;
    }
    let mut header: UpdateHeader = one.identity.public().open(&open.header).unwrap();
    header.masked.as_mut().unwrap().dealing = digest(&dealing);
    let header = one.identity.sign(&header).unwrap();
    (open.header, open.dealing) = (header.clone(), Bytes::from(dealing));
    one.header = Some(header);
    while federation.phase() != "unmasking" {
        federation.step();
    }
    federation
}

#[test]
fn a_dealer_that_seals_garbage_is_convicted_by_its_own_secret_and_its_victim_is_not() {
    let mut federation = garbage(&["a"]);
    let reveal = federation.reveal("a").unwrap();
    let reveal: Reveal = federation.sites[&site("a")].identity.public().open(&reveal).unwrap();
    assert_eq!(reveal.unopened, [site("b")].into());
    federation.finish();
    assert!(federation.core.record(&first()).unwrap().is_some());
    assert!(federation.candidate().as_slice().iter().all(|value| (value - 0.75).abs() < 2e-5));
    assert_eq!(standings(&federation), ["b"]);
    let proofs = federation.proofs();
    let [proof] = proofs.as_slice() else { panic!("{proofs:?}") };
    assert_eq!(proof.participant_id, site("b"));
    // Whoever has the roster sees it: the secret is the one that `b` signed for, and dealt anew it makes another dealing.
    let (masked, dealing) = dealing_of(&federation, "b", &proof.proof);
    let secret: Element = serde_json::from_value(proof.proof["secret"].clone()).unwrap();
    let secret = RoundKey::from_scalar(SecretScalar::try_from(&secret).unwrap());
    assert_eq!(Element::from(secret.public()), masked.self_mask);
    let roster = &federation.task.secure_aggregation.as_ref().unwrap().roster;
    let holder = |id| {
        let key = AgreementPublic::try_from(&roster[id].agreement).unwrap();
        (key, sealed_share(&first(), Dealt::SelfMask, &site("b"), id))
    };
    let holders: Vec<_> = federation.task.cohort.iter().map(holder).collect();
    assert_ne!(SealedDealing::deal(&secret, 4, &holders).unwrap(), dealing);
}

#[test]
fn a_dealer_whose_secret_nobody_can_put_together_is_convicted_by_numbers() {
    let mut federation = garbage(&["a", "c"]);
    while federation.round_id() == first() {
        federation.step();
    }
    assert!(federation.core.record(&first()).unwrap().is_none());
    assert_eq!(standings(&federation), ["b"]);
    let proofs = federation.proofs();
    assert_eq!(proofs[0].proof["reveals"].as_array().unwrap().len(), 2, "more than can all be wrong");
    federation.finish();
    let second = shared::RoundId { number: RoundNumber(2), ..first() };
    assert_eq!(federation.core.record(&second).unwrap().unwrap().accepted.len(), 4);
}

#[test]
fn who_says_falsely_that_a_share_does_not_open_is_convicted_and_the_dealer_is_not() {
    let mut federation = Federation::at("unmasking", &[]);
    let lie = federation.lie("a", |reveal| {
        reveal.shares.remove(&site("b"));
        reveal.unopened.insert(site("b"));
    });
    assert!(federation.core.reveal(&[(site("a"), lie)]).unwrap()[0].is_ok());
    federation.finish();
    assert!(federation.core.record(&first()).unwrap().is_some());
    assert_eq!(standings(&federation), ["a"]);
}

#[test]
fn shares_of_just_the_dealers_that_are_needed_are_taken() {
    let mut federation = Federation::at("unmasking", &["e"]);
    type Change = fn(&mut Reveal);
    let wrong: [(Change, &str); 6] = [
        (|reveal| reveal.shares.retain(|dealer, _| *dealer != site("c")), "masking-shares"),
        (|reveal| reveal.shares.extend([(site("stranger"), stray())]), "masking-shares"),
        (|reveal| reveal.unopened.extend([site("b")]), "masking-shares"),
        (|reveal| reveal.shares.clear(), "masking-shares"),
        (|reveal| reveal.shares.extend([(site("b"), Element::from([0xff; 32]))]), "crypto-scalar"),
        (|reveal| reveal.survivors = digest(b"other survivors"), "update-stale"),
    ];
    for (change, expected) in wrong {
        let lie = federation.lie("a", change);
        assert_eq!(code(federation.core.reveal(&[(site("a"), lie)]).unwrap().remove(0)), expected);
    }
    // Of who dropped, what is handed out are shares of its round key: its own mask was never dealt.
    let sealed = federation.core.sealed_shares(&site("a"), &super::federation::task_id()).unwrap();
    assert_eq!(sealed.iter().map(|share| share.dealer.clone()).collect::<Vec<_>>(), SITES.map(site));
    assert!(sealed.iter().all(|share| share.sealed.len() == SEALED_SHARE_BYTES));
    assert_eq!(standings(&federation), [""; 0], "a refusal at the door convicts nobody");
}

#[test]
fn who_dropped_reveals_nothing_and_is_handed_nothing_that_would_open_a_survivors_key() {
    let mut federation = Federation::at("unmasking", &["e"]);
    let honest = federation.reveal("a").unwrap();
    let mut reveal: Reveal = federation.sites[&site("a")].identity.public().open(&honest).unwrap();
    reveal.participant_id = site("e");
    let forged = federation.sites[&site("e")].identity.sign(&reveal).unwrap();
    assert_eq!(code(federation.core.reveal(&[(site("e"), forged)]).unwrap().remove(0)), "round-not-taking-part");
    let in_the_name_of_another = federation.sites[&site("b")].identity.sign(&reveal).unwrap();
    let refused = federation.core.reveal(&[(site("b"), in_the_name_of_another)]).unwrap().remove(0);
    assert_eq!(code(refused), "sender-mismatch");
}
