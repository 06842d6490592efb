//! Rounds in which the sites share the noise: the sum carries what the task promises, a site takes part only where it
//! agreed to that, and its debit comes before anything is drawn.

use shared::privacy::Mechanism;
use shared::task::ModelSpec;
use shared_model::{Model, initial_params};

use super::restart::{Rest, updates};
use super::*;
use crate::config::Config;
use crate::testing::{Lone, records, shared_noise_task};
use crate::train::LocalRound;
use crate::train::distributed::noised;

/// A task for a model large enough to tell a deviation from its entries.
fn large() -> Task {
    let base = shared_noise_task(&SITES);
    Task { model: ModelSpec { hidden: vec![32], ..base.model }, ..base }
}

/// What every site brings to the grid from the same records, before its noise.
fn on_grid(task: &Task) -> Vec<i64> {
    let records = records();
    let checkpoint = Model::new(&task.model, &initial_params(&task.model, 1)).unwrap();
    let (dataset, recipe, unit) = (&records.train, &task.recipe, task.privacy.unit);
    let round = LocalRound { checkpoint: &checkpoint, dataset, recipe, unit, linear: None };
    let share = task.noise_share().unwrap().unwrap();
    round.on_grid(&share, &mut ChaCha20Rng::from_seed([5; 32]), &mut |_| true).unwrap().unwrap()
}

#[test]
fn the_sum_of_a_masked_round_carries_the_tasks_noise_also_without_the_parts_of_the_corrupt() {
    let mut stage = Stage::of(large());
    let share = stage.task.noise_share().unwrap().unwrap();
    let values = on_grid(&stage.task);
    // Of five sites four must deliver, and one may be corrupt: it adds no noise.
    stage.deliver_with(&["a", "b", "c"], |member, plan, one| {
        member.mask_values(plan, &one.offer.key, noised(&values, &share).unwrap()).unwrap()
    });
    stage.deliver_with(&["d"], |member, plan, one| {
        member.mask_values(plan, &one.offer.key, vec![0; values.len()]).unwrap()
    });
    let survivors = stage.survivors();
    let reveals: Vec<Reveal> =
        SITES[..4].iter().map(|name| stage.reveal(name, &survivors, &SITES[..4]).unwrap()).collect();
    let sum = stage.unmasked(&reveals, &survivors);
    let errors = sum.iter().zip(&values).map(|(sum, value)| f64::from(sum.cast_signed()) - 3.0 * to_f64(*value));
    let entries = to_f64(i64::try_from(values.len()).unwrap());
    let deviation = (errors.map(|error| error * error).sum::<f64>() / entries).sqrt();
    let promised = stage.task.recipe.noise_multiplier.unwrap() * share.sensitivity();
    assert_eq!(share.honest(), 3);
    // Six standard errors of a deviation.
    let error = 6.0 / (2.0 * entries).sqrt();
    assert!((deviation / promised - 1.0).abs() < error, "{deviation} of {promised}");
    assert!(values.iter().any(|value| value.abs() > 100), "the sites learnt something");
}

fn to_f64(value: i64) -> f64 {
    f64::from(i32::try_from(value).unwrap())
}

/// Has a site prepare the update of a round, and answers what it was charged.
fn prepare(lone: &Lone) -> (Result<(), SiteError>, Vec<Option<Mechanism>>) {
    let mut rest = Rest::in_task(lone, shared_noise_task(&SITES));
    let join = rest.lone(lone).join(&lone.site.masked, &round(1)).unwrap();
    let plan = rest.plan(&join);
    let planned = rest.lone(lone).planned(&lone.site.masked, &round(1), rest.checkpoint(), &plan).unwrap();
    let prepared = updates(lone).prepare(&rest.assignment(planned), &records(), &mut |_| true);
    (prepared, lone.site.ledger.debits().iter().map(|debit| debit.mechanism).collect())
}

#[test]
fn p1_a_site_pays_by_zero_concentration_before_it_draws_its_part() {
    let lone = Lone::with(|config| config.privacy.shared_noise = true);
    let (prepared, debits) = prepare(&lone);
    prepared.unwrap();
    let [Some(Mechanism::ZeroConcentrated { rho })] = debits[..] else { panic!("{debits:?}") };
    assert!((rho - 1.0 / 128.0).abs() < 1e-12, "{rho}");
    assert!(updates(&lone).load(&round(1)).unwrap().is_some());
}

#[test]
fn p1_what_a_site_did_not_agree_to_or_cannot_pay_costs_nothing_and_makes_no_update() {
    let poor = |config: &mut Config| {
        config.privacy.shared_noise = true;
        config.privacy.budget.epsilon = 0.3;
    };
    for (lone, expected) in [(Lone::new(), "admission-shared-noise"), (Lone::with(poor), "privacy-budget-exceeded")] {
        let (prepared, debits) = prepare(&lone);
        assert_eq!(code(prepared), expected);
        assert!(debits.is_empty() && updates(&lone).load(&round(1)).unwrap().is_none(), "{debits:?}");
    }
}

#[test]
fn without_masks_a_part_of_the_noise_is_never_sent() {
    let lone = Lone::with(|config| config.privacy.shared_noise = true);
    let mut rest = Rest::in_task(&lone, shared_noise_task(&SITES));
    let join = rest.lone(&lone).join(&lone.site.masked, &round(1)).unwrap();
    let plan = rest.plan(&join);
    let planned = rest.lone(&lone).planned(&lone.site.masked, &round(1), rest.checkpoint(), &plan).unwrap();
    let bare = crate::update::Assignment { masking: None, ..rest.assignment(planned) };
    assert_eq!(code(updates(&lone).prepare(&bare, &records(), &mut |_| true)), "masking-not-masked");
    assert!(lone.site.ledger.debits().is_empty());
}
