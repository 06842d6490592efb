//! Too few survivors: nobody learns the sum, and the next round begins with other keys and another debit at every site.

use coordinator::Outcome;
use shared::masking::threshold;
use shared::round::{AbortReason, RoundState};
use shared::{RoundId, RoundNumber};
use shared_wire::MaskingStage;

use super::federation::{Federation, SITES, code, first, site, task_id};

/// Runs the round to its end without a result: why it ended. The next one is not announced yet.
pub(super) fn aborted(federation: &mut Federation) -> AbortReason {
    // Who is there does its part; sites do nothing in a task that is paused.
    (0..4).for_each(|_| federation.step());
    federation.core.pause(&task_id()).unwrap();
    while federation.phase() != "aborted" {
        federation.step();
    }
    match &*federation.core.state(&task_id()).unwrap() {
        RoundState::Aborted(state) => state.reason.clone(),
        state => panic!("{state:?}"),
    }
}

#[test]
fn a_round_with_too_few_agreements_or_reveals_stays_masked_and_is_tried_with_fresh_keys_and_a_new_debit() {
    for phase in ["agreeing", "unmasking"] {
        let mut federation = Federation::at(phase, &[]);
        let before: Vec<_> = SITES.iter().map(|name| federation.join_request(name)).collect();
        let plan = federation.documents("a", MaskingStage::Plan).unwrap().remove(0);
        federation.gone = ["d", "e"].map(site).into();
        let reason = aborted(&mut federation);
        assert_eq!(reason, AbortReason::StaysMasked { present: 3, needed: 4 }, "{phase}");
        assert_eq!(threshold(SITES.len()), 4);
        assert!(federation.core.record(&first()).unwrap().is_none());
        assert_eq!(code(federation.core.masking_documents(&site("a"), &first(), MaskingStage::Sum)), "round-unknown");

        federation.gone.clear();
        federation.core.resume(&task_id()).unwrap();
        federation.pass(1);
        let after: Vec<_> = SITES.iter().map(|name| federation.join_request(name)).collect();
        for (before, after) in before.iter().zip(&after) {
            assert!(before.join != after.join && before.dealing != after.dealing, "another round, another key");
        }
        assert!(matches!(federation.finish(), Outcome::Released { .. }));
        assert_ne!(federation.documents("a", MaskingStage::Plan).unwrap().remove(0), plan);
        let second = RoundId { number: RoundNumber(2), ..first() };
        assert_eq!(federation.core.record(&second).unwrap().unwrap().accepted.len(), 5);
        // Each try was paid for.
        for one in federation.sites.values() {
            assert_eq!(one.debits, [RoundNumber(1), RoundNumber(2)], "{} {phase}", one.id);
        }
    }
}

#[test]
fn a_round_that_too_few_join_or_deliver_in_has_no_quorum_and_reveals_nothing() {
    let mut federation = Federation::at("collecting", &["d", "e"]);
    assert_eq!(aborted(&mut federation), AbortReason::NoQuorum { present: 3, needed: 4 });
    let late = federation.core.masking_documents(&site("a"), &first(), MaskingStage::Survivors);
    assert_eq!(code(late), "round-unknown");
}
