//! Drawn sites open their updates: an honest one shows nothing but its own, a lying one is found out and left out, and the
//! round goes on without it.

use coordinator::Outcome;
use coordinator::core::State;
use serde_json::{Value, json};
use shared::masking::{Element, OpenedUpdate};
use shared::round::{RoundEvent, RoundState};
use shared::{ParamVector, ParticipantId};

use super::federation::{Federation, SITES, code, first, site, task_id};

fn one_opens() -> Value {
    json!({"kind": "openings", "sites": 1})
}

/// Goes on until those who were drawn are to open, and who they are. Where it is nobody, the round goes on at once.
fn drawn(federation: &mut Federation) -> Vec<&'static str> {
    while ["announced", "collecting"].contains(&federation.phase()) {
        federation.step();
    }
    let RoundState::Opening(state) = &*federation.core.state(&task_id()).unwrap() else { return Vec::new() };
    SITES.into_iter().filter(|name| state.drawn.contains(&site(name))).collect()
}

/// A federation that was prepared like this and of whose sites one was drawn, and which. Each is by a lot of its own, with a
/// chance of one in five.
fn opening_of(prepare: impl Fn(&mut Federation)) -> (Federation, &'static str) {
    for _ in 0..200 {
        let mut federation = Federation::with(&one_opens());
        prepare(&mut federation);
        if let [drawn] = drawn(&mut federation)[..] {
            return (federation, drawn);
        }
    }
    panic!("never was one drawn alone")
}

fn opening() -> (Federation, &'static str) {
    opening_of(|_| {})
}

fn accepted(federation: &Federation) -> Vec<ParticipantId> {
    federation.core.record(&first()).unwrap().unwrap().accepted.into_keys().collect()
}

fn refused(federation: &mut Federation, name: &str, opened: shared::document::SignedDocument) -> &'static str {
    code(federation.core.open_update(&[(site(name), opened)]).unwrap().remove(0))
}

#[test]
fn a_round_goes_on_once_the_one_who_was_drawn_has_opened_and_everybody_counts() {
    let (mut federation, drawn) = opening();
    assert!(matches!(federation.finish(), Outcome::Released { .. }));
    assert_eq!(accepted(&federation).len(), 5);
    let opened = |event: &&RoundEvent| matches!(event, RoundEvent::Opened { participant_id, .. } if *participant_id == site(drawn));
    assert_eq!(federation.bed.events().iter().filter(opened).count(), 1);
    assert!(federation.proofs().is_empty());
    // The site forgets what opens its update as soon as it agrees.
    assert!(SITES.iter().all(|name| federation.sites[&site(name)].kept.masks(&first()).is_err()));
}

#[test]
fn who_was_not_drawn_opens_nothing_whatever_it_is_asked() {
    let (mut federation, drawn) = opening();
    let other = SITES.into_iter().find(|name| *name != drawn).unwrap();
    let documents = federation.documents(other, shared_wire::MaskingStage::Draw).unwrap();
    let plan = federation.documents(other, shared_wire::MaskingStage::Plan).unwrap();
    let documents = [documents, plan].concat();
    let (view, one) = (federation.view(other), &federation.sites[&site(other)]);
    let member = one.member(&federation.task, federation.task_digest);
    let header = one.header.as_ref().unwrap();
    let asked = member.open_once(&one.kept, &first(), view.checkpoint, header, &documents);
    assert_eq!(shared::Explain::code(&asked.unwrap_err()), "masking-not-drawn");
    // Nor does the coordinator take what nobody asked for.
    let honest = federation.opened(drawn).unwrap();
    let stranger: OpenedUpdate = federation.sites[&site(drawn)].identity.public().open(&honest).unwrap();
    let stranger = OpenedUpdate { participant_id: site(other), ..stranger };
    let stranger = federation.sites[&site(other)].identity.sign(&stranger).unwrap();
    assert_eq!(refused(&mut federation, other, stranger), "round-not-taking-part");
}

#[test]
fn who_opens_with_other_secrets_is_convicted_and_the_round_goes_on_without_it() {
    let (mut federation, drawn) = opening();
    let honest = federation.opened(drawn).unwrap();
    let one = &federation.sites[&site(drawn)];
    let mut lie: OpenedUpdate = one.identity.public().open(&honest).unwrap();
    lie.self_mask = Element::from([3; 32]);
    let lie = one.identity.sign(&lie).unwrap();
    assert_eq!(refused(&mut federation, drawn, lie.clone()), "masking-other-secrets");
    assert_eq!(federation.core.standing(&site(drawn)), Some(State::Quarantined));
    federation.finish();
    assert_eq!(accepted(&federation).len(), 4);
    assert!(!accepted(&federation).contains(&site(drawn)));
    assert_eq!(federation.proofs()[0].proof["opened"], serde_json::to_value(&lie).unwrap());
}

/// Why the one who is drawn of sites that prepared their updates like this is refused, and what is kept of it.
fn found_out(prepare: impl Fn(&mut Federation)) -> (&'static str, String) {
    let (mut federation, drawn) = opening_of(|federation| {
        federation.go_to("collecting", &[]);
        prepare(federation);
    });
    let opened = federation.opened(drawn).unwrap();
    let code = refused(&mut federation, drawn, opened);
    (code, federation.proofs()[0].what.clone())
}

#[test]
fn an_update_that_is_another_than_its_site_committed_to_is_found_out_where_the_lot_falls_on_it() {
    let (code, what) = found_out(|federation| {
        for name in SITES {
            while federation.sites[&site(name)].prepared.is_none() {
                federation.act(name).unwrap();
            }
            federation.one(name).change_words(|words| words[3] = words[3].wrapping_add(1));
        }
    });
    assert_eq!(code, "masking-other-update");
    assert!(what.contains("is not the one that it committed to"), "{what}");
}

#[test]
fn an_update_that_is_longer_than_the_task_allows_is_found_out_where_the_lot_falls_on_it() {
    let (code, what) = found_out(|federation| {
        // On the same grid, sites that lie clip to twice the norm.
        let terms = federation.task.secure_aggregation.as_mut().unwrap();
        (terms.clip_norm, terms.value_bits) = (20.0, 21);
        for name in SITES {
            federation.one(name).update = ParamVector::new(vec![5.0; 8]).unwrap();
        }
    });
    assert_eq!(code, "masking-too-long");
    assert!(what.contains("is 741455 steps of the grid long, where 524291 are allowed"), "{what}");
}

#[test]
fn who_does_not_open_in_time_drops_out_and_nobody_is_blamed() {
    let (mut federation, drawn) = opening();
    federation.gone = [site(drawn)].into();
    assert!(matches!(federation.finish(), Outcome::Released { .. }));
    assert_eq!(accepted(&federation).len(), 4);
    assert!(federation.proofs().is_empty());
    assert_eq!(federation.core.standing(&site(drawn)), Some(State::Approved));
}

#[test]
fn a_second_opening_in_other_words_is_equivocation() {
    let (mut federation, drawn) = opening();
    let honest = federation.opened(drawn).unwrap();
    assert!(federation.core.open_update(&[(site(drawn), honest.clone())]).unwrap()[0].is_ok());
    let one = &federation.sites[&site(drawn)];
    let mut other: OpenedUpdate = one.identity.public().open(&honest).unwrap();
    other.self_mask = Element::from([3; 32]);
    let other = one.identity.sign(&other).unwrap();
    assert_eq!(refused(&mut federation, drawn, other), "round-equivocation");
}
