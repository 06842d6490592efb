//! Whether a task can be run at all. Whether a site wants it is that site's admission policy.

use super::{
    AdaptiveClip, Deadlines, InvalidTask, MAX_COHORT, MAX_ROUNDS, ModelSpec, PrivacyTerms, Recipe, ReleaseGates, Task,
    TrainingMechanism,
};
use crate::aggregate::Rule;
use crate::encoding::Encoding;
use crate::masking::{Assurance, MAX_PROVEN};
use crate::params::MAX_PARAMS;
use crate::participation::{LatePolicy, MAX_OVER_SELECTION, MAX_STALENESS};
use crate::privacy::PrivacyUnit;

/// The most encodings that a task may offer.
const MAX_ENCODINGS: usize = 8;
/// The fastest that a clipping norm may move.
const MAX_CLIP_RATE: f64 = 1.0;
/// The most records of an entity that may count in a step: noise grows with it.
const MAX_ENTITY_RECORDS: u32 = 10_000;
/// The longest wait of a phase: one day.
const MAX_WAIT_MS: u64 = 86_400_000;

impl Task {
    /// Checks every field; the first one at fault is named.
    pub fn validate(&self) -> Result<(), InvalidTask> {
        let cohort = self.cohort.len();
        check((1..=MAX_COHORT).contains(&cohort), "cohort", || {
            format!("{cohort} participants, not 1 to {MAX_COHORT}")
        })?;
        check(is_some_of(self.quorum, cohort), "quorum", || format!("{} of a cohort of {cohort}", self.quorum))?;
        check((1..=MAX_ROUNDS).contains(&self.rounds), "rounds", || format!("{}, not 1 to {MAX_ROUNDS}", self.rounds))?;
        self.validate_secure_aggregation()?;
        self.validate_aggregation()?;
        self.validate_participation()?;
        validate_model(&self.model)?;
        validate_recipe(&self.recipe)?;
        let update = self.update_len();
        check(update <= MAX_PARAMS, "recipe.local", || {
            format!("an update of {update} numbers, more than {MAX_PARAMS}")
        })?;
        validate_privacy(&self.privacy)?;
        let by_record = self.privacy.unit == PrivacyUnit::Record;
        let streams = matches!(self.recipe.mechanism, TrainingMechanism::BandedFtrl { .. });
        check(by_record || (!streams && self.recipe.adaptive_clip.is_none()), "privacy.unit", || {
            "entities are protected neither on streams nor with a clipping norm that adapts".to_owned()
        })?;
        self.noise_share()?;
        validate_deadlines(&self.deadlines)?;
        validate_gates(&self.gates)
    }

    fn validate_aggregation(&self) -> Result<(), InvalidTask> {
        let quorum = usize::try_from(self.quorum).unwrap_or(usize::MAX);
        let aggregation = self.aggregation.validate(quorum, &self.cohort);
        aggregation.map_err(|error| InvalidTask { field: "aggregation", reason: error.to_string() })?;
        check(self.recipe.local.fits(&self.aggregation.server), "recipe.local", || {
            "FedDyn and SCAFFOLD need the server step of the same name, and it them".to_owned()
        })?;
        check((1..=MAX_ENCODINGS).contains(&self.encodings.len()), "encodings", || {
            format!("{}, not 1 to {MAX_ENCODINGS}", self.encodings.len())
        })
    }

