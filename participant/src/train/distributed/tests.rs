//! One unit moves what is rounded by no more than the task's noise is sized for, whatever the others hold.

use proptest::prelude::*;
use rand_chacha::rand_core::SeedableRng;
use shared::ParamVector;
use shared::privacy::PrivacyUnit;
use shared::task::{ModelSpec, Task};

use super::*;
use crate::testing::shared_noise_task;
use crate::train::Dataset;

const INPUTS: u32 = 3;

fn task(unit: PrivacyUnit, learning_rate: f64) -> Task {
    let mut task = shared_noise_task(&["a", "b", "c", "d"]);
    task.model = ModelSpec { inputs: INPUTS, hidden: vec![4] };
    task.recipe.learning_rate = learning_rate;
    task.recipe.noise_multiplier = Some(2.0);
    task.privacy.unit = unit;
    task
}

/// What a site with these records brings, each with the entity that it belongs to.
fn on_grid(task: &Task, share: &NoiseShare, records: &[([f32; 3], bool, u64)], params: f32) -> Vec<i64> {
    let mut dataset = Dataset::new(3);
    for (row, attack, entity) in records {
        dataset.push(row, attack.then_some("attack"), *entity).unwrap();
    }
    let params: Vec<f32> =
        (0..task.model.param_count()).map(|n| params * if n % 2 == 0 { 1.0 } else { -0.7 }).collect();
    let checkpoint = Model::new(&task.model, &ParamVector::new(params).unwrap()).unwrap();
    let (dataset, recipe, unit) = (&dataset, &task.recipe, task.privacy.unit);
    let round = LocalRound { checkpoint: &checkpoint, dataset, recipe, unit, linear: None };
    round.on_grid(share, &mut ChaCha20Rng::from_seed([1; 32]), &mut |_| true).unwrap().unwrap()
}

fn distance(left: &[i64], right: &[i64]) -> f64 {
    let square = |(left, right): (&i64, &i64)| f64::from(i32::try_from(left - right).unwrap()).powi(2);
    left.iter().zip(right).map(square).sum::<f64>().sqrt()
}

fn row() -> impl Strategy<Value = [f32; 3]> {
    prop_oneof![prop::array::uniform3(-3.0_f32..3.0), prop::array::uniform3(-1e4_f32..1e4)]
}

fn records(most: usize) -> impl Strategy<Value = Vec<([f32; 3], bool, u64)>> {
    prop::collection::vec((row(), any::<bool>(), 0_u64..9), 0..most)
}

proptest! {
    #[test]
    fn a_record_more_moves_the_update_by_no_more_than_the_sensitivity(
        others in records(200), record in (row(), any::<bool>(), Just(9)),
        // With the largest of them sums reach the ball's edge.
        rate in 0.1..0.5_f64, params in -2.0..2.0_f32
    ) {
        let task = task(PrivacyUnit::Record, rate);
        let share = task.noise_share().unwrap().unwrap();
        let without = on_grid(&task, &share, &others, params);
        let with = on_grid(&task, &share, &[others, vec![record]].concat(), params);
        prop_assert!(distance(&with, &without) <= share.sensitivity(), "{} of {share:?}", distance(&with, &without));
        prop_assert!(distance(&with, &vec![0; with.len()]) <= share.radius() + share.sensitivity());
    }

    #[test]
    fn an_entity_more_moves_the_update_by_no_more_than_the_sensitivity(
        others in records(60), own in prop::collection::vec((row(), any::<bool>(), Just(9)), 1..12), params in -2.0..2.0_f32
    ) {
        let task = task(PrivacyUnit::Entity { max_records: 3 }, 0.05);
        let share = task.noise_share().unwrap().unwrap();
        let without = on_grid(&task, &share, &others, params);
        let with = on_grid(&task, &share, &[others, own].concat(), params);
        prop_assert!(distance(&with, &without) <= share.sensitivity(), "{} of {share:?}", distance(&with, &without));
    }
}

#[test]
fn a_record_of_the_largest_gradient_moves_the_update_nearly_as_far_as_is_accounted_for() {
    let task = task(PrivacyUnit::Record, 0.1);
    let share = task.noise_share().unwrap().unwrap();
    let with = on_grid(&task, &share, &[([1e4; 3], true, 0)], 0.0);
    let moved = distance(&with, &vec![0; with.len()]);
    assert!(moved > 0.98 * share.sensitivity() && moved <= share.sensitivity(), "{moved} of {share:?}");
}

#[test]
fn a_long_update_is_brought_into_its_half_of_the_ring_and_keeps_its_direction() {
    let task = task(PrivacyUnit::Record, 0.1);
    let share = task.noise_share().unwrap().unwrap();
    let (short, long) = (rounded(&[3.0, -4.0], &share), rounded(&[3e6, -4e6], &share));
    assert_eq!(long, [-629_146, 838_861]);
    assert_eq!(short, [-7_864, 10_486]);
    assert_eq!(rounded(&[0.0; 4], &share), [0; 4], "no record, no update");
}

#[test]
fn training_ends_when_it_is_told_to() {
    let task = task(PrivacyUnit::Record, 0.1);
    let share = task.noise_share().unwrap().unwrap();
    let checkpoint = Model::new(&task.model, &ParamVector::zeros(task.model.param_count())).unwrap();
    let mut dataset = Dataset::new(3);
    (0..200).for_each(|_| dataset.push(&[1.0; 3], None, 0).unwrap());
    let (dataset, recipe, unit) = (&dataset, &task.recipe, PrivacyUnit::Record);
    let round = LocalRound { checkpoint: &checkpoint, dataset, recipe, unit, linear: None };
    let mut asked = 0;
    let mut going_on = |_: u32| {
        asked += 1;
        asked < 3
    };
    assert_eq!(round.on_grid(&share, &mut ChaCha20Rng::from_seed([1; 32]), &mut going_on).unwrap(), None);
    assert_eq!(asked, 3);
}
