//! Whether this site takes part in a task: its own conditions, checked before anything is computed.

use shared::Explain;
use shared::privacy::{Guarantee, Mechanism};
use shared::task::Task;
use shared_crypto::digest_of;
use shared_privacy::accountant;

use crate::config::AdmissionConfig;
use crate::error::SiteError;
use crate::feature;
use crate::ledger::PrivacyLedger;

/// Why a site stays away from a task.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The task would train without noise.
    #[error("the task's recipe adds no noise")]
    NoNoise,
    /// The recipe costs more than the task says, or more than this site allows.
    #[error("the task costs ε = {cost:.3}; {limit:.3} is the limit of {whose}")]
    TooExpensive {
        /// ε of all rounds together.
        cost: f64,
        /// The limit that it breaks.
        limit: f64,
        /// Whose limit.
        whose: &'static str,
    },
    /// What is left of the lifetime budget does not hold the task.
    #[error("the task would bring what this site has spent to ε = {needed:.3}; its lifetime budget is {budget:.3}")]
    BudgetTooSmall {
        /// ε of everything so far and all rounds of the task.
        needed: f64,
        /// The lifetime budget's ε.
        budget: f64,
    },
    /// The task was made for other features.
    #[error("the task is for feature view `{name}` version {version}, which is not this site's")]
    OtherFeatures {
        /// The view's name.
        name: String,
        /// Its version.
        version: u32,
    },
    /// The model does not take as many features as the view has.
    #[error("the model takes {inputs} features; the feature view has {features}")]
    OtherWidth {
        /// What the model takes.
        inputs: u32,
        /// What the view has.
        features: usize,
    },
    /// The model is too large for this site.
    #[error("the model has {found} parameters; this site allows {limit}")]
    ModelTooLarge {
        /// The model's parameters.
        found: usize,
        /// What the site allows.
        limit: usize,
    },
}

impl Explain for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NoNoise => "admission-no-noise",
            Self::TooExpensive { .. } => "admission-too-expensive",
            Self::BudgetTooSmall { .. } => "admission-budget-too-small",
            Self::OtherFeatures { .. } => "admission-other-features",
            Self::OtherWidth { .. } => "admission-other-width",
            Self::ModelTooLarge { .. } => "admission-model-too-large",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NoNoise => "ask the operator for a task with a noise multiplier",
            Self::TooExpensive { .. } => "ask the operator for more noise, or raise `admission.max_epsilon`",
            Self::BudgetTooSmall { .. } => "ask the operator for fewer rounds; a spent budget never comes back",
            Self::OtherFeatures { .. } => "run the same version of the participant as the task was made for",
            Self::OtherWidth { .. } => "ask the operator for a model with one input per feature of the view",
            Self::ModelTooLarge { .. } => "raise `admission.max_params` if this machine can train it",
        }
    }
}

/// Checks a task against the site's conditions and its ledger. Computes ε: blocks for a while.
pub fn admit(task: &Task, conditions: &AdmissionConfig, ledger: &PrivacyLedger) -> Result<(), SiteError> {
    task.validate()?;
    admit_model(task, conditions)?;
    let costs = task.cost().ok_or(Refusal::NoNoise)?;
    admit_costs(task, &costs, conditions, ledger.budget().delta)?;
    let (needed, budget) = (ledger.after(&costs)?.epsilon, ledger.budget().epsilon);
    if is_within(needed, budget) { Ok(()) } else { Err(Refusal::BudgetTooSmall { needed, budget }.into()) }
}

fn admit_model(task: &Task, conditions: &AdmissionConfig) -> Result<(), SiteError> {
    let view = &task.feature_view;
    if view.digest != digest_of(&feature::view())? {
        return Err(Refusal::OtherFeatures { name: view.name.clone(), version: view.version }.into());
    }
    let inputs = task.model.inputs;
    if usize::try_from(inputs) != Ok(feature::WIDTH) {
        return Err(Refusal::OtherWidth { inputs, features: feature::WIDTH }.into());
    }
    let (found, limit) = (task.model.param_count(), conditions.max_params);
    if found > limit { Err(Refusal::ModelTooLarge { found, limit }.into()) } else { Ok(()) }
}

/// Checks what a task costs, all its rounds together or those so far, against the task's own ceiling and this site's.
/// The site's holds at the δ of its own budget: a task with a lax δ is not cheaper for it.
pub fn admit_costs(
    task: &Task,
    costs: &[Mechanism],
    conditions: &AdmissionConfig,
    delta: f64,
) -> Result<(), SiteError> {
    let ceiling = task.privacy.ceiling;
    let own = Guarantee { epsilon: conditions.max_epsilon, delta };
    for (limit, whose) in [(ceiling, "the task"), (own, "this site")] {
        let cost = accountant::epsilon(costs, limit.delta)?;
        if !is_within(cost, limit.epsilon) {
            return Err(Refusal::TooExpensive { cost, limit: limit.epsilon, whose }.into());
        }
    }
    Ok(())
}

/// False also where either is not a number.
fn is_within(cost: f64, limit: f64) -> bool {
    cost <= limit
}

#[cfg(test)]
mod tests;
