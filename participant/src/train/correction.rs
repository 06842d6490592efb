//! What corrects a site's local steps, and what the site keeps of it from round to round: FedDyn's hᵢ, SCAFFOLD's cᵢ.
//!
//! Pure functions of parameters and of updates that are already private: they touch no record and cost no privacy.
//! Before a site's first round, and where the coordinator keeps nothing yet, the vectors are zero.

use shared::ParamVector;
use shared::aggregate::effective_steps;
use shared::local::LocalTraining;
use shared::params::ParamError;
use shared::task::Recipe;

/// What a round of local training leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// The update: the model's change and, for SCAFFOLD, that of the control variate after it.
    pub update: ParamVector,
    /// What the site keeps for its next round; `None` where it keeps nothing.
    pub kept: Option<ParamVector>,
}

/// What is added to the gradient of every local step; `None` where that is nothing.
///
/// `own` is what the site keeps, `control` the federation's control variate c.
pub fn linear(
    local: LocalTraining,
    own: Option<&ParamVector>,
    control: Option<&ParamVector>,
) -> Result<Option<ParamVector>, ParamError> {
    match (local, own, control) {
        // Acar et al. 2021, Algorithm 1: −hᵢ.
        (LocalTraining::FedDyn { .. }, Some(own), _) => map(own, |kept| -kept).map(Some),
        // Karimireddy et al. 2020, Algorithm 1, line 10: c − cᵢ.
        (LocalTraining::Scaffold, Some(own), Some(control)) => control.minus(own).map(Some),
        (LocalTraining::Scaffold, Some(own), None) => map(own, |kept| -kept).map(Some),
        (LocalTraining::Scaffold, None, Some(control)) => Ok(Some(control.clone())),
        _ => Ok(None),
    }
}

/// Ends a round in which the model changed by `change`: the update to send, and what to keep once it counts.
pub fn close(
    recipe: &Recipe,
    change: ParamVector,
    own: Option<&ParamVector>,
    control: Option<&ParamVector>,
) -> Result<Closed, ParamError> {
    match recipe.local {
        LocalTraining::Plain | LocalTraining::FedProx { .. } => Ok(Closed { update: change, kept: None }),
        LocalTraining::FedDyn { alpha } => {
            // Acar et al. 2021, Algorithm 1: hᵢ ← hᵢ − α (wᵢ − w).
            let drift = map(&change, |moved| -alpha * moved)?;
            let kept = add(own, drift)?;
            Ok(Closed { update: change, kept: Some(kept) })
        }
        LocalTraining::Scaffold => {
            // Karimireddy et al. 2020, Algorithm 1, line 12, option II: cᵢ⁺ − cᵢ = −c − Δ / (K η). With momentum a gradient
            // goes on working in the steps after its own, which the effective number of steps accounts for.
            let steps = effective_steps(recipe.local_steps, recipe.momentum);
            let per_step = -1.0 / (steps * recipe.learning_rate);
            let mean_gradient = map(&change, |moved| per_step * moved)?;
            let turn = match control {
                Some(control) => mean_gradient.minus(control)?,
                None => mean_gradient,
            };
            let mut update = change.into_vec();
            update.extend_from_slice(turn.as_slice());
            Ok(Closed { update: ParamVector::new(update)?, kept: Some(add(own, turn)?) })
        }
    }
}

fn add(own: Option<&ParamVector>, change: ParamVector) -> Result<ParamVector, ParamError> {
    match own {
        Some(own) => own.plus(&change),
        None => Ok(change),
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "rounds to the nearest f32; infinity is refused"
)]
fn map(values: &ParamVector, change: impl Fn(f64) -> f64) -> Result<ParamVector, ParamError> {
    ParamVector::new(values.as_slice().iter().map(|value| change(f64::from(*value)) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::task;

    fn vector(values: &[f32]) -> ParamVector {
        ParamVector::new(values.to_vec()).unwrap()
    }

    fn recipe(local: LocalTraining, momentum: f64) -> Recipe {
        Recipe { local, momentum, learning_rate: 0.5, local_steps: 4, ..task().recipe }
    }

    #[test]
    fn plain_training_and_fedprox_send_the_change_and_keep_nothing() {
        for local in [LocalTraining::Plain, LocalTraining::FedProx { mu: 0.1 }] {
            assert_eq!(linear(local, Some(&vector(&[1.0])), Some(&vector(&[2.0]))).unwrap(), None);
            let closed = close(&recipe(local, 0.0), vector(&[3.0]), None, None).unwrap();
            assert_eq!(closed, Closed { update: vector(&[3.0]), kept: None });
        }
    }

    #[test]
    fn feddyn_gathers_its_drift_and_pulls_against_it() {
        let local = LocalTraining::FedDyn { alpha: 0.5 };
        assert_eq!(linear(local, None, None).unwrap(), None);
        let first = close(&recipe(local, 0.0), vector(&[2.0, -4.0]), None, None).unwrap();
        assert_eq!(first, Closed { update: vector(&[2.0, -4.0]), kept: Some(vector(&[-1.0, 2.0])) });
        let second = close(&recipe(local, 0.0), vector(&[2.0, 0.0]), first.kept.as_ref(), None).unwrap();
        assert_eq!(second.kept, Some(vector(&[-2.0, 2.0])));
        assert_eq!(linear(local, second.kept.as_ref(), None).unwrap(), Some(vector(&[2.0, -2.0])));
    }

    #[test]
    fn scaffold_sends_the_turn_of_its_control_variate_beside_the_change() {
        let local = LocalTraining::Scaffold;
        let (own, control) = (vector(&[1.0]), vector(&[3.0]));
        assert_eq!(linear(local, Some(&own), Some(&control)).unwrap(), Some(vector(&[2.0])));
        // Four steps of 0.5 that moved by -8 followed a mean gradient of 4, of which c − cᵢ = 2 was the correction.
        let closed = close(&recipe(local, 0.0), vector(&[-8.0]), Some(&own), Some(&control)).unwrap();
        assert_eq!(closed, Closed { update: vector(&[-8.0, 1.0]), kept: Some(vector(&[2.0])) });
        let first = close(&recipe(local, 0.0), vector(&[-8.0]), None, None).unwrap();
        assert_eq!(first, Closed { update: vector(&[-8.0, 4.0]), kept: Some(vector(&[4.0])) });
    }

    #[test]
    fn scaffold_finds_a_constant_gradient_whatever_the_momentum() {
        for momentum in [0.0, 0.5, 0.9] {
            let recipe = recipe(LocalTraining::Scaffold, momentum);
            let (mut velocity, mut moved) = (0.0, 0.0);
            for _ in 0..recipe.local_steps {
                velocity = recipe.momentum * velocity + 3.0;
                moved -= recipe.learning_rate * velocity;
            }
            let change = map(&vector(&[1.0]), |one| one * moved).unwrap();
            let kept = close(&recipe, change, None, None).unwrap().kept.unwrap();
            assert!((kept.as_slice()[0] - 3.0).abs() < 1e-5, "{momentum}: {kept:?}");
        }
    }
}
