//! A whole masked round over memory, and what a coordinator or a site that breaks the protocol comes up against.

mod open;
mod restart;
mod shared_noise;
mod stage;

use std::collections::BTreeSet;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use shared::masking::{Element, MaskedSum, MaskingPlan, Reveal, Survivors};
use shared::update::UpdateHeader;
use shared::{Explain, ParamVector};
use shared_crypto::masking::{SealedDealing, blinding_from_sums};
use shared_crypto::{bulk_digest, digest, document_digest};

use super::*;
use crate::testing::round;
use stage::{BEACON, SITES, Stage, checkpoint, header, join, site};

/// Changes what the coordinator signs.
type Lie<'a, T> = (&'static str, &'a dyn Fn(&mut T));

fn code<T>(result: Result<T, SiteError>) -> &'static str {
    result.err().unwrap().code()
}

#[test]
fn the_sum_comes_out_whoever_dropped_and_every_site_can_check_it() {
    for dropped in [&[][..], &["c"]] {
        let mut stage = Stage::new();
        let delivered: Vec<&str> = SITES.into_iter().filter(|name| !dropped.contains(name)).collect();
        stage.deliver(&delivered);
        let survivors = stage.survivors();
        let reveals: Vec<Reveal> =
            delivered[..4].iter().map(|name| stage.reveal(name, &survivors, &delivered).unwrap()).collect();
        let mut words = stage.unmasked(&reveals, &survivors);
        let limbs = words.split_off(stage.task.update_len());
        let blinding = blinding_from_sums(limbs.as_slice().try_into().unwrap());
        let values: Vec<i32> = words.iter().map(|word| word.cast_signed()).collect();

        let terms = stage.task.secure_aggregation.as_ref().unwrap();
        let mean = terms.mean(&values, delivered.len());
        let expected = delivered.iter().map(|name| f64::from(stage.sites[&site(name)].update.as_slice()[0]));
        let expected = expected.sum::<f64>() / f64::from(u32::try_from(delivered.len()).unwrap());
        assert!(mean.iter().all(|value| (value - expected).abs() < terms.step()), "{} and {expected}", mean[0]);

        let sum: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let survivors_document = stage.coordinator.sign(&survivors).unwrap();
        let word = stage.coordinator.sign(&MaskedSum {
            round_id: round(1),
            survivors: document_digest(&survivors_document),
            sum: bulk_digest(&sum),
            blindings: vec![Element::from(*blinding.to_bytes())],
        });
        let headers = delivered.iter().map(|name| stage.header(name).clone());
        let documents: Vec<SignedDocument> =
            [word.unwrap(), survivors_document.clone()].into_iter().chain(headers).collect();
        let (member, plan) = (stage.member("a"), stage.plan_said());
        let announced = member
            .check_announced(&plan, (document_digest(&survivors_document), &BTreeSet::new()), &documents)
            .unwrap();
        let start = ParamVector::zeros(stage.task.model.param_count());
        let candidate = ParamVector::new(mean.iter().map(|value| to_f32(*value)).collect()).unwrap();
        let candidate = bulk_digest(&candidate.to_le_bytes());
        member.check_sum(&announced, &Sum { words: &sum, checkpoint: &start, candidate }).unwrap();
        let other = member.check_sum(&announced, &Sum { words: &sum, checkpoint: &start, candidate: checkpoint() });
        assert_eq!(code(other), "masking-differs");
        let changed = [&sum[1..], &[9]].concat();
        assert_eq!(
            code(member.check_sum(&announced, &Sum { words: &changed, checkpoint: &start, candidate })),
            "masking-differs"
        );
    }
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "rounded as the server's step rounds")]
fn to_f32(value: f64) -> f32 {
    value as f32
}

#[test]
fn a_sum_that_was_changed_after_it_was_committed_to_is_refused_even_when_it_is_signed() {
    let mut stage = Stage::new();
    stage.deliver(&SITES);
    let survivors = stage.survivors();
    let reveals: Vec<Reveal> = SITES[..4].iter().map(|name| stage.reveal(name, &survivors, &SITES).unwrap()).collect();
    let mut words = stage.unmasked(&reveals, &survivors);
    let limbs = words.split_off(stage.task.update_len());
    let blinding = blinding_from_sums(limbs.as_slice().try_into().unwrap());
    words[0] = words[0].wrapping_add(1);
    let sum: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let survivors_document = stage.coordinator.sign(&survivors).unwrap();
    let word = MaskedSum {
        round_id: round(1),
        survivors: document_digest(&survivors_document),
        sum: bulk_digest(&sum),
        blindings: vec![Element::from(*blinding.to_bytes())],
    };
    let word = stage.coordinator.sign(&word).unwrap();
    let headers = SITES.iter().map(|name| stage.header(name).clone());
    let documents: Vec<SignedDocument> = [word, survivors_document.clone()].into_iter().chain(headers).collect();
    let (member, plan) = (stage.member("a"), stage.plan_said());
    let announced =
        member.check_announced(&plan, (document_digest(&survivors_document), &BTreeSet::new()), &documents).unwrap();
    let start = ParamVector::zeros(stage.task.model.param_count());
    let changed = member.check_sum(&announced, &Sum { words: &sum, checkpoint: &start, candidate: checkpoint() });
    assert_eq!(code(changed), "masking-other-sum");
}