    /// What a masked sum can bear: a plain mean of updates of one round, each of which its site delivers in time or not at
    /// all.
    fn validate_secure_aggregation(&self) -> Result<(), InvalidTask> {
        let Some(terms) = &self.secure_aggregation else { return Ok(()) };
        let quorum = usize::try_from(self.quorum).unwrap_or(usize::MAX);
        let valid = terms.validate(self.cohort.len(), quorum);
        let pure_sum = self.aggregation.rule == Rule::Mean && self.aggregation.pre.is_empty();
        let is_provable = !matches!(terms.assurance, Assurance::NormProofs { .. }) || self.update_len() <= MAX_PROVEN;
        let known_root = terms.assurance.root().is_none_or(|root| self.cohort.contains(root));
        let whole_cohort = self.participation.over_selection == 1.0 && self.participation.late == LatePolicy::Drop;
        let checks = [
            (valid.is_ok(), "secure_aggregation", valid.err().unwrap_or_default()),
            (self.encodings == [Encoding::F32], "encodings", "masked words stand in place of `f32`".to_owned()),
            (is_provable, "model", format!("nothing is proven of updates of more than {MAX_PROVEN} entries")),
            (known_root, "secure_aggregation", "the root is not in the cohort".to_owned()),
            (pure_sum, "aggregation", "a masked sum gives the mean and nothing else".to_owned()),
            (self.recipe.local.vectors() == 1, "recipe.local", "SCAFFOLD's second vector cannot be masked".to_owned()),
            (whole_cohort, "participation", "masked rounds invite the whole cohort and drop late updates".to_owned()),
        ];
        checks.into_iter().try_for_each(|(holds, field, reason)| check(holds, field, || reason))
    }

    fn validate_participation(&self) -> Result<(), InvalidTask> {
        let terms = &self.participation;
        let goal_holds = terms.goal.is_none_or(|goal| goal >= self.quorum && is_some_of(goal, self.cohort.len()));
        check(goal_holds, "participation.goal", || "must be from the quorum to the cohort's size".to_owned())?;
        check((1.0..=MAX_OVER_SELECTION).contains(&terms.over_selection), "participation.over_selection", || {
            format!("must be in [1, {MAX_OVER_SELECTION}]")
        })?;
        check(terms.late.max_staleness() <= MAX_STALENESS, "participation.late.rounds", || {
            format!("must be at most {MAX_STALENESS}")
        })
    }
}

fn is_some_of(count: u32, whole: usize) -> bool {
    usize::try_from(count).is_ok_and(|count| (1..=whole).contains(&count))
}

fn validate_model(model: &ModelSpec) -> Result<(), InvalidTask> {
    let params = model.param_count();
    let no_zero = model.hidden.iter().all(|width| *width > 0) && model.inputs > 0;
    check(no_zero && params <= MAX_PARAMS, "model", || format!("{params} parameters, or a layer of width 0"))
}

fn validate_recipe(recipe: &Recipe) -> Result<(), InvalidTask> {
    let sampling = is_positive(recipe.sampling_rate) && recipe.sampling_rate <= 1.0;
    check(recipe.local_steps > 0, "recipe.local_steps", above_zero)?;
    check(sampling, "recipe.sampling_rate", || "must be in (0, 1]".to_owned())?;
    check(is_positive(recipe.learning_rate), "recipe.learning_rate", above_zero)?;
    check((0.0..1.0).contains(&recipe.momentum), "recipe.momentum", || "must be in [0, 1)".to_owned())?;
    check(is_positive(recipe.clip_norm), "recipe.clip_norm", above_zero)?;
    let local = recipe.local.validate();
    check(local.is_ok(), "recipe.local", || local.err().unwrap_or_default())?;
    let mechanism = recipe.mechanism.validate(recipe.local_steps, recipe.sampling_rate);
    check(mechanism.is_ok(), "recipe.mechanism", || mechanism.err().unwrap_or_default())?;
    check(recipe.noise_multiplier.is_none_or(is_positive), "recipe.noise_multiplier", above_zero)?;
    recipe.adaptive_clip.map_or(Ok(()), |clip| validate_adaptive_clip(&clip, recipe))
}

fn validate_adaptive_clip(clip: &AdaptiveClip, recipe: &Recipe) -> Result<(), InvalidTask> {
    check(recipe.mechanism == TrainingMechanism::SampledGaussian, "recipe.adaptive_clip", || {
        "goes with sampled steps alone: other noise is accounted for one clipping norm in all steps".to_owned()
    })?;
    let is_share = clip.quantile > 0.0 && clip.quantile < 1.0;
    check(is_share, "recipe.adaptive_clip.quantile", || "must be in (0, 1)".to_owned())?;
    let is_rate = is_positive(clip.learning_rate) && clip.learning_rate <= MAX_CLIP_RATE;
    check(is_rate, "recipe.adaptive_clip.learning_rate", || format!("must be in (0, {MAX_CLIP_RATE}]"))?;
    let multiplier = recipe.noise_multiplier.and_then(|noise| clip.gradient_multiplier(noise));
    check(clip.count_std.is_finite() && multiplier.is_some(), "recipe.adaptive_clip.count_std", || {
        "must be more than half the noise multiplier, and there must be one".to_owned()
    })
}

