//! A task: the operator's signed statement of what is trained, how, with whom, and under which privacy terms.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::feature::FeatureViewRef;
use crate::params::MAX_PARAMS;
use crate::privacy::{Guarantee, Mechanism, PrivacyUnit};
use crate::{Explain, ParticipantId, TaskId, Timestamp};

/// The most participants a cohort may have.
pub const MAX_COHORT: usize = 1000;
/// The most rounds a task may have.
pub const MAX_ROUNDS: u32 = 10_000;

/// What is trained, how, with whom, and under which terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The task's id, unique at its coordinator.
    pub task_id: TaskId,
    /// One line for people.
    pub title: String,
    /// Who may take part.
    pub cohort: BTreeSet<ParticipantId>,
    /// How many updates a round needs.
    pub quorum: u32,
    /// How many rounds there are.
    pub rounds: u32,
    /// What the model is fed with.
    pub feature_view: FeatureViewRef,
    /// The model's shape.
    pub model: ModelSpec,
    /// How each participant trains within a round.
    pub recipe: Recipe,
    /// What each participant is promised.
    pub privacy: PrivacyTerms,
    /// How updates become one change of the model.
    pub aggregation: AggregationRule,
    /// How long each phase waits.
    pub deadlines: Deadlines,
    /// What a candidate must reach to become a release.
    pub gates: ReleaseGates,
    /// Seeds the first checkpoint's weights.
    pub seed: u64,
    /// When the operator signed.
    pub created_at: Timestamp,
}

impl Document for Task {
    const DOMAIN: &'static str = "task";
}

/// A wide-and-deep perceptron: a linear path beside hidden layers, one logit out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Features in.
    pub inputs: u32,
    /// Widths of the hidden layers; empty for a linear model.
    pub hidden: Vec<u32>,
}

impl ModelSpec {
    /// How many parameters the model has: a weight matrix and a bias per layer, and the linear path.
    pub fn param_count(&self) -> usize {
        let mut width = u64::from(self.inputs);
        let mut count = width;
        for hidden in self.hidden.iter().map(|hidden| u64::from(*hidden)) {
            count = count.saturating_add(width.saturating_add(1).saturating_mul(hidden));
            width = hidden;
        }
        let output = if self.hidden.is_empty() { 1 } else { width.saturating_add(1) };
        usize::try_from(count.saturating_add(output)).unwrap_or(usize::MAX)
    }
}

/// How a participant trains within one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Optimiser steps in a round.
    pub local_steps: u32,
    /// Probability that a record is in a step's sample (true Poisson sampling).
    pub sampling_rate: f64,
    /// Step size.
    pub learning_rate: f64,
    /// Fraction of the previous step kept, in [0, 1).
    pub momentum: f64,
    /// Per-example gradients are scaled down to this L2 norm.
    pub clip_norm: f64,
    /// Noise deviation over `clip_norm`; `None` trains without privacy, and no participant admits that by default.
    pub noise_multiplier: Option<f64>,
}

impl Recipe {
    /// What one round of this recipe costs; `None` where it adds no noise, so that nothing bounds the cost.
    pub fn cost_per_round(&self) -> Option<Mechanism> {
        self.noise_multiplier.map(|noise_multiplier| Mechanism::SubsampledGaussian {
            noise_multiplier,
            sampling_rate: self.sampling_rate,
            steps: self.local_steps,
        })
    }
}

/// What each participant is promised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyTerms {
    /// What is protected.
    pub unit: PrivacyUnit,
    /// The whole task costs a participant no more than this.
    pub ceiling: Guarantee,
    /// ρ of the zCDP noise on each round's hold-out counts.
    pub evaluation_rho: f64,
}

/// How updates become one change of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregationRule {
    /// Weighted mean, summed exactly.
    FedAvg,
    /// Median of each coordinate; robust against a minority of liars.
    CoordinateMedian,
}

/// How long each phase of a round waits for those who are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// For the cohort to join.
    pub join_ms: u64,
    /// For joined participants to deliver updates.
    pub collect_ms: u64,
    /// For participants to evaluate the candidate.
    pub evaluate_ms: u64,
}

impl Deadlines {
    /// The join deadline as a duration.
    pub fn join(&self) -> Duration {
        Duration::from_millis(self.join_ms)
    }

    /// The collection deadline as a duration.
    pub fn collect(&self) -> Duration {
        Duration::from_millis(self.collect_ms)
    }

