//! Whether this site takes part in a task: its own limits and then its own admission policy, asked before anything is
//! computed.
//!
//! The limits are hard: the policy can refuse what they allow, never allow what they refuse. What cannot be evaluated is
//! refused.

use std::collections::BTreeSet;

use policy_as_code::decide::Engine;
use policy_as_code::governance::{AdmissionRequest, Governance, Request};
use shared::encoding::{self, EncodingKind};
use shared::privacy::{Guarantee, Mechanism, PrivacyUnit};
use shared::task::{Task, TrainingMechanism};
use shared::{Digest, Explain};
use shared_crypto::{PublicKey, digest_of};
use shared_privacy::accountant;

use crate::config::{AdmissionConfig, PrivacyConfig, Protected};
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
    /// The task protects single records, and this site promised more.
    #[error("the task protects single records; this site protects all records of a principal")]
    WeakerUnit,
    /// The task's noise is shared, and this site counts on no other for its privacy.
    #[error("the task's sites share their noise; this site counts on no other for its privacy")]
    SharedNoise,
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
    /// The task offers no encoding that this site takes.
    #[error("the task offers no encoding that this site takes")]
    NoEncoding,
    /// The admission policy refuses the task, or no policy permits it.
    #[error("this site's admission policy refuses the task: {by}")]
    Policy {
        /// The policies that refused, with their reasons.
        by: String,
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
            Self::WeakerUnit => "admission-weaker-unit",
            Self::SharedNoise => "admission-shared-noise",
            Self::OtherFeatures { .. } => "admission-other-features",
            Self::OtherWidth { .. } => "admission-other-width",
            Self::NoEncoding => "admission-no-encoding",
            Self::Policy { .. } => "admission-policy",
            Self::ModelTooLarge { .. } => "admission-model-too-large",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NoNoise => "ask the operator for a task with a noise multiplier",
            Self::TooExpensive { .. } => "ask the operator for more noise, or raise `admission.max_epsilon`",
            Self::BudgetTooSmall { .. } => "ask the operator for fewer rounds; a spent budget never comes back",
            Self::WeakerUnit => "ask the operator for a task whose `privacy.unit` is `entity`",
            Self::SharedNoise => {
                "ask the operator for a task with noise of each site's own, or set `privacy.shared_noise` where this site \
                 trusts more than two thirds of the cohort"
            }
            Self::OtherFeatures { .. } => "run the same version of the participant as the task was made for",
            Self::OtherWidth { .. } => "ask the operator for a model with one input per feature of the view",
            Self::NoEncoding => "add one of the task's encodings to `federation.encodings`",
            Self::Policy { .. } => {
                "ask the operator for other terms, or change `governance/` in the policy repository of `policy.dir`"
            }
            Self::ModelTooLarge { .. } => "raise `admission.max_params` if this machine can train it",
        }
    }
}

/// Which policies admitted a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Their ids.
    pub policies: Vec<String>,
    /// Digest of the policy repository that they stand in.
    pub bundle: Digest,
}

/// What a site knows of itself that decides whether it takes part.
pub struct Terms<'a> {
    /// Its limits.
    pub limits: &'a AdmissionConfig,
    /// Its policies in force; the admission policy that ships where it has none.
    pub policies: Option<&'a Engine>,
    /// The encodings that it takes.
    pub encodings: &'a [EncodingKind],
    /// What its records have cost so far.
    pub ledger: &'a PrivacyLedger,
    /// Whom its budget protects, and on whom it counts for that.
    pub privacy: &'a PrivacyConfig,
    /// The sources of the telemetry that it would train on.
    pub sources: &'a BTreeSet<String>,
}

/// Checks a task that `operator` signed against the site's terms. Computes ε: blocks for a while.
pub fn admit(task: &Task, operator: &PublicKey, terms: &Terms<'_>) -> Result<Permission, SiteError> {
    let Terms { limits, policies, encodings, ledger, privacy, sources } = terms;
    task.validate()?;
    if (privacy.unit, task.privacy.unit) == (Protected::Entity, PrivacyUnit::Record) {
        return Err(Refusal::WeakerUnit.into());
    }
    admit_trust(task, privacy)?;
    admit_model(task, limits)?;
    encoding::choose(&task.encodings, encodings).ok_or(Refusal::NoEncoding)?;
    let costs = task.cost().ok_or(Refusal::NoNoise)?;
    let epsilon = admit_costs(task, &costs, limits, ledger.budget().delta)?;
    let (needed, budget) = (ledger.after(&costs)?.epsilon, ledger.budget().epsilon);
    if !is_within(needed, budget) {
        return Err(Refusal::BudgetTooSmall { needed, budget }.into());
    }
    let operator_key = operator.to_string();
    admit_by_policy(AdmissionRequest { operator_key: &operator_key, task, epsilon, sources }, *policies)
}

/// Refuses a task that is private only as long as others are honest, where this site counts on nobody.
pub(crate) fn admit_trust(task: &Task, privacy: &PrivacyConfig) -> Result<(), Refusal> {
    let is_shared = matches!(task.recipe.mechanism, TrainingMechanism::DistributedGaussian { .. });
    if is_shared && !privacy.shared_noise { Err(Refusal::SharedNoise) } else { Ok(()) }
}

fn admit_by_policy(request: AdmissionRequest<'_>, policies: Option<&Engine>) -> Result<Permission, SiteError> {
    match policies {
        Some(engine) => permission(engine.governance(), request),
        None => permission(&Governance::shipped()?, request),
    }
}

fn permission(governance: &Governance, request: AdmissionRequest<'_>) -> Result<Permission, SiteError> {
    let answer = governance.decide(&Request::Admit(request));
    if !answer.allowed {
        return Err(Refusal::Policy { by: answer.refusers() }.into());
    }
    let policies = answer.policies.into_iter().map(|policy| policy.id).collect();
    Ok(Permission { policies, bundle: governance.bundle() })
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
/// The site's holds at the δ of its own budget, at which the cost is answered: a task with a lax δ is not cheaper for it.
pub fn admit_costs(
    task: &Task,
    costs: &[Mechanism],
    conditions: &AdmissionConfig,
    delta: f64,
) -> Result<f64, SiteError> {
    let own = Guarantee { epsilon: conditions.max_epsilon, delta };
    admit_cost(costs, task.privacy.ceiling, "the task")?;
    admit_cost(costs, own, "this site")
}

fn admit_cost(costs: &[Mechanism], limit: Guarantee, whose: &'static str) -> Result<f64, SiteError> {
    let cost = accountant::epsilon(costs, limit.delta)?;
    if is_within(cost, limit.epsilon) {
        Ok(cost)
    } else {
        Err(Refusal::TooExpensive { cost, limit: limit.epsilon, whose }.into())
    }
}

/// False also where either is not a number.
fn is_within(cost: f64, limit: f64) -> bool {
    cost <= limit
}

#[cfg(test)]
mod tests;