fn validate_privacy(terms: &PrivacyTerms) -> Result<(), InvalidTask> {
    let ceiling = &terms.ceiling;
    check((1..=MAX_ENTITY_RECORDS).contains(&terms.unit.records()), "privacy.unit.entity.max_records", || {
        format!("must be 1 to {MAX_ENTITY_RECORDS}")
    })?;
    check(is_positive(ceiling.epsilon), "privacy.ceiling.epsilon", above_zero)?;
    check(is_positive(ceiling.delta) && ceiling.delta < 1.0, "privacy.ceiling.delta", || {
        "must be in (0, 1)".to_owned()
    })?;
    check(is_positive(terms.evaluation_rho), "privacy.evaluation_rho", above_zero)
}

fn validate_deadlines(deadlines: &Deadlines) -> Result<(), InvalidTask> {
    let waits = [deadlines.join_ms, deadlines.collect_ms, deadlines.evaluate_ms, deadlines.unmask_ms];
    check(waits.iter().all(|wait| (1..=MAX_WAIT_MS).contains(wait)), "deadlines", || {
        "each must be 1 ms to 1 day".to_owned()
    })
}

fn validate_gates(gates: &ReleaseGates) -> Result<(), InvalidTask> {
    let is_rate = |rate: f64| (0.0..=1.0).contains(&rate);
    let range = || "must be in [0, 1]".to_owned();
    check(is_rate(gates.min_true_positive_rate), "gates.min_true_positive_rate", range)?;
    check(is_rate(gates.max_false_positive_rate), "gates.max_false_positive_rate", range)
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

pub(super) fn above_zero() -> String {
    "must be above 0".to_owned()
}

pub(super) fn check(holds: bool, field: &'static str, reason: impl FnOnce() -> String) -> Result<(), InvalidTask> {
    if holds { Ok(()) } else { Err(InvalidTask { field, reason: reason() }) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ParticipantId;
    use crate::masking::SecureAggregation;
    use crate::privacy::Mechanism;

    fn task(inputs: u32, local: &str) -> Task {
        let server = if local == "scaffold" { "scaffold" } else { "plain" };
        serde_json::from_value(serde_json::json!({
            "task_id": "t", "title": "a task", "cohort": ["a"], "quorum": 1, "rounds": 1, "seed": 1,
            "created_at": "2026-01-01T00:00:00Z",
            "feature_view": {"name": "view", "version": 1, "digest": "0".repeat(64)},
            "model": {"inputs": inputs, "hidden": []},
            "recipe": {"local_steps": 1, "sampling_rate": 0.5, "learning_rate": 0.1, "momentum": 0.0, "clip_norm": 1.0,
                       "local": {"kind": local}, "noise_multiplier": 1.0},
            "privacy": {"unit": "record", "ceiling": {"epsilon": 3.0, "delta": 1e-5}, "evaluation_rho": 0.1},
            "aggregation": {"server": {server: {"learning_rate": 1.0}}},
            "deadlines": {"join_ms": 1, "collect_ms": 1, "evaluate_ms": 1},
            "gates": {"min_true_positive_rate": 0.0, "max_false_positive_rate": 1.0}
        }))
        .unwrap()
    }

    #[test]
    fn an_update_that_the_wire_cannot_carry_is_refused_with_its_task() {
        let half = u32::try_from(MAX_PARAMS / 2).unwrap();
        assert_eq!(task(2 * half - 1, "plain").validate(), Ok(()));
        assert_eq!(task(half - 1, "scaffold").validate(), Ok(()));
        assert_eq!(task(half, "scaffold").validate().unwrap_err().field, "recipe.local");
    }

    #[test]
    fn a_mechanism_that_does_not_fit_the_steps_is_refused_with_its_task() {
        let mut banded = task(3, "plain");
        banded.recipe.mechanism = TrainingMechanism::BandedFtrl { bands: 2, passes: 1 };
        assert_eq!(banded.validate().unwrap_err().field, "recipe.mechanism");
        banded.recipe.local_steps = 2;
        assert_eq!(banded.validate(), Ok(()));
    }

    #[test]
    fn a_clipping_norm_may_adapt_only_where_each_steps_noise_stands_alone() {
        let mut adaptive = task(3, "plain");
        adaptive.recipe.adaptive_clip = Some(AdaptiveClip { quantile: 0.5, learning_rate: 0.2, count_std: 9.0 });
        assert_eq!(adaptive.validate(), Ok(()));
        let (local_steps, sampling_rate) = (2, 0.5);
        let mechanism = TrainingMechanism::BandedFtrl { bands: 1, passes: 1 };
        let recipe = Recipe { local_steps, sampling_rate, mechanism, ..adaptive.recipe.clone() };
        assert_eq!(Task { recipe, ..adaptive }.validate().unwrap_err().field, "recipe.adaptive_clip");
    }

    #[test]
    fn a_round_costs_what_its_mechanism_does_and_nothing_bounds_it_without_noise() {
        let mut recipe = task(3, "plain").recipe;
        let (noise_multiplier, sampling_rate) = (1.0, 0.5);
        let sampled = Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate, steps: 1 };
        assert_eq!(recipe.cost_per_round(), Some(sampled));
        recipe.local_steps = 8;
        recipe.mechanism = TrainingMechanism::BandedFtrl { bands: 2, passes: 4 };
        let banded = Mechanism::BandedGaussian { noise_multiplier, bands: 2, steps: 8, participations: 4 };
        assert_eq!(recipe.cost_per_round(), Some(banded));
        recipe.noise_multiplier = None;
        assert_eq!(recipe.cost_per_round(), None);
    }

    #[test]
    fn a_masked_task_needs_a_plain_mean_of_a_cohort_of_which_two_thirds_deliver_in_time() {
        let terms =
            SecureAggregation { clip_norm: 1.0, value_bits: 16, assurance: Assurance::None, roster: BTreeMap::new() };
        let cohort = ["a", "b", "c"].map(|name| ParticipantId::new(name).unwrap()).into();
        let task = Task { secure_aggregation: Some(terms), cohort, quorum: 3, ..task(3, "plain") };
        assert_eq!(task.validate(), Ok(()));
        let refused = |change: &dyn Fn(&mut Task)| {
            let mut changed = task.clone();
            change(&mut changed);
            changed.validate().unwrap_err().field
        };
        assert_eq!(refused(&|task| task.quorum = 2), "secure_aggregation");
        assert_eq!(refused(&|task| task.aggregation.rule = Rule::CoordinateMedian), "aggregation");
        assert_eq!(refused(&|task| task.encodings = vec![Encoding::Bf16]), "encodings");
        assert_eq!(refused(&|task| task.participation.late = LatePolicy::Carry { rounds: 1 }), "participation");
    }

    #[test]
    fn a_count_that_costs_more_than_the_whole_step_is_refused_and_any_quieter_step_has_its_multiplier() {
        let with = |count_std, noise_multiplier| {
            let mut task = task(3, "plain");
            task.recipe.adaptive_clip = Some(AdaptiveClip { quantile: 0.5, learning_rate: 0.2, count_std });
            task.recipe.noise_multiplier = noise_multiplier;
            task
        };
        assert_eq!(with(0.51, Some(1.0)).validate(), Ok(()));
        for refused in
            [with(0.5, Some(1.0)), with(f64::NAN, Some(1.0)), with(f64::INFINITY, Some(1.0)), with(9.0, None)]
        {
            assert_eq!(refused.validate().unwrap_err().field, "recipe.adaptive_clip.count_std");
        }
        for quantile in [0.0, 1.0, f64::NAN] {
            let mut task = with(1.0, Some(1.0));
            task.recipe.adaptive_clip = Some(AdaptiveClip { quantile, learning_rate: 0.2, count_std: 1.0 });
            assert_eq!(task.validate().unwrap_err().field, "recipe.adaptive_clip.quantile");
        }
    }
}
