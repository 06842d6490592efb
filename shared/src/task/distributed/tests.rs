//! What each refusal names, and that the parts of as many honest sites as must be there make up the noise of the whole.

use proptest::prelude::*;

use super::*;
use crate::masking::{Assurance, threshold};
use crate::privacy::{Mechanism, PrivacyUnit};
use crate::task::AdaptiveClip;

fn task(sites: usize, noise_multiplier: f64) -> Task {
    let cohort: Vec<String> = (0..sites).map(|site| format!("site-{site}")).collect();
    serde_json::from_value(serde_json::json!({
        "task_id": "t", "title": "a task", "cohort": cohort, "quorum": threshold(sites), "rounds": 4, "seed": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "feature_view": {"name": "view", "version": 1, "digest": "0".repeat(64)},
        "model": {"inputs": 99, "hidden": []},
        "recipe": {"local_steps": 1, "sampling_rate": 1.0, "learning_rate": 2.0, "momentum": 0.0, "clip_norm": 1.0,
                   "mechanism": {"kind": "distributed_gaussian", "records_per_site": 500},
                   "noise_multiplier": noise_multiplier},
        "privacy": {"unit": "record", "ceiling": {"epsilon": 3.0, "delta": 1e-5}, "evaluation_rho": 0.1},
        "secure_aggregation": {"clip_norm": 32.0, "value_bits": 22},
        "deadlines": {"join_ms": 1, "collect_ms": 1, "evaluate_ms": 1},
        "gates": {"min_true_positive_rate": 0.0, "max_false_positive_rate": 1.0}
    }))
    .unwrap()
}

fn share(task: &Task) -> NoiseShare {
    task.noise_share().unwrap().unwrap()
}

/// Spoils a task.
type Spoil = fn(&mut Task);

#[test]
fn whatever_would_make_the_parts_add_up_to_less_is_refused_by_name() {
    assert_eq!(task(20, 40.0).validate(), Ok(()));
    let cases: [(&str, Spoil); 13] = [
        ("secure_aggregation", |task| task.secure_aggregation = None),
        ("secure_aggregation.assurance", |task| assure(task, Assurance::Openings { sites: 2 })),
        ("secure_aggregation.assurance", |task| {
            assure(task, Assurance::NormProofs { root: None });
            task.secure_aggregation.as_mut().unwrap().value_bits = 16;
        }),
        ("recipe.local_steps", |task| task.recipe.local_steps = 2),
        ("recipe.sampling_rate", |task| task.recipe.sampling_rate = 0.5),
        ("recipe.momentum", |task| task.recipe.momentum = 0.5),
        ("recipe.adaptive_clip", |task| {
            task.recipe.adaptive_clip = Some(AdaptiveClip { quantile: 0.5, learning_rate: 0.2, count_std: 1e3 });
        }),
        ("recipe.local", |task| task.recipe.local = LocalTraining::FedProx { mu: 0.1 }),
        ("recipe.noise_multiplier", |task| task.recipe.noise_multiplier = None),
        ("recipe.mechanism.records_per_site", |task| {
            task.recipe.mechanism = TrainingMechanism::DistributedGaussian { records_per_site: 0 };
        }),
        // A grid too coarse for the noise to be smooth, and one too narrow for its tails.
        ("secure_aggregation", |task| task.secure_aggregation.as_mut().unwrap().clip_norm = 1e3),
        ("secure_aggregation", |task| task.secure_aggregation.as_mut().unwrap().value_bits = 16),
        ("secure_aggregation", |task| task.recipe.noise_multiplier = Some(1e4)),
    ];
    for (field, spoil) in cases {
        let mut spoilt = task(20, 40.0);
        spoil(&mut spoilt);
        assert_eq!(spoilt.validate().unwrap_err().field, field);
    }
    assert_eq!(task(130, 40.0).validate().unwrap_err().field, "cohort");
    assert_eq!(task(129, 80.0).validate(), Ok(()));
}

fn assure(task: &mut Task, assurance: Assurance) {
    task.secure_aggregation = task.secure_aggregation.take().map(|terms| SecureAggregation { assurance, ..terms });
}

#[test]
fn a_part_is_what_the_hand_computes() {
    let share = share(&task(20, 40.0));
    // A gradient of norm 1 moves the update by 2 / 500, of a grid whose step is 32 / 2^21.
    let moved = 2.0 / 500.0 * f64::from(1 << 16);
    assert!((share.scale() + moved).abs() < 1e-9, "{share:?}");
    assert!((share.sensitivity() / (moved + 100_f64.sqrt()) - 1.0).abs() < 1.0 / 500.0, "{share:?}");
    assert_eq!((share.honest(), share.radius(), share.limit()), (8, f64::from(1 << 20), 1 << 21));
}

#[test]
fn a_round_costs_what_zero_concentration_says_of_the_whole_noise_and_entities_pay_by_noise() {
    let by_record = task(20, 4.0);
    let Some(Mechanism::ZeroConcentrated { rho }) = by_record.recipe.cost_per_round() else { panic!() };
    assert!((1.0 / 32.0..1.0 / 32.0 + 1e-15).contains(&rho), "{rho}");
    assert_eq!(by_record.cost().unwrap().len(), 8);
    let mut by_entity = task(20, 40.0);
    by_entity.privacy.unit = PrivacyUnit::Entity { max_records: 3 };
    assert_eq!(by_entity.validate(), Ok(()));
    let (one, three) = (share(&task(20, 40.0)), share(&by_entity));
    let added = 2.0 * 2.0 / 500.0 * f64::from(1 << 16);
    assert!(three.sensitivity() >= one.sensitivity() + added, "{three:?}");
}

#[test]
fn a_task_without_distributed_noise_has_no_parts() {
    let mut plain = task(20, 40.0);
    plain.recipe.mechanism = TrainingMechanism::default();
    assert_eq!(plain.noise_share(), Ok(None));
}

proptest! {
    #[test]
    fn the_parts_of_the_fewest_honest_sites_are_the_whole_noise(
        sites in 3_usize..=129, more in 0_u32..43, noise_multiplier in 20.0..200.0_f64, rate in 0.1..8.0_f64
    ) {
        let mut task = task(sites, noise_multiplier);
        task.recipe.learning_rate = rate;
        task.quorum = (task.quorum + more).min(u32::try_from(sites).unwrap());
        if let Ok(share) = task.noise_share() {
            let share = share.unwrap();
            let corrupt = u32::try_from((sites - 1) / 3).unwrap().max(1);
            prop_assert_eq!(share.honest(), task.quorum - corrupt);
            let whole = share.std_dev() * f64::from(share.honest()).sqrt();
            let moved = rate * f64::from(1 << 16) / 500.0 + 10.0;
            prop_assert!(whole >= noise_multiplier * moved, "{:?}", share);
            prop_assert!(share.std_dev() >= MIN_STD_DEV && 80.0 * share.std_dev() <= f64::from(share.limit()));
        }
    }
}
