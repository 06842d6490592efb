//! What is trained and how, one plan without noise and one with. Both were chosen on train splits alone: the last of each
//! site's ordinary training events held out, and whole attack kinds that the site then knows from others only.

use shared::local::LocalTraining;
use shared::privacy::Guarantee;
use shared::task::{ModelSpec, Recipe, TrainingMechanism};
use shared_privacy::PrivacyError;
use shared_privacy::accountant::calibrate;

/// δ of every private regime: below one in the number of any site's records.
pub const DELTA: f64 = 1e-5;

/// A model's shape and its way to being trained.
pub struct Plan {
    /// The model's shape.
    pub spec: ModelSpec,
    /// How many rounds are trained.
    pub rounds: u32,
    /// How a site trains within one.
    pub recipe: Recipe,
}

impl Plan {
    /// Training without privacy: two hidden layers beside the linear path, small samples.
    pub fn open(inputs: u32) -> Self {
        let recipe = Recipe {
            local_steps: 30,
            sampling_rate: 0.03,
            learning_rate: 0.1,
            momentum: 0.9,
            clip_norm: 1.0,
            adaptive_clip: None,
            local: LocalTraining::default(),
            mechanism: TrainingMechanism::default(),
            noise_multiplier: None,
        };
        Self { spec: ModelSpec { inputs, hidden: vec![64, 32] }, rounds: 40, recipe }
    }

    /// Training with `epsilon` spent over the whole run, for each record of each site.
    ///
    /// One narrow hidden layer, because noise grows with the number of parameters and a rare attack's gradient does not.
    /// A large sample, because a step's noise is divided by its size. A small clipping norm, so that the few events of a
    /// rare attack, not learnt yet, pull as hard as any and the many learnt ones hardly at all. Many steps, whose noise
    /// averages out while what they learn adds up. A learning rate that keeps a step's noise alike at every ε.
    pub fn private(inputs: u32, epsilon: f64) -> Result<Self, PrivacyError> {
        let (rounds, local_steps, sampling_rate) = (30, 25, 0.25);
        let noise_multiplier = calibrate(Guarantee { epsilon, delta: DELTA }, sampling_rate, rounds * local_steps)?;
        let recipe = Recipe {
            local_steps,
            sampling_rate,
            learning_rate: 18.0 / noise_multiplier,
            momentum: 0.9,
            clip_norm: 0.5,
            adaptive_clip: None,
            local: LocalTraining::default(),
            mechanism: TrainingMechanism::default(),
            noise_multiplier: Some(noise_multiplier),
        };
        Ok(Self { spec: ModelSpec { inputs, hidden: vec![16] }, rounds, recipe })
    }
}

#[cfg(test)]
mod tests {
    use shared::privacy::Mechanism;
    use shared_privacy::accountant::epsilon;

    use super::*;

    #[test]
    fn the_private_plan_spends_its_epsilon_over_all_rounds_and_no_more() {
        for target in [1.0, 3.0, 8.0] {
            let plan = Plan::private(100, target).unwrap();
            let rounds: Vec<Mechanism> = (0..plan.rounds).filter_map(|_| plan.recipe.cost_per_round()).collect();
            let spent = epsilon(&rounds, DELTA).unwrap();
            assert!(rounds.len() == 30 && spent <= target && spent > 0.99 * target, "{spent} of {target}");
        }
        assert_eq!(Plan::open(100).recipe.cost_per_round(), None);
    }
}
