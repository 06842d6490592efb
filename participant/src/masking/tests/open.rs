//! What a site opens, and what it is not to be talked into.

use shared::masking::{Assurance, Draw, OpenedUpdate};

use shared_crypto::masking::Lots;

use super::*;
use crate::masking::Secrets;

/// Five sites that have delivered in a task of which `sites` open.
fn delivered(sites: u32) -> Stage {
    let mut stage = Stage::new();
    stage.task.secure_aggregation.as_mut().unwrap().assurance = Assurance::Openings { sites };
    stage.deliver(&SITES);
    stage
}

fn draw(stage: &Stage) -> Draw {
    Draw { round_id: round(1), plan: document_digest(&stage.plan), beacon: Digest(BEACON) }
}

fn checked(stage: &Stage, name: &str, draw: &Draw) -> Result<Digest, SiteError> {
    let plan = stage.check_plan(name, &stage.plan_documents()).unwrap();
    stage.member(name).check_draw(&plan, stage.header(name), &stage.coordinator.sign(draw).unwrap())
}

#[test]
fn a_site_opens_where_the_lot_of_its_own_header_falls_on_it() {
    let stage = delivered(2);
    let lots = Lots::new(Digest(BEACON));
    for name in SITES {
        let answer = checked(&stage, name, &draw(&stage)).map(drop).map_err(|error| error.code());
        let is_drawn = lots.fall_on(document_digest(stage.header(name)), 2, 5);
        assert_eq!(answer, if is_drawn { Ok(()) } else { Err("masking-not-drawn") });
    }
}

#[test]
fn a_draw_of_another_round_or_plan_or_from_another_beacon_than_was_committed_to_opens_nothing() {
    let stage = delivered(5);
    assert!(checked(&stage, "a", &draw(&stage)).is_ok());
    let lies: [&dyn Fn(&mut Draw); 3] =
        [&|draw| draw.round_id = round(2), &|draw| draw.plan = digest(b"another plan"), &|draw| {
            draw.beacon = digest(b"one on which the lot falls")
        }];
    for lie in lies {
        let mut changed = draw(&stage);
        lie(&mut changed);
        assert_eq!(code(checked(&stage, "a", &changed)), "masking-differs");
    }
    let stranger = shared_crypto::SigningKey::generate().unwrap().sign(&draw(&stage)).unwrap();
    let plan = stage.check_plan("a", &stage.plan_documents()).unwrap();
    assert!(stage.member("a").check_draw(&plan, stage.header("a"), &stranger).is_err());
}

#[test]
fn nothing_is_opened_in_a_task_that_does_not_say_so() {
    let mut stage = delivered(5);
    stage.task.secure_aggregation.as_mut().unwrap().assurance = Assurance::None;
    assert_eq!(code(checked(&stage, "a", &draw(&stage))), "masking-not-asked");
    let root = Some(site("b"));
    stage.task.secure_aggregation.as_mut().unwrap().assurance = Assurance::NormProofs { root };
    assert_eq!(code(checked(&stage, "a", &draw(&stage))), "masking-not-drawn");
    assert!(checked(&stage, "b", &draw(&stage)).is_ok());
}

#[test]
fn what_opens_an_update_takes_just_its_own_masks_off() {
    let stage = delivered(5);
    let one = &stage.sites[&site("b")];
    let Secrets { round_key, self_mask } = &one.masked.as_ref().unwrap().0.secrets;
    let secrets = Secrets { round_key: round_key.clone(), self_mask: self_mask.clone() };
    let signed = stage.member("b").open_update(&round(1), digest(b"the draw"), &secrets).unwrap();
    let opened: OpenedUpdate = one.identity.public().open(&signed).unwrap();
    let round_key = shared_crypto::masking::RoundKey::from_scalar((&opened.round_key).try_into().unwrap());
    assert_eq!(round_key.public(), one.offer.key.public());
    let plan = stage.check_plan("b", &stage.plan_documents()).unwrap();
    let committed = stage.member("b").unmask(&plan, &secrets, &one.masked.as_ref().unwrap().0.payload).unwrap();
    let step = stage.task.secure_aggregation.as_ref().unwrap().step();
    let update = one.update.as_slice().iter().map(|value| f64::from(*value) / step);
    assert!(committed.values.iter().zip(update).all(|(value, expected)| (f64::from(*value) - expected).abs() <= 1.0));
}
