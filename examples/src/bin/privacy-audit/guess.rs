//! From scores to evidence: the auditor guesses that the canaries of the highest scores were in, those of the lowest out,
//! and abstains between (Steinke, Nasr and Jagielski 2023, Algorithm 1). How many to guess on is not chosen after the
//! fact: each number is tested at its share of the significance (Bonferroni).

use examples::number::count;
use serde::Serialize;

use crate::bound::Guesses;

/// 95 % confidence in all numbers of guesses together.
const SIGNIFICANCE: f64 = 0.05;
/// Shares of the canaries that are guessed to be in; as many are guessed to be out. Not half, since the coins seldom fall
/// so evenly that all of the guesses could be right.
const SHARES: [f64; 6] = [0.01, 0.02, 0.05, 0.1, 0.25, 0.48];

/// A lower bound on ε at 95 % confidence, and the guesses that prove it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Evidence {
    pub(crate) epsilon: f64,
    #[serde(flatten)]
    pub(crate) guesses: Guesses,
}

/// What `scores` prove at `delta`, one for each canary; `included` is what the coins said.
pub(crate) fn evidence(scores: &[f64], included: &[bool], delta: f64) -> Evidence {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(included.iter().copied()).collect();
    order.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let proved = SHARES.map(|share| {
        let guesses = guess(&order, share);
        Evidence { epsilon: guesses.epsilon_lower_bound(delta, SIGNIFICANCE / count(SHARES.len())), guesses }
    });
    proved.into_iter().fold(proved[0], |best, next| if next.epsilon > best.epsilon { next } else { best })
}

/// The largest ε that this many canaries can prove: where all guesses are right.
pub(crate) fn most_provable(canaries: usize, delta: f64) -> f64 {
    let known: Vec<(f64, bool)> = (0..canaries).map(|canary| (0.0, canary < canaries / 2)).collect();
    let bounds =
        SHARES.map(|share| guess(&known, share).epsilon_lower_bound(delta, SIGNIFICANCE / count(SHARES.len())));
    bounds.into_iter().fold(0.0, f64::max)
}

/// Guesses on `share` of the canaries at each end of `order`.
fn guess(order: &[(f64, bool)], share: f64) -> Guesses {
    let each = part(order.len(), share);
    let right_in = order.iter().take(each).filter(|(_, included)| *included).count();
    let right_out = order.iter().rev().take(each).filter(|(_, included)| !included).count();
    let [canaries, made, right] = [order.len(), each.saturating_mul(2), right_in.saturating_add(right_out)]
        .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Guesses { canaries, made, right }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count is a count"
)]
fn part(whole: usize, share: f64) -> usize {
    (count(whole) * share) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_tell_all_prove_much_and_scores_that_tell_nothing_prove_nothing() {
        let included: Vec<bool> = (0..1000_u32).map(|canary| canary % 2 == 0).collect();
        let telling: Vec<f64> = included.iter().map(|included| if *included { 1.0 } else { -1.0 }).collect();
        let evidence_of = |scores: &[f64]| evidence(scores, &included, 1e-6);
        let all = evidence_of(&telling);
        assert_eq!(all.guesses, Guesses { canaries: 1000, made: 960, right: 960 });
        assert!(all.epsilon > 5.0 && all.epsilon == most_provable(1000, 1e-6), "{all:?}");
        let idle: Vec<f64> = (0..1000_u32).map(f64::from).collect();
        assert_eq!(evidence_of(&idle).epsilon, 0.0);
    }

    #[test]
    fn few_sure_guesses_prove_more_than_many_unsure_ones() {
        let sure = |canary: u32| !(50..950).contains(&canary);
        let included: Vec<bool> = (0..1000).map(|n| if sure(n) { n < 50 } else { n % 2 == 0 }).collect();
        let scores: Vec<f64> = (0..1000_u32).map(|canary| -f64::from(canary)).collect();
        assert_eq!(evidence(&scores, &included, 1e-6).guesses, Guesses { canaries: 1000, made: 100, right: 100 });
    }
}
