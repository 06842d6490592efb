//! What right guesses prove of ε: Theorem 5.2 of Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run"
//! (2023). It only counts; where guesses come from, and that each canary was in by a fair coin of its own, is the
//! auditor's to answer for.

use serde::Serialize;
use shared::privacy::Guarantee;

/// The largest ε that is looked for.
const MAX_EPSILON: f64 = 40.0;
/// Halvings of the bracket around the bound: to 2⁻⁴⁰ of [`MAX_EPSILON`].
const HALVINGS: u32 = 40;

/// Guesses of which canaries were in a training run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Guesses {
    /// How many canaries there are (m).
    pub(crate) canaries: u32,
    /// How many of them were guessed on (r).
    pub(crate) made: u32,
    /// How many guesses are right (v).
    pub(crate) right: u32,
}

impl Guesses {
    /// A bound on the probability of as many right guesses where training keeps `claim`: β + α·m·δ with β = P\[W ≥ v\],
    /// α = max over i of 2/i · P\[v > W ≥ v − i\], and W ~ Binomial(r, e^ε / (1 + e^ε)).
    pub(crate) fn p_value(&self, claim: Guarantee) -> f64 {
        let masses = binomial(self.made, 1.0 / (1.0 + (-claim.epsilon).exp()));
        let right = usize::try_from(self.right).unwrap_or(usize::MAX);
        let (below, from) = masses.split_at(right.min(masses.len()));
        let beta: f64 = from.iter().sum();
        let sums = below.iter().rev().scan(0.0, |sum, mass| {
            *sum += mass;
            Some(*sum)
        });
        let alpha = sums.zip(1_u32..).map(|(sum, i)| 2.0 / f64::from(i) * sum).fold(0.0, f64::max);
        (beta + alpha * f64::from(self.canaries) * claim.delta).min(1.0)
    }

    /// The ε below which the guesses are too good: training that keeps (ε, `delta`) brings them about with a probability
    /// of less than `significance`. 0 where they are no better than chance.
    pub(crate) fn epsilon_lower_bound(&self, delta: f64, significance: f64) -> f64 {
        let (mut refuted, mut tenable) = (0.0, MAX_EPSILON);
        for _ in 0..HALVINGS {
            let epsilon = f64::midpoint(refuted, tenable);
            if self.p_value(Guarantee { epsilon, delta }) < significance {
                refuted = epsilon
            } else {
                tenable = epsilon
            }
        }
        refuted
    }
}

/// The probabilities of 0 to `trials` successes, of probability `success` in (0, 1) each.
fn binomial(trials: u32, success: f64) -> Vec<f64> {
    let log_odds = (success / (1.0 - success)).ln();
    let mut log_mass = 0.0;
    let unscaled: Vec<f64> = std::iter::once(0.0)
        .chain((1..=trials).map(|k| {
            log_mass += (f64::from(trials - k + 1) / f64::from(k)).ln() + log_odds;
            log_mass
        }))
        .collect();
    let most = unscaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let scale: f64 = unscaled.iter().map(|log_mass| (log_mass - most).exp()).sum();
    unscaled.into_iter().map(|log_mass| (log_mass - most).exp() / scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(canaries: u32, made: u32, right: u32, delta: f64, significance: f64) -> f64 {
        Guesses { canaries, made, right }.epsilon_lower_bound(delta, significance)
    }

    #[test]
    fn a_hundred_right_guesses_of_a_hundred_prove_what_the_hand_computes() {
        // Without δ the p-value is (e^ε / (1 + e^ε))^100, which is 0.05 at e^ε = x / (1 − x) with x = 0.05^(1/100).
        let root = 0.05_f64.powf(0.01);
        assert!((bound(100, 100, 100, 0.0, 0.05) - (root / (1.0 - root)).ln()).abs() < 1e-9);
    }

    #[test]
    fn bounds_agree_with_the_papers_program() {
        // Appendix D of the paper, run with scipy 1.17.1's binomial distribution.
        let references = [
            (1_000, 600, 600, 1e-5, 0.05, 5.270_399_463_5),
            (1_000, 100, 92, 1e-5, 0.05, 1.812_242_330_2),
            (1_000, 100, 92, 0.0, 0.05, 1.817_641_464_9),
            (5_000, 500, 300, 1e-5, 0.01, 0.181_886_419_1),
            (5_000, 100, 70, 1e-6, 0.01, 0.326_580_710_2),
            (200, 200, 110, 1e-5, 0.05, 0.0),
        ];
        for (canaries, made, right, delta, significance, expected) in references {
            let found = bound(canaries, made, right, delta, significance);
            assert!((found - expected).abs() < 1e-8, "{right} of {made}: {found} where {expected} was expected");
        }
    }

    #[test]
    fn a_p_value_of_chance_is_a_coin_toss_and_of_nothing_is_one() {
        let chance = Guesses { canaries: 3, made: 3, right: 2 };
        assert!((chance.p_value(Guarantee { epsilon: 0.0, delta: 0.0 }) - 0.5).abs() < 1e-12);
        let nothing = Guesses { canaries: 3, made: 0, right: 0 };
        assert_eq!(nothing.p_value(Guarantee { epsilon: 1.0, delta: 0.0 }), 1.0);
        assert_eq!(nothing.epsilon_lower_bound(1e-5, 0.05), 0.0);
    }
}
