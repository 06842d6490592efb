//! What the server makes of the aggregated change Δ before it is applied to the model, and what it remembers of it.
//! Entry by entry, in f64, each result rounded once to f32; so any block of entries can be computed alone.

use super::fed_avg::nearest_f32;
use super::{AggregateError, ServerStep};

/// A block of what a round's participants changed.
#[derive(Debug, Clone, Copy)]
pub struct RoundChange<'a> {
    /// Δ, the aggregated change of the parameters.
    pub params: &'a [f64],
    /// The aggregated change of the participants' control variates, of the same length, for [`ServerStep::Scaffold`];
    /// empty for the others.
    pub variates: &'a [f64],
    /// Which share of the cohort the round's updates are (|S| / N), in (0, 1].
    pub share: f64,
}

impl ServerStep {
    /// The vectors that this step remembers from round to round: their names, and the value of every entry at first.
    pub fn initial_state(&self) -> Vec<(&'static str, f32)> {
        match *self {
            Self::Plain { .. } => vec![],
            Self::FedAdagrad { epsilon, .. } | Self::FedAdam { epsilon, .. } | Self::FedYogi { epsilon, .. } => {
                vec![("m", 0.0), ("v", nearest_f32(epsilon * epsilon))]
            }
            Self::Scaffold { .. } => vec![("c", 0.0)],
            Self::FedDyn { .. } => vec![("h", 0.0)],
        }
    }

    /// Computes a block: `applied` is what to add to the model, and `state`, the blocks of the vectors that
    /// [`Self::initial_state`] names, becomes the next round's. Refuses blocks of different lengths.
    pub fn apply(
        &self,
        change: RoundChange<'_>,
        state: &mut [&mut [f32]],
        applied: &mut [f32],
    ) -> Result<(), AggregateError> {
        let entries = change.params.len();
        let variates = if matches!(self, Self::Scaffold { .. }) { entries } else { 0 };
        let whole = state.iter().all(|block| block.len() == entries) && applied.len() == entries;
        if !whole || change.variates.len() != variates {
            return Err(AggregateError::StateMismatch);
        }
        match (*self, state) {
            (Self::Plain { learning_rate }, []) => scale(learning_rate, change.params, applied),
            (Self::Scaffold { learning_rate }, [c]) => {
                scale(learning_rate, change.params, applied);
                move_variate(change, c);
            }
            (Self::FedDyn { alpha }, [h]) => correct_drift(alpha, change, h, applied),
            (Self::FedAdagrad { learning_rate, beta1, epsilon }, [m, v]) => {
                Adaptive { learning_rate, beta1, epsilon }
                    .apply(change.params, [m, v], applied, |v, square| v + square);
            }
            (Self::FedAdam { learning_rate, beta1, beta2, epsilon }, [m, v]) => {
                let second = |v, square| beta2 * v + (1.0 - beta2) * square;
                Adaptive { learning_rate, beta1, epsilon }.apply(change.params, [m, v], applied, second);
            }
            (Self::FedYogi { learning_rate, beta1, beta2, epsilon }, [m, v]) => {
                let second = |v, square| v - (1.0 - beta2) * square * sign(v - square);
                Adaptive { learning_rate, beta1, epsilon }.apply(change.params, [m, v], applied, second);
            }
            _ => return Err(AggregateError::StateMismatch),
        }
        Ok(())
    }
}

fn scale(learning_rate: f64, change: &[f64], applied: &mut [f32]) {
    applied.iter_mut().zip(change).for_each(|(out, change)| *out = nearest_f32(learning_rate * change));
}

/// c ← c + (|S| / N) Δc (Karimireddy et al. 2020, Algorithm 1, line 17).
fn move_variate(change: RoundChange<'_>, c: &mut [f32]) {
    for (c, moved) in c.iter_mut().zip(change.variates) {
        *c = nearest_f32(f64::from(*c) + change.share * moved);
    }
}

/// h ← h − α (|S| / N) Δ; the model moves by Δ − h / α (Acar et al. 2021, Algorithm 1).
fn correct_drift(alpha: f64, change: RoundChange<'_>, h: &mut [f32], applied: &mut [f32]) {
    for ((out, change_by), h) in applied.iter_mut().zip(change.params).zip(h) {
        let drift = f64::from(*h) - alpha * change.share * change_by;
        (*out, *h) = (nearest_f32(change_by - drift / alpha), nearest_f32(drift));
    }
}

/// What FedAdagrad, FedAdam and FedYogi have in common.
struct Adaptive {
    learning_rate: f64,
    beta1: f64,
    epsilon: f64,
}

impl Adaptive {
    /// m ← β₁ m + (1 − β₁) Δ; v ← `second`(v, Δ²); the model moves by η m / (√v + ε).
    fn apply(&self, change: &[f64], [m, v]: [&mut [f32]; 2], applied: &mut [f32], second: impl Fn(f64, f64) -> f64) {
        for ((out, change), (m, v)) in applied.iter_mut().zip(change).zip(m.iter_mut().zip(v)) {
            let mean = self.beta1 * f64::from(*m) + (1.0 - self.beta1) * change;
            let square = second(f64::from(*v), change * change);
            *out = nearest_f32(self.learning_rate * mean / (square.sqrt() + self.epsilon));
            (*m, *v) = (nearest_f32(mean), nearest_f32(square));
        }
    }
}