    /// The evaluation deadline as a duration.
    pub fn evaluate(&self) -> Duration {
        Duration::from_millis(self.evaluate_ms)
    }
}

/// What the last round's candidate must reach on the cohort's temporal hold-outs to become a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseGates {
    /// Lowest admissible true-positive rate at the task's operating threshold, from the noised counts of all sites.
    pub min_true_positive_rate: f64,
    /// Highest admissible false-positive rate there.
    pub max_false_positive_rate: f64,
}

/// Why a task is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("task field `{field}`: {reason}")]
pub struct InvalidTask {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Explain for InvalidTask {
    fn code(&self) -> &'static str {
        "task-invalid"
    }

    fn hint(&self) -> &'static str {
        "correct the field and submit the task again; nothing was stored"
    }
}

impl Task {
    /// What the whole task costs a participant: training and evaluation in every round; `None` where training adds no
    /// noise, so that nothing bounds the cost.
    pub fn cost(&self) -> Option<Vec<Mechanism>> {
        let training = self.recipe.cost_per_round()?;
        let evaluation = Mechanism::ZeroConcentrated { rho: self.privacy.evaluation_rho };
        Some((0..self.rounds).flat_map(|_| [training, evaluation]).collect())
    }

    /// Checks that the task can be run at all. Whether a site wants it is that site's admission policy.
    pub fn validate(&self) -> Result<(), InvalidTask> {
        let unit = 0.0..=1.0;
        let cohort = self.cohort.len();
        let in_cohort = usize::try_from(self.quorum).is_ok_and(|quorum| (1..=cohort).contains(&quorum));
        let params = self.model.param_count();
        let recipe = &self.recipe;
        let ceiling = &self.privacy.ceiling;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let no_zero = self.model.hidden.iter().all(|width| *width > 0) && self.model.inputs > 0;
        let waits = [self.deadlines.join_ms, self.deadlines.collect_ms, self.deadlines.evaluate_ms];
        check((1..=MAX_COHORT).contains(&cohort), "cohort", || {
            format!("{cohort} participants, not 1 to {MAX_COHORT}")
        })?;
        check(in_cohort, "quorum", || format!("{} of a cohort of {cohort}", self.quorum))?;
        check((1..=MAX_ROUNDS).contains(&self.rounds), "rounds", || format!("{}, not 1 to {MAX_ROUNDS}", self.rounds))?;
        check(no_zero && params <= MAX_PARAMS, "model", || format!("{params} parameters, or a layer of width 0"))?;
        check(recipe.local_steps > 0, "recipe.local_steps", || "must be above 0".to_owned())?;
        check(positive(recipe.sampling_rate) && recipe.sampling_rate <= 1.0, "recipe.sampling_rate", || {
            "must be in (0, 1]".to_owned()
        })?;
        check(positive(recipe.learning_rate), "recipe.learning_rate", || "must be above 0".to_owned())?;
        check((0.0..1.0).contains(&recipe.momentum), "recipe.momentum", || "must be in [0, 1)".to_owned())?;
        check(positive(recipe.clip_norm), "recipe.clip_norm", || "must be above 0".to_owned())?;
        check(recipe.noise_multiplier.is_none_or(positive), "recipe.noise_multiplier", || {
            "must be above 0".to_owned()
        })?;
        check(positive(ceiling.epsilon), "privacy.ceiling.epsilon", || "must be above 0".to_owned())?;
        check(positive(ceiling.delta) && ceiling.delta < 1.0, "privacy.ceiling.delta", || {
            "must be in (0, 1)".to_owned()
        })?;
        check(positive(self.privacy.evaluation_rho), "privacy.evaluation_rho", || "must be above 0".to_owned())?;
        check(waits.iter().all(|wait| (1..=86_400_000).contains(wait)), "deadlines", || {
            "each must be 1 ms to 1 day".to_owned()
        })?;
        check(unit.contains(&self.gates.min_true_positive_rate), "gates.min_true_positive_rate", || {
            "must be in [0, 1]".to_owned()
        })?;
        check(unit.contains(&self.gates.max_false_positive_rate), "gates.max_false_positive_rate", || {
            "must be in [0, 1]".to_owned()
        })
    }
}

fn check(holds: bool, field: &'static str, reason: impl FnOnce() -> String) -> Result<(), InvalidTask> {
    if holds { Ok(()) } else { Err(InvalidTask { field, reason: reason() }) }
}
