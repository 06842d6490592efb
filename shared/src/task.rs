//! A task: the operator's signed statement of what is trained, how, with whom, and under which privacy terms.

mod distributed;
mod mechanism;
mod validate;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use distributed::{GRADIENTS_AT_ONCE, MIN_STD_DEV, NoiseShare};
pub use mechanism::TrainingMechanism;

use crate::aggregate::Aggregation;
use crate::document::Document;
use crate::encoding::Encoding;
use crate::feature::FeatureViewRef;
use crate::local::LocalTraining;
use crate::masking::{self, Assurance, SecureAggregation};
use crate::participation::Participation;
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
    #[serde(default)]
    pub aggregation: Aggregation,
    /// In which encodings updates may travel, best first; a participant takes the first that it knows.
    #[serde(default = "plain")]
    pub encodings: Vec<Encoding>,
    /// Who is invited to a round, how many updates it waits for, and what becomes of late ones.
    #[serde(default)]
    pub participation: Participation,
    /// How updates are masked, so that the coordinator sees their sum only (promise R3); `None` shows it each.
    #[serde(default)]
    pub secure_aggregation: Option<SecureAggregation>,
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
    /// Probability that a record is in a step's sample (true Poisson sampling); without sampling, the share of the records
    /// that a step sees.
    pub sampling_rate: f64,
    /// Step size.
    pub learning_rate: f64,
    /// Fraction of the previous step kept, in [0, 1).
    pub momentum: f64,
    /// Per-example gradients are scaled down to this L2 norm; where it adapts, in the first step of a round.
    pub clip_norm: f64,
    /// How the clipping norm adapts within a round; `None` keeps it.
    #[serde(default)]
    pub adaptive_clip: Option<AdaptiveClip>,
    /// What keeps local training near the others'.
    #[serde(default)]
    pub local: LocalTraining,
    /// How a step's records are chosen and its noise is drawn.
    #[serde(default)]
    pub mechanism: TrainingMechanism,
    /// Noise deviation over the clipping norm, before it is correlated, that of an adaptive norm's counts included; of
    /// distributed noise, that of the sum over what a record moves it by. `None` trains without privacy, and no participant
    /// admits that by default.
    pub noise_multiplier: Option<f64>,
}

impl Recipe {
    /// What one round of this recipe costs; `None` where it adds no noise, so that nothing bounds the cost.
    pub fn cost_per_round(&self) -> Option<Mechanism> {
        let (noise_multiplier, steps) = (self.noise_multiplier?, self.local_steps);
        Some(match self.mechanism {
            TrainingMechanism::SampledGaussian => {
                Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate: self.sampling_rate, steps }
            }
            TrainingMechanism::BandedFtrl { bands, passes } => {
                Mechanism::BandedGaussian { noise_multiplier, bands, steps, participations: passes }
            }
            TrainingMechanism::DistributedGaussian { .. } => {
                Mechanism::ZeroConcentrated { rho: distributed::rho(noise_multiplier) }
            }
        })
    }
}

/// A clipping norm that follows a quantile of the per-example gradient norms (Andrew et al. 2021, "Differentially
/// Private Learning with Adaptive Clipping", Algorithm 1). What it learns of the records is a noised count per step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveClip {
    /// The share of a sample's gradients that the norm is to leave unclipped, in (0, 1).
    pub quantile: f64,
    /// How fast the norm moves: a step multiplies it by the exponential of at most this, but for the noise.
    pub learning_rate: f64,
    /// Standard deviation of the noise on the count of unclipped gradients, in examples; more than half the recipe's
    /// noise multiplier.
    pub count_std: f64,
}

impl AdaptiveClip {
    /// The noise deviation of the gradient sum over the clipping norm, so that this sum and the count together cost what
    /// the sum alone does at `noise_multiplier` (Theorem 1): the count, each example's share in it shifted to ±½, has
    /// sensitivity ½. `None` where the count alone costs as much or more.
    pub fn gradient_multiplier(&self, noise_multiplier: f64) -> Option<f64> {
        let precision = noise_multiplier.powi(-2) - (2.0 * self.count_std).powi(-2);
        (precision > 0.0).then(|| precision.powf(-0.5))
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
    /// For the survivors of a masked round to agree, as long again to reveal, and before both as long again to open and to
    /// prove where the task asks for it.
    #[serde(default = "unmask_ms")]
    pub unmask_ms: u64,
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

    /// The deadline of each half of unmasking as a duration.
    pub fn unmask(&self) -> Duration {
        Duration::from_millis(self.unmask_ms)
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

    /// How many survivors of a masked round must help to unmask its sum; `None` where updates are not masked.
    pub fn unmasking_threshold(&self) -> Option<u32> {
        let threshold = u32::try_from(masking::threshold(self.cohort.len())).unwrap_or(u32::MAX);
        self.secure_aggregation.as_ref().map(|_| threshold)
    }

    /// What is asked of updates that nobody sees; nothing where everybody does.
    pub fn assurance(&self) -> Assurance {
        self.secure_aggregation.as_ref().map(|terms| terms.assurance.clone()).unwrap_or_default()
    }

    /// By whose update the others are measured: by the rule, or by what is asked of updates that nobody sees.
    pub fn root(&self) -> Option<ParticipantId> {
        self.aggregation.rule.root().cloned().or_else(|| self.assurance().root().cloned())
    }

    /// How many numbers one update has: the change of the model and, for SCAFFOLD, that of the control variate.
    pub fn update_len(&self) -> usize {
        self.model.param_count().saturating_mul(self.recipe.local.vectors())
    }
}

/// A minute: nothing is computed while a round is unmasked but what takes seconds.
fn unmask_ms() -> u64 {
    60_000
}

/// The encoding that everybody knows.
fn plain() -> Vec<Encoding> {
    vec![Encoding::F32]
}