/// −1, 0 or 1.
fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// What an update weighs that was trained from the checkpoint of `staleness` rounds ago: ⌊1024 / √(1 + staleness)⌋, at
/// least 1, so that buffered rounds are summed exactly too (FedBuff; Nguyen et al. 2022, "Federated Learning with
/// Buffered Asynchronous Aggregation", Section 5).
pub fn staleness_weight(staleness: u32) -> u32 {
    let fresh: u32 = 1 << 20;
    fresh.checked_div(staleness.saturating_add(1)).unwrap_or_default().isqrt().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: [f64; 3] = [0.5, -2.0, 0.0];

    /// Runs `rounds` rounds of the same change; gives back the last applied change and the state.
    fn run(step: ServerStep, variates: &[f64], share: f64, rounds: usize) -> (Vec<f32>, Vec<Vec<f32>>) {
        let mut state: Vec<Vec<f32>> = step.initial_state().iter().map(|(_, first)| vec![*first; 3]).collect();
        let mut applied = vec![0.0; 3];
        for _ in 0..rounds {
            let mut blocks: Vec<&mut [f32]> = state.iter_mut().map(Vec::as_mut_slice).collect();
            let change = RoundChange { params: &CHANGE, variates, share };
            step.apply(change, &mut blocks, &mut applied).unwrap();
        }
        (applied, state)
    }

    #[test]
    fn the_default_step_applies_the_change_as_it_is() {
        assert_eq!(run(ServerStep::default(), &[], 1.0, 1), (vec![0.5, -2.0, 0.0], vec![]));
    }

    #[test]
    fn the_first_adaptive_step_is_that_of_the_formula() {
        let (learning_rate, beta1, beta2, epsilon) = (0.1, 0.9, 0.99, 0.001);
        let tau = epsilon * epsilon;
        // v is so much of its first value and so much of Δ². Yogi's v starts below Δ², so that it grows.
        let seconds = [
            (ServerStep::FedAdagrad { learning_rate, beta1, epsilon }, (1.0, 1.0)),
            (ServerStep::FedAdam { learning_rate, beta1, beta2, epsilon }, (0.99, 0.01)),
            (ServerStep::FedYogi { learning_rate, beta1, beta2, epsilon }, (1.0, 0.01)),
        ];
        for (step, (of_first, of_square)) in seconds {
            let (applied, state) = run(step, &[], 1.0, 1);
            for (lane, change) in CHANGE.iter().enumerate().take(2) {
                let (m, v) = (0.1 * change, of_first * tau + of_square * change * change);
                let expected = learning_rate * m / (v.sqrt() + epsilon);
                assert!((f64::from(applied[lane]) / expected - 1.0).abs() < 1e-6, "{step:?}");
                assert!((f64::from(state[0][lane]) / m - 1.0).abs() < 1e-6, "{step:?}");
                assert!((f64::from(state[1][lane]) / v - 1.0).abs() < 1e-6, "{step:?}");
            }
        }
    }

    #[test]
    fn adam_and_yogi_settle_at_the_learning_rate_for_a_constant_change() {
        let (learning_rate, beta1, beta2, epsilon) = (0.1, 0.9, 0.9, 1e-9);
        let terms = [
            ServerStep::FedAdam { learning_rate, beta1, beta2, epsilon },
            ServerStep::FedYogi { learning_rate, beta1, beta2, epsilon },
        ];
        for step in terms {
            let (applied, _) = run(step, &[], 1.0, 400);
            assert!((applied[0] - 0.1).abs() < 0.01 && (applied[1] + 0.1).abs() < 0.01, "{step:?} {applied:?}");
        }
    }

    #[test]
    fn scaffolds_variate_moves_by_the_share_that_took_part() {
        let (applied, state) = run(ServerStep::Scaffold { learning_rate: 2.0 }, &[1.0, 2.0, -4.0], 0.25, 2);
        assert_eq!((applied, state), (vec![1.0, -4.0, 0.0], vec![vec![0.5, 1.0, -2.0]]));
    }

    #[test]
    fn fed_dyn_remembers_the_drift() {
        let (applied, state) = run(ServerStep::FedDyn { alpha: 0.5 }, &[], 0.5, 1);
        assert_eq!((applied, state), (vec![0.75, -3.0, 0.0], vec![vec![-0.125, 0.5, 0.0]]));
    }

    #[test]
    fn blocks_of_other_lengths_or_numbers_are_refused() {
        let step = ServerStep::Scaffold { learning_rate: 1.0 };
        let (mut short, mut whole, mut applied) = ([0.0; 2], [0.0; 3], [0.0; 3]);
        let change = |variates| RoundChange { params: &CHANGE, variates, share: 1.0 };
        let refused = Err(AggregateError::StateMismatch);
        assert_eq!(step.apply(change(&CHANGE), &mut [&mut short], &mut applied), refused);
        assert_eq!(step.apply(change(&[]), &mut [&mut whole], &mut applied), refused);
        assert_eq!(step.apply(change(&CHANGE), &mut [], &mut applied), refused);
        assert_eq!(ServerStep::default().apply(change(&[]), &mut [&mut whole], &mut applied), refused);
        assert_eq!(step.apply(change(&CHANGE), &mut [&mut whole], &mut applied), Ok(()));
    }

    #[test]
    fn a_staler_update_never_weighs_more() {
        assert_eq!([0, 1, 3, 99, u32::MAX].map(staleness_weight), [1024, 724, 512, 102, 1]);
        assert!((0..5000).all(|staleness| staleness_weight(staleness + 1) <= staleness_weight(staleness)));
    }
}