#[test]
fn a_header_counts_by_its_own_signature_or_by_its_sites_on_the_survivors() {
    let mut stage = Stage::new();
    stage.deliver(&SITES);
    let survivors = stage.coordinator.sign(&stage.survivors()).unwrap();
    let agreed = document_digest(&survivors);
    let word = MaskedSum { round_id: round(1), survivors: agreed, sum: digest(b"a sum"), blindings: Vec::new() };
    let mut documents = vec![stage.coordinator.sign(&word).unwrap(), survivors];
    documents.extend(SITES.iter().map(|name| stage.header(name).clone()));
    let check = |by: &[&str], documents: &[SignedDocument]| {
        let by = by.iter().copied().map(site).collect();
        stage.member("a").check_announced(&stage.plan_said(), (agreed, &by), documents).map(drop)
    };
    assert!(check(&[], &documents).is_ok());
    // The same header under another's signature, then another header under the right one.
    let header: UpdateHeader = shared::canonical::decode(documents[6].body.as_bytes()).unwrap();
    documents[6] = SigningKey::generate().unwrap().sign(&header).unwrap();
    assert_eq!(code(check(&["a", "b", "c", "d"], &documents)), "crypto-wrong-signer");
    assert!(check(&["a", "b", "c", "d", "e"], &documents).is_ok());
    let other = UpdateHeader { local_steps: 2, ..header };
    documents[6] = stage.sites[&site("e")].identity.sign(&other).unwrap();
    assert_eq!(code(check(&SITES, &documents)), "masking-differs");
}

#[test]
fn a_plan_that_was_replayed_or_changed_is_refused() {
    let stage = Stage::new();
    let good = stage.plan_said();
    let resigned = |change: &dyn Fn(&mut MaskingPlan)| {
        let mut plan = good.clone();
        change(&mut plan);
        let mut documents = stage.plan_documents();
        documents[0] = stage.coordinator.sign(&plan).unwrap();
        documents
    };
    assert!(stage.check_plan("a", &resigned(&|_| ())).is_ok());
    let cases: [Lie<'_, MaskingPlan>; 5] = [
        ("masking-differs", &|plan| plan.round_id = round(7)),
        ("masking-differs", &|plan| plan.task_digest = digest(b"with less noise")),
        ("masking-differs", &|plan| plan.checkpoint = digest(b"a model for this site alone")),
        ("masking-not-planned", &|plan| {
            plan.joined.insert(site("a"), digest(b"an older join"));
        }),
        ("masking-too-few", &|plan| plan.joined.retain(|id, _| ["a", "b", "c"].contains(&id.as_str()))),
    ];
    for (expected, change) in cases {
        assert_eq!(code(stage.check_plan("a", &resigned(change))), expected);
    }
    let mut stranger = stage.plan_documents();
    stranger[0] = SigningKey::generate().unwrap().sign(&good).unwrap();
    assert_eq!(code(stage.check_plan("a", &stranger)), "crypto-wrong-signer");
}

#[test]
fn a_key_that_its_site_did_not_sign_is_refused() {
    let stage = Stage::new();
    let mine = SigningKey::generate().unwrap();
    let victim = &stage.sites[&site("b")];
    let swapped = mine.sign(&join(&site("b"), stage.task_digest, Some(victim.offer.said.clone()))).unwrap();
    let mut plan = stage.plan_said();
    plan.joined.insert(site("b"), document_digest(&swapped));
    let mut documents = stage.plan_documents();
    documents[0] = stage.coordinator.sign(&plan).unwrap();
    documents[2] = swapped;
    assert_eq!(code(stage.check_plan("a", &documents)), "crypto-wrong-signer");
    documents.pop();
    assert_eq!(code(stage.check_plan("a", &documents)), "masking-count");
}

#[test]
fn sites_that_were_shown_different_models_make_a_sum_that_is_noise() {
    let mut stage = Stage::new();
    stage.deliver(&SITES[..4]);
    // The last site is shown a plan of its own, for another model.
    let honest = stage.plan.clone();
    let other = MaskingPlan { checkpoint: digest(b"another model"), ..stage.plan_said() };
    stage.plan = stage.coordinator.sign(&other).unwrap();
    let one = &stage.sites[&site("e")];
    let documents = stage.plan_documents();
    let plan = stage.member("e").check_plan(&round(1), other.checkpoint, &one.join, &documents).unwrap();
    let masked = stage.member("e").mask(&plan, &one.offer.key, &one.update, &mut ChaCha20Rng::from_seed([3; 32]));
    let masked = masked.unwrap();
    let signed = one.identity.sign(&header(&one.id, stage.task_digest, &masked)).unwrap();
    stage.sites.get_mut(&site("e")).unwrap().masked = Some((masked, signed));
    stage.plan = honest;
    let survivors = stage.survivors();
    let reveals: Vec<Reveal> = SITES[..4].iter().map(|name| stage.reveal(name, &survivors, &SITES).unwrap()).collect();
    let words = stage.unmasked(&reveals, &survivors);
    let limit = stage.task.secure_aggregation.as_ref().unwrap().limit() * 5;
    let sensible = words.iter().filter(|word| word.cast_signed().abs() <= limit).count();
    assert!(sensible < words.len() / 50, "{sensible} of {}", words.len());
}

#[test]
fn nobody_is_both_a_survivor_and_dropped() {
    let mut stage = Stage::new();
    stage.deliver(&SITES[..4]);
    let good = stage.survivors();
    assert!(stage.check_survivors("a", &good).is_ok());
    let cases: [Lie<'_, Survivors>; 6] = [
        ("masking-not-disjoint", &|set| {
            set.dropped.insert(site("b"));
        }),
        ("masking-not-disjoint", &|set| {
            set.dropped.remove(&site("e"));
        }),
        ("masking-not-disjoint", &|set| {
            set.dropped.insert(site("stranger"));
        }),
        ("masking-not-delivered", &|set| {
            set.delivered.insert(site("a"), digest(b"another update"));
        }),
        ("masking-differs", &|set| set.plan = digest(b"another plan")),
        ("masking-too-few", &|set| {
            set.delivered.retain(|id, _| ["a", "b", "c"].contains(&id.as_str()));
            set.dropped = BTreeSet::from(["d", "e"].map(site));
        }),
    ];
    for (expected, change) in cases {
        let mut changed = good.clone();
        change(&mut changed);
        assert_eq!(code(stage.check_survivors("a", &changed)), expected);
    }
    // More than two thirds, but not the quorum that the operator signed.
    stage.task.quorum = 5;
    assert_eq!(code(stage.check_survivors("a", &good)), "masking-too-few");
}

#[test]
fn nothing_is_revealed_before_more_than_two_thirds_have_signed_the_same_set() {
    let mut stage = Stage::new();
    stage.deliver(&SITES[..4]);
    let survivors = stage.survivors();
    assert!(stage.reveal("a", &survivors, &SITES[..4]).is_ok());
    assert_eq!(code(stage.reveal("a", &survivors, &SITES[..3])), "masking-too-few");
    assert_eq!(code(stage.reveal("a", &survivors, &["a", "b", "c", "c"])), "masking-too-few");
    // Two sets, each signed by some: neither gets enough.
    let other = Survivors { dropped: BTreeSet::from([site("d")]), ..survivors.clone() };
    let (digest, mut agreements) = stage.agreements(&survivors, &["a", "b", "c"]);
    agreements.extend(stage.agreements(&other, &["d"]).1);
    let split = stage.member("a").reveal((&survivors, digest), &agreements, &stage.sealed("a", &survivors));
    assert_eq!(code(split), "masking-differs");
}

#[test]
fn of_each_site_one_kind_of_secret_is_revealed_and_what_does_not_open_is_named() {
    let mut stage = Stage::new();
    stage.deliver(&SITES[..4]);
    let survivors = stage.survivors();
    let reveal = stage.reveal("a", &survivors, &SITES[..4]).unwrap();
    assert_eq!(reveal.shares.len(), 5);
    assert!(reveal.unopened.is_empty());
    let (digest, agreements) = stage.agreements(&survivors, &SITES[..4]);
    let mut sealed = stage.sealed("a", &survivors);
    // The share of the wrong secret does not open: it was sealed for another purpose. Nothing that would open it is shown.
    let own = SealedDealing::parse(&stage.sites[&site("b")].offer.dealing, 5, 4).unwrap();
    sealed[1].sealed = own.sealed(1).unwrap();
    let revealed = stage.member("a").reveal((&survivors, digest), &agreements, &sealed).unwrap();
    assert_eq!(revealed.agreed, SITES[..4].iter().copied().map(site).collect());
    let reveal: Reveal = stage.sites[&site("a")].identity.public().open(&revealed.said).unwrap();
    assert_eq!(reveal.unopened.iter().collect::<Vec<_>>(), [&site("b")]);
    assert!(!reveal.shares.contains_key(&site("b")));
}
